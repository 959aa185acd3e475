"""Which of many is slower than the others: always the one that is, and never by noise."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring.outliers import DEVIATIONS, deviations, slow_together, slower, usual

NOISE = st.floats(0.98, 1.02)


def places(rates, **options):
    return [at for at, _ in slower(rates, **options)]


@given(st.lists(NOISE, min_size=0, max_size=100), st.floats(0.1, 1e4))
def test_noise_of_two_percent_names_nobody(shares, rate):
    assert places([share * rate for share in shares]) == []


@given(st.lists(NOISE, min_size=2, max_size=60), st.data())
def test_one_that_is_far_below_all_others_is_found_and_nobody_else(shares, data):
    at = data.draw(st.integers(0, len(shares)))
    # Beyond 5 % and beyond 4 deviations, which noise of 2 % either way may make 12 %.
    rates = [*shares[:at], 0.98 * 0.8, *shares[at:]]
    assert places(rates) == [at]


@given(st.permutations([1.0, 1.01, 0.99, 1.0, 0.7, 1.02, 0.5]))
def test_the_order_does_not_matter(rates):
    assert {rates[at] for at in places(rates)} == {0.7, 0.5}


@pytest.mark.parametrize("rates", [[], [1.0], [1.0, 0.1]])
def test_of_two_nobody_knows_which_is_off(rates):
    assert places(rates) == []


def test_of_three_one_is_found():
    assert places([1.0, 1.01, 0.9]) == [2]


@pytest.mark.parametrize("count", [3, 30, 31, 300])
def test_the_floor_is_five_percent_of_the_median(count):
    alike = [100.0] * (count - 1)
    assert places([*alike, 95.1]) == []
    assert places([*alike, 94.9]) == [count - 1]
    assert places([*alike, 76.0], floor=0.25) == []


def test_what_differs_more_is_told_later():
    spread = [100.0, 104.0, 96.0] * 40
    assert usual(spread).low == pytest.approx(100 - 4 * 1.4826 * 4)
    assert places([*spread, 80.0]) == []
    assert places([*spread, 70.0]) == [len(spread)]


def test_a_third_of_them_may_be_slow():
    rates = [100.0] * 40 + [80.0] * 20
    assert places(rates) == list(range(40, 60))


def test_among_very_many_chance_alone_names_none():
    noise = random.Random(1)  # noqa: S311 - no secret
    rates = [noise.gauss(100, 3) for _ in range(80000)]
    assert places(rates) == []
    assert min(rates) < 100 - 4 * 3  # by 4 deviations some would have been


def test_the_bound_is_four_deviations_up_to_three_hundred_and_more_beyond():
    assert deviations(3) == deviations(300) == DEVIATIONS
    assert deviations(1000) == pytest.approx(4.265, abs=0.001)  # the normal distribution's 1 - 1e-5
    assert deviations(0) == DEVIATIONS


@given(st.lists(st.floats(0.99, 1.01), min_size=3, max_size=16), st.floats(1.05, 10))
def test_a_fast_one_does_not_make_the_others_slow(rates, fast):
    # Of three, one of the others has a median between the fast one and the third: then they are too far apart to tell.
    assert places([fast, *rates[1:]]) == []


def test_none_has_a_part_in_what_it_is_measured_by():
    assert places([1.0, 1.0, 0.92, 0.92]) == [2, 3]  # 4 % below the median of all four


def test_the_scaled_deviation_of_normal_samples_is_their_standard_deviation():
    # Quantiles of the normal distribution at (i + 1/2) / 9.
    normal = [-1.593, -0.967, -0.589, -0.282, 0.0, 0.282, 0.589, 0.967, 1.593]
    assert usual([10 + 2 * one for one in normal]).deviation == pytest.approx(2 * 0.589 * 1.4826, rel=1e-6)
    assert usual([7.0]).deviation == 0


def test_what_takes_turns_is_slow_together_or_not_at_all():
    assert not slow_together([(94.0, 100.0), (990.0, 1000.0)], 0.05)
    assert slow_together([(94.0, 100.0), (955.0, 1000.0)], 0.05)
    assert slow_together([(94.0, 100.0)], 0.05)
    assert not slow_together([(95.0, 100.0)], 0.05)  # as much as cards of one model may differ by
