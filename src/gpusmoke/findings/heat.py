"""What its temperature does to the rate of a card that is held by its power limit: a warmer one leaks more.

Seven runs of one H100 80GB HBM3 at 65 to 79 °C, driver 580.159.04, 2026-11-26, fell by 0.11 % a degree, through the
clock alone; the same program ran in all of them (docs/performance.md). Runs are compared as if they had been equally
warm, or the first one of a day would always be the fastest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpusmoke.measuring.clocks import POWER_CAP
from gpusmoke.measuring.statistics import mean

if TYPE_CHECKING:
    from gpusmoke.findings.comparable import Row

PER_DEGREE = 0.0011
MOST_DEGREES = 15.0  # what is more says that the card is cooled worse than before, which is no excuse


def degrees(older: Row, newer: Row) -> float:
    """How much warmer (°C) the newer run was, within MOST_DEGREES; 0 unless the power cap held both."""
    readings = [row["telemetry"] for row in (older, newer)]
    if not all(one.get("throttle_reasons", 0) & POWER_CAP for one in readings):
        return 0.0
    old, new = (one.get("temperature_c") for one in readings)
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return 0.0
    return max(-MOST_DEGREES, min(MOST_DEGREES, float(new - old)))


def heat(pairs: Sequence[tuple[Row, Row]]) -> float:
    """What the difference in temperature explains of the mean change of some rows, as a logarithm of a ratio."""
    return mean([math.log1p(-PER_DEGREE * degrees(*both)) for both in pairs])
