"""Quantiles hold for any samples, and confidence intervals hold what they promise."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring.statistics import (
    FEWEST_GROUPS,
    NORMAL,
    STUDENT_T,
    grouped,
    half_width,
    mean,
    median,
    quantile,
    rounded,
)

SAMPLES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(SAMPLES)
def test_the_median_is_that_of_the_standard_library(samples):
    assert median(samples) == pytest.approx(statistics.median(samples))


@given(SAMPLES, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_are_ordered_and_within_the_samples(samples, a, b):
    low, high = sorted((a, b))
    assert min(samples) <= quantile(samples, low) <= quantile(samples, high) + 1e-9 <= max(samples) + 2e-9


@given(SAMPLES, st.randoms())
def test_order_does_not_matter(samples, random):
    shuffled = random.sample(samples, len(samples))
    assert quantile(shuffled, 0.1) == quantile(samples, 0.1)


def test_numpy_agrees():
    numpy = pytest.importorskip("numpy")
    samples = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0]
    assert quantile(samples, 0.9) == pytest.approx(numpy.quantile(samples, 0.9))


@given(st.floats(1e-9, 1e6))
def test_rounding_keeps_five_digits_however_small_the_rate(rate):
    assert rounded(rate) == pytest.approx(rate, rel=5.1e-5)


RATES = st.lists(st.floats(1.0, 1e6), min_size=FEWEST_GROUPS, max_size=40)


def test_the_confidence_interval_is_students():
    """Of 1 to 5: mean 3, standard deviation sqrt(2.5), t(4; 0.975) = 2.776."""
    assert half_width([1, 2, 3, 4, 5]) == pytest.approx(2.776 * math.sqrt(2.5) / math.sqrt(5) / 3)
    assert half_width([2, 2, 4, 4, 6, 6, 8, 8, 10, 10], 2) == pytest.approx(half_width([1, 2, 3, 4, 5]))


def test_students_t_falls_towards_the_normal_distribution():
    assert list(STUDENT_T) == sorted(STUDENT_T, reverse=True)
    assert STUDENT_T[-1] > NORMAL
    many = [1.0, 3.0] * 50
    assert half_width(many) == pytest.approx(NORMAL * statistics.stdev(many) / 10 / 2)


@given(RATES, st.floats(1e-6, 1e6))
def test_the_unit_does_not_matter(samples, factor):
    scaled = [factor * one for one in samples]
    assert half_width(scaled) == pytest.approx(half_width(samples), rel=1e-6, abs=1e-9)


@given(st.floats(1e-6, 1e9), st.integers(FEWEST_GROUPS, 40), st.integers(1, 3))
def test_a_constant_series_is_known_exactly(rate, count, group):
    assert half_width([rate] * (count * group), group) == pytest.approx(0, abs=1e-12)


@given(st.lists(st.floats(1.0, 2.0), max_size=4 * FEWEST_GROUPS), st.integers(1, 5))
def test_too_few_groups_tell_nothing(samples, group):
    assert (half_width(samples, group) == math.inf) is (len(samples) // group < FEWEST_GROUPS)


def test_a_mean_of_nothing_has_no_relative_interval():
    assert half_width([-1.0, 1.0, -1.0, 1.0]) == math.inf


@given(st.lists(st.floats(1.0, 1e6), max_size=40), st.integers(1, 12))
def test_groups_are_the_newest_samples_and_the_beginning_is_dropped(samples, size):
    groups = grouped(samples, size)
    assert len(groups) == len(samples) // size
    kept = samples[len(samples) - size * len(groups) :]
    assert groups == [mean(kept[at : at + size]) for at in range(0, len(kept), size)]


def test_what_is_left_over_at_the_beginning_is_dropped():
    assert grouped([100, 1, 2, 3, 4, 5, 6], 3) == [2, 5]
    assert grouped([1, 2], 3) == []


@pytest.mark.parametrize("count", [FEWEST_GROUPS, 10, 40])
def test_19_of_20_intervals_hold_the_true_mean(count):
    """Of samples that don't depend on each other; beyond the table of Student's t one in a few hundred more is lost."""
    draw = random.Random(20261126)  # noqa: S311 - not a secret
    series = [[draw.gauss(700, 20) for _ in range(count)] for _ in range(4000)]
    held = sum(abs(mean(one) - 700) <= half_width(one) * mean(one) for one in series)
    assert held / len(series) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(("group", "low", "high"), [(1, 0.3, 0.7), (40, 0.9, 0.97)])
def test_groups_mend_what_neighbours_that_are_alike_spoil(group, low, high):
    """Each sample keeps 0.9 of the one before: single ones promise far too much, groups about what they say."""
    draw, held, count = random.Random(20261126), 0, 400  # noqa: S311 - not a secret
    for _ in range(count):
        deviation, samples = 0.0, []
        for _ in range(400):
            deviation = 0.9 * deviation + draw.gauss(0, 5)
            samples.append(700 + deviation)
        held += abs(mean(samples) - 700) <= half_width(samples, group) * mean(samples)
    assert low < held / count < high
