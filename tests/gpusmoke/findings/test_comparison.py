"""The rules of compare as properties: whatever two runs measured, these hold."""

import copy
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.comparable import difference, pairs, unfit
from gpusmoke.findings.comparison import TOLERANCE, devices, judge
from gpusmoke.findings.verdict import Verdict, between, of_few, together, waves, widest
from gpusmoke.record import Record

OPPOSITE = {"slower": "faster", "faster": "slower", "no-change": "no-change", "within-spread": "within-spread"}
slowly = settings(max_examples=40)
SHAPES = [[8192, 8192, 8192], [1024, 8448, 16384], [4096, 4096, 4096]]


def row(samples, dtype="bf16", shape=SHAPES[0], **changes):
    return {
        "quantity": "matmul",
        "gpu": 0,
        "device": "a GPU",
        "dtype": dtype,
        "shape": shape,
        "layout": "NT",
        "regime": "settled",
        "backend": "cublas",
        "method": 2,
        "unit": "TFLOP/s",
        "value": sum(samples) / len(samples),
        "samples": samples,
        "telemetry": {"sm_clock_mhz": 1365, "power_w": 698.0, "temperature_c": 62, "throttle_reasons": 4},
        "verified": {"method": "elementwise", "passed": True, "error": 0.1, "bound": 0.2, "repeats_equal": True},
    } | changes


def record(rows, uuid="GPU-1", **facts):
    values = {
        "bench.0": {"name": "a GPU", "multiprocessors": 132},
        "cuda.devices": [{"ordinal": 0, "uuid": uuid}],
        "nvml.gpus": [{"uuid": uuid, "power_limit_w": 700.0, "processes": []}],
        "nvml.driver_version": "580.159.04",
        "torch.version": "2.12.1",
        "torch.cuda": "13.0",
    } | {name.replace("__", "."): value for name, value in facts.items()}
    told = Facts({name: Fact(value, "a test") for name, value in values.items()})
    return Record("bench", "2026-11-26T02:17:51Z", facts=told, measurements=rows)


@st.composite
def runs(draw, wobble=0.03):
    """A run of some products, each with its rounds about its own level."""
    dtypes = draw(st.lists(st.sampled_from(["bf16", "fp8", "fp32"]), min_size=1, max_size=3, unique=True))
    rows = []
    for dtype in dtypes:
        count = draw(st.integers(4, 24))
        for shape in SHAPES[: draw(st.integers(1, 3))]:
            level = draw(st.floats(10, 1500))
            noise = st.floats(1 - wobble, 1 + wobble)
            rows.append(
                row([level * one for one in draw(st.lists(noise, min_size=count, max_size=count))], dtype, shape)
            )
    return record(rows)


def times(run, factors):
    """The run with each row's rates multiplied by its factor, or by those of its samples."""
    rows = copy.deepcopy(run.measurements)
    for one, factor in zip(rows, factors, strict=True):
        each = factor if isinstance(factor, list) else [factor] * len(one["samples"])
        one["samples"] = [rate * share for rate, share in zip(one["samples"], each, strict=True)]
        one["value"] = sum(one["samples"]) / len(one["samples"])
    return run._replace(measurements=rows)


def kinds(older, newer, tolerance=TOLERANCE):
    return {one.id for one in judge(older, newer, tolerance)}


@slowly
@given(runs())
def test_a_run_is_never_slower_than_itself(run):
    assert kinds(run, run) == {"no-change"}


@slowly
@given(runs())
def test_a_tenth_less_is_always_slower(run):
    slow = times(run, [0.9] * len(run.measurements))
    assert "slower" in kinds(run, slow)
    assert "faster" not in kinds(run, slow)


@slowly
@given(runs(), runs(), st.data())
def test_it_is_symmetric(run, other, data):
    newer = times(run, data.draw(st.lists(st.floats(0.5, 1.5), min_size=len(run.measurements), max_size=99).map(
        lambda factors: factors[: len(run.measurements)]
    )))  # fmt: skip
    assert kinds(newer, run) == {OPPOSITE[kind] for kind in kinds(run, newer)}
    if not difference(run, other):
        assert kinds(other, run) == {OPPOSITE[kind] for kind in kinds(run, other)}


