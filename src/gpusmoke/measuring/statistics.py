"""The few statistics that measurements carry."""

from __future__ import annotations

from collections.abc import Sequence


def quantile(samples: Sequence[float], q: float) -> float:
    """The q-quantile (0 <= q <= 1) of at least one sample, linearly interpolated between neighbours."""
    ordered = sorted(samples)
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def median(samples: Sequence[float]) -> float:
    """The middle of at least one sample."""
    return quantile(samples, 0.5)


def rounded(value: float) -> float:
    """The value to five significant digits, which is finer than any rate repeats, on a CPU as on a GPU."""
    return float(f"{value:.5g}")
