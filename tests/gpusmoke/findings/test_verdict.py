"""What counts as a change: by how much rates differ, and by how much those of one run do."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.findings.verdict import Verdict, between, of_few, together, waves, widest


@given(st.floats(-0.7, 0.7), st.floats(0, 0.5), st.floats(0.001, 0.4), st.floats(0, 0.5))
def test_a_verdict_needs_more_than_the_tolerance_and_more_than_the_spread(change, spread, tolerance, more):
    kind = Verdict(change, spread, tolerance).kind
    assert (kind == "slower") == (math.exp(change) < 1 - tolerance and -change > spread) or math.isclose(
        math.exp(abs(change)), 1 / (1 - tolerance)
    )
    if kind == "no-change":
        assert Verdict(change, spread + more, tolerance).kind == kind
    if kind in ("slower", "faster"):
        assert Verdict(change, spread + more, tolerance).kind in (kind, "within-spread")


def oscillation(rounds, each=0.25, period=1.0, height=0.04):
    """Mean rates of successive rounds of `each` seconds, relative to the whole."""
    step = 2 * math.pi * each / period
    return [1 + height * (math.cos(i * step) - math.cos((i + 1) * step)) / step for i in range(rounds)]


@pytest.mark.parametrize("rounds", [17, 23, 30, 41])
@pytest.mark.parametrize("each", [0.1, 0.25])
def test_the_spread_covers_the_error_of_an_oscillating_mean(rounds, each):
    rates = oscillation(rounds, each)
    error = abs(sum(rates) / rounds - 1)
    assert error < widest(rates) < 0.04


def test_the_spread_of_what_drifts_is_wider_than_the_rounds_alone_tell():
    drift = [1 + 0.001 * at for at in range(40)]
    naive = 1.96 * 0.0117 / math.sqrt(40)
    assert widest(drift) > 2 * naive


def test_a_spread_needs_rounds():
    assert widest([1.0, 1.1, 0.9]) == math.inf
    assert together([[1.0, 1.1, 0.9]]) == math.inf
    assert between([([1.0] * 3, [0.5] * 3)], 0.01).kind == "within-spread"
    # Those without enough of them don't spoil what the others tell.
    assert between([([1.0] * 3, [0.5] * 3), ([2.0] * 9, [1.0] * 9)], 0.01).kind == "slower"
    assert between([([1.0] * 9, [0.5] * 3), ([2.0] * 9, [2.0] * 9)], 0.01).kind == "no-change"
    assert between([([1.0] * 4, [0.5] * 4)], 0.01).kind == "slower"


def test_the_spread_is_that_of_both_runs():
    steady, restless = [1.0] * 8, [0.9, 1.1] * 4
    spread = between([(steady, restless)], 0.01).spread
    assert between([(restless, steady)], 0.01).spread == spread > 0
    assert between([(restless, restless)], 0.01).spread == pytest.approx(math.sqrt(2) * spread)


def test_the_mean_of_products_that_share_rounds_is_steadier_than_each():
    up, down = oscillation(20), [2 - rate for rate in oscillation(20)]
    assert together([up, down]) < 1e-6 < widest(up)
    assert together([[700 * rate for rate in up], down]) < 1e-6  # however fast each is


@given(st.lists(st.floats(-0.1, -0.001) | st.floats(0.001, 0.1), min_size=2, max_size=8))
def test_no_product_is_told_by_a_wave_that_nobody_answers(changes):
    middle = sum(changes) / len(changes)
    for change, explained in zip(changes, waves(changes), strict=True):
        others = [abs(one - middle) for one in changes if (one - middle) * change < 0]
        assert explained == pytest.approx(2 * max(others, default=0.0))


@given(st.lists(st.floats(1, 2), min_size=1, max_size=9), st.floats(0.3, 3))
def test_the_change_of_few_samples_is_that_of_their_medians(rates, factor):
    found = of_few(rates, [rate * factor for rate in rates], 0.05)
    assert found.change == pytest.approx(math.log(factor))


def test_the_range_of_few_samples_is_that_from_the_tenth_to_the_ninetieth_of_a_hundred():
    rates = [float(rate) for rate in range(95, 106)]
    assert of_few(rates, rates, 0.05).spread == pytest.approx(0.04 + 0.04)


def test_a_verdict_is_kept_in_per_cent():
    told = Verdict(math.log(0.9), 0.0125, 0.015, math.log(0.989)).to_json()
    assert told == {
        "change_percent": -10.0,
        "spread_percent": 1.25,
        "tolerance_percent": 1.5,
        "temperature_percent": -1.1,
        "verdict": "slower",
    }
    unknown = Verdict(math.log(0.9), math.inf, 0.015)
    assert unknown.to_json()["spread_percent"] is None
    assert unknown.words()["spread"] == "unknown, with so few rounds"
    assert (unknown.words()["change"], unknown.words()["direction"]) == ("10.0", "slower")
    assert Verdict(0.1, 0.2, 0.015).words()["direction"] == "faster"