@slowly
@given(runs(), st.data())
def test_noise_within_the_tolerance_is_never_slower(run, data):
    share = st.floats(1 - TOLERANCE, 1 / (1 - TOLERANCE)).map(lambda one: min(max(one, 0.9851), 1.0151))
    noise = [data.draw(st.lists(share, min_size=(n := len(one["samples"])), max_size=n)) for one in run.measurements]
    assert kinds(run, times(run, noise)) == {"no-change"}


@slowly
@given(runs(), st.lists(st.floats(0.8, 1.1), min_size=9, max_size=9), st.floats(0.5, 1.0))
def test_it_is_monotone_what_is_slower_stays_so_when_all_get_slower_still(run, factors, less):
    count = len(run.measurements)
    newer = times(run, factors[:count])
    assume("slower" in kinds(run, newer))
    assert "slower" in kinds(run, times(newer, [less] * count))


@slowly
@given(runs(), st.lists(st.floats(0.8, 1.1), min_size=9, max_size=9), st.floats(0.001, TOLERANCE))
def test_what_is_slower_stays_so_for_a_smaller_tolerance(run, factors, tolerance):
    newer = times(run, factors[: len(run.measurements)])
    assume("slower" in kinds(run, newer))
    assert "slower" in kinds(run, newer, tolerance)


@slowly
@given(runs(0.002), st.integers(0, 8), st.floats(0.5, 0.9))
def test_one_product_that_got_slower_is_found_among_steady_ones(run, which, share):
    count = len(run.measurements)
    factors = [share if at == which % count else 1.0 for at in range(count)]
    assert "slower" in kinds(run, times(run, factors))


@given(st.integers(2, 8), st.floats(0.001, 0.05), st.floats(0, 1))
def test_a_wave_of_the_power_controller_is_no_change(count, height, phase):
    # Products that share the rounds of one period each see their part of it, here the worst: always the same.
    shapes = [[64, 64, 64 * (at + 1)] for at in range(count)]
    steady = record([row([700.0] * 6, shape=shape) for shape in shapes])
    sines = [math.sin(2 * math.pi * (phase + at / count)) for at in range(count)]
    rows = [row([700.0 * math.exp(height * one)] * 6, shape=shape) for one, shape in zip(sines, shapes, strict=True)]
    assert kinds(steady, record(rows)) == {"no-change"}


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


def test_the_mean_of_products_that_share_rounds_is_steadier_than_each():
    up, down = oscillation(20), [2 - rate for rate in oscillation(20)]
    assert together([up, down]) < 1e-6 < widest(up)


@given(st.lists(st.floats(-0.1, -0.001) | st.floats(0.001, 0.1), min_size=2, max_size=8))
def test_no_product_is_told_by_a_wave_that_nobody_answers(changes):
    middle = sum(changes) / len(changes)
    for change, explained in zip(changes, waves(changes), strict=True):
        others = [abs(one - middle) for one in changes if (one - middle) * change < 0]
        assert explained == pytest.approx(2 * max(others, default=0.0))


@given(st.lists(st.floats(1, 2), min_size=1, max_size=9), st.floats(0.3, 3))
def test_few_samples_differ_only_where_their_ranges_do_not_meet(rates, factor):
    found = of_few(rates, [rate * factor for rate in rates], 0.05)
    assert found.change == pytest.approx(math.log(factor))
    if found.kind == "slower":
        assert max(rates) * factor < max(rates)


def test_gpus_of_one_uuid_belong_together_and_of_one_ordinal_where_the_models_agree():
    old = record([row([1.0] * 5)])
    assert [pair.another_card for pair in pairs(old, record([row([1.0] * 5)]))] == [False]
    assert [pair.another_card for pair in pairs(old, record([row([1.0] * 5)], uuid="GPU-2"))] == [True]
    assert [pair.another_card for pair in pairs(old, record([row([1.0] * 5)], uuid=None))] == [False]
    other = record([row([1.0] * 5)], bench__0={"name": "a GPU", "multiprocessors": 114})
    assert pairs(old, other) == []
    assert "132 multiprocessors, and a GPU with 114 multiprocessors" in difference(old, other)


