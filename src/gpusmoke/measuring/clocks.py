"""NVML's bits for why a clock is lower than it could be (nvml.h, nvmlClocksEventReason…)."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable

REASONS = {
    0x1: "idle",
    0x2: "application clocks setting",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clock setting",
}
# Heat, a power brake and the hardware's own protection.
SLOWED_DOWN = 0x8 | 0x20 | 0x40 | 0x80
POWER_CAP = 0x4
# Idle is no throttling, and the power cap is what limits a healthy GPU under full load.
HARMLESS_REASONS = 0x1 | POWER_CAP


def together(reasons: Iterable[int]) -> int:
    """Every bit that is set in one of them."""
    return functools.reduce(operator.or_, reasons, 0)


def reason_names(bits: int) -> list[str]:
    """The names of the bits that are set."""
    return [REASONS.get(1 << i, hex(1 << i)) for i in range(bits.bit_length()) if bits >> i & 1]
