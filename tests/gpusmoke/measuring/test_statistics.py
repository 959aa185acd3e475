"""Quantiles hold for any samples."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring.statistics import median, quantile, rounded

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
