"""Whether a number can have been measured: JSON also holds NaN, 1e308 and 400 digits, with which none can reckon."""

from __future__ import annotations

LEAST_RATE = 1e-9  # in any unit: none is 0, less, or that slow
MOST = 2.0**64  # nothing that is read off a machine takes more bits


def is_sensible(value: float, least: float = -MOST) -> bool:
    """Whether a number can be a reading."""
    return least <= value <= MOST


def is_rate(value: float) -> bool:
    """Whether a number can be a rate."""
    return is_sensible(value, LEAST_RATE)
