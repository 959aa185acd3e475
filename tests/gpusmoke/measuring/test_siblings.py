"""The odd one out by its rate alone: one that is slow is found, and cards that differ as cards do are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring.siblings import FEWEST, FLOOR, deviation, slower

# Cards of one model and machine differ by a percent or two; those of many machines by 5 % (data/expected.toml).
HEALTHY = st.lists(st.floats(0.977, 1.023), min_size=FEWEST, max_size=16)
ALIKE = st.lists(st.floats(0.99, 1.01), min_size=FEWEST, max_size=16)
UNIT = st.sampled_from([1e-3, 55.1, 684.13, 3002.0])


def found(rates, **changes):
    return [one.at for one in slower(rates, **changes)]


@given(HEALTHY, UNIT)
def test_cards_that_differ_as_cards_do_are_never_accused(rates, unit):
    assert found([unit * rate for rate in rates]) == []


@given(ALIKE, st.data(), st.floats(0.08, 0.95), UNIT)
def test_a_slow_one_is_always_found_and_nobody_else(rates, data, short, unit):
    at = data.draw(st.integers(0, len(rates) - 1))
    rates[at] = 1 - short
    (one,) = slower([unit * rate for rate in rates])
    assert one.at == at
    assert one.short == pytest.approx(short, abs=0.011)
    assert 0.99 <= one.median / unit * (1 + 1e-9) <= 1.01 * (1 + 2e-9)


@given(ALIKE, st.floats(1.05, 10))
def test_a_fast_one_does_not_make_the_others_slow(rates, fast):
    rates[0] = fast
    # Of three, one of the others has a median between the fast one and the third: then they are too far apart to tell.
    assert found(rates) == []


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=16), st.randoms())
def test_the_order_of_the_gpus_changes_nothing(rates, random):
    order = list(range(len(rates)))
    random.shuffle(order)
    mixed = slower([rates[at] for at in order])
    assert sorted((order[one.at], one.median, one.short) for one in mixed) == [tuple(one) for one in slower(rates)]


@given(st.lists(st.floats(0.1, 10), max_size=FEWEST - 1))
def test_of_two_nobody_knows_which_one_is_off(rates):
    assert found(rates) == []


def test_two_slow_ones_of_eight_are_both_found():
    assert found([1.0, 1.01, 0.88, 0.99, 1.0, 1.0, 0.87, 1.0]) == [2, 6]


def test_none_has_a_part_in_what_it_is_measured_by():
    assert found([1.0, 1.0, 0.92, 0.92]) == [2, 3]  # 4 % below the median of all four


def test_siblings_that_lie_far_apart_accuse_nobody():
    spread = [0.8, 0.9, 1.0, 1.1, 1.2]
    assert deviation(spread) == pytest.approx(0.14826)
    assert found([*spread, 0.5]) == []
    assert found([*[1 + (one - 1) / 10 for one in spread], 0.5]) == [5]


@pytest.mark.parametrize(("short", "floor", "expected"), [(0.049, FLOOR, []), (0.051, FLOOR, [3]), (0.2, 0.25, [])])
def test_the_floor_is_a_part_of_the_median(short, floor, expected):
    assert found([700.0, 700.0, 700.0, 700.0 * (1 - short)], floor=floor) == expected


def test_the_scaled_deviation_of_normal_samples_is_their_standard_deviation():
    # Quantiles of the normal distribution at (i + 1/2) / 9.
    normal = [-1.593, -0.967, -0.589, -0.282, 0.0, 0.282, 0.589, 0.967, 1.593]
    assert deviation([10 + 2 * one for one in normal]) == pytest.approx(2 * 0.589 * 1.4826, rel=1e-6)
    assert deviation([7.0]) == 0