def test_what_two_cards_of_one_model_differ_by_is_no_loss():
    """The two H200 of tests/gpusmoke/data differ by 2.4 %, in one run."""
    old = record([row([100.0] * 10)])
    lower = [row([97.6] * 10)]
    assert [one.id for one in judge(old, record(lower))] == ["slower"]
    assert [one.id for one in judge(old, record(lower, uuid="GPU-2"))] == ["another-card", "no-change"]
    much = [row([93.0] * 10)]
    assert [one.id for one in judge(old, record(much, uuid="GPU-2"))] == ["another-card", "slower"]


def test_only_rows_of_both_are_compared():
    old = record([row([1.0] * 5), row([1.0] * 5, dtype="fp8")])
    new = record([row([1.0] * 5), row([1.0] * 5, dtype="fp32")])
    (found,) = devices(old, new, TOLERANCE)
    assert [line.name for line in found.lines] == ["bf16 8192x8192x8192 NT settled"]


@pytest.mark.parametrize(("command", "rows", "why"), [("audit", [], "record of audit"), ("bench", [], "no settled")])
def test_what_holds_no_rates_is_unfit(command, rows, why):
    assert why in unfit(record(rows)._replace(command=command))


@pytest.mark.parametrize(
    ("faster", "words"), [(False, "is lower (1365 to 1228 MHz)"), (True, "is higher (1228 to 1365")]
)
def test_the_same_clock_explains_both_directions(faster, words):
    quick, slow = record([row([700.0] * 5)]), record([row([630.0] * 5, telemetry={"sm_clock_mhz": 1228})])
    (found,) = judge(slow, quick) if faster else judge(quick, slow)
    assert f"the SM clock {words}" in found.title


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ({"processes": 0, "utilisation_percent": 0}, None),
        ({"processes": 0, "utilisation_percent": 5}, None),
        ({"processes": None, "utilisation_percent": None}, None),
        ({"processes": 0, "utilisation_percent": 40}, "another process used the GPU meanwhile (40 % busy"),
        ({"processes": 2, "utilisation_percent": 0}, "2 other processes used the GPU meanwhile"),
        ({"processes": 1, "utilisation_percent": None}, "another process used the GPU meanwhile."),
    ],
)
def test_another_process_is_named_where_there_was_one(others, named):
    alone = {"processes": 0, "utilisation_percent": 0}
    old = record([row([700.0] * 5)], **{"bench.0.others": alone})
    new = record([row([600.0] * 5)], **{"bench.0.others": others})
    (found,) = judge(old, new)
    assert (named or "none of clock, power, another process explains it") in found.title
    if named:  # one that was there both times explains nothing
        crowd = record([row([700.0] * 5)], **{"bench.0.others": others})
        assert "none of clock, power, another process" in judge(crowd, new)[0].title
        assert "used the GPU before" in judge(new, old)[0].title


def test_a_memory_clock_explains_slow_copies_and_the_sm_clock_does_not():
    def copies(rate, **telemetry):
        one = row([rate] * 5, dtype=None, shape=[1 << 31], layout=None, quantity="memory-copy", backend="cuda")
        return record([row([700.0] * 5), one | {"telemetry": telemetry}])

    fast = copies(3000.0, sm_clock_mhz=1900, memory_clock_mhz=2619)
    cause = judge(fast, copies(1500.0, sm_clock_mhz=900, memory_clock_mhz=1310))[1]
    assert cause.title.endswith("the memory clock is lower (2619 to 1310 MHz).")
    cause = judge(fast, copies(1500.0, sm_clock_mhz=900, memory_clock_mhz=2619))[1]
    assert cause.title.endswith("none of clock, power, another process explains it.")


def test_the_limit_of_another_gpu_explains_nothing():
    gpus = [{"uuid": "GPU-1", "power_limit_w": 700.0}, {"uuid": "GPU-2", "power_limit_w": 400.0}]
    old, new = record([row([700.0] * 5)]), record([row([600.0] * 5)], nvml__gpus=gpus)
    assert "none of clock, power" in judge(old, new)[0].title
    lowered = record([row([600.0] * 5)], nvml__gpus=[{"uuid": "GPU-1", "power_limit_w": 500.0}])
    assert "the power limit is lower (700 to 500 W)" in judge(old, lowered)[0].title
