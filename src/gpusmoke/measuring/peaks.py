"""The most that a GPU can do: its datasheet's figure, and its arithmetic rate at a clock. Data: data/peaks.toml.

Both are for dense products; 1 multiply-add = 2 operations, so TFLOP/s, and TOP/s for int8. None is "unknown": then no
percentage can be given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from gpusmoke.tables import table

OPERATIONS_PER_FMA = 2


@dataclass(frozen=True)
class Peak:
    """A datasheet's dense peak in TFLOP/s (TOP/s for int8), and the link to where it stands."""

    value: float
    source: str


def named(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the regular expressions is NVML's whole name for a GPU."""
    return any(re.fullmatch(pattern, name) for pattern in patterns)


@dataclass(frozen=True)
class Card:
    """One row of the data file; `rate_unknown` are formats whose rate differs from the capability's."""

    names: list[str]
    capability: str
    tflops: dict[str, float]
    source: str
    multiprocessors: int | None = None
    gb_per_second: float | None = None
    half_rate: bool = False
    rate_unknown: list[str] = field(default_factory=list)

    def matches(self, name: str) -> bool:
        """Whether NVML's name for a GPU is one of this card's."""
        return named(self.names, name)


@dataclass(frozen=True)
class Rate:
    """FMA per SM per clock of one compute capability, by format; `half` where half-rate cards differ."""

    full: dict[str, int]
    half: dict[str, int]
    source: str


@lru_cache(maxsize=1)
def _tables() -> tuple[tuple[Card, ...], dict[str, Rate]]:
    data = table("peaks")
    rates = {
        capability: Rate({k: v for k, v in row.items() if isinstance(v, int)}, row.get("half", {}), row["source"])
        for capability, row in data["rate"].items()
    }
    return tuple(Card(**row) for row in data["card"]), rates


def cards() -> tuple[Card, ...]:
    """Every card on file."""
    return _tables()[0]


def rates() -> dict[str, Rate]:
    """The arithmetic rates by compute capability."""
    return _tables()[1]


def card(name: str) -> Card | None:
    """The card that NVML calls by this name."""
    return next((row for row in cards() if row.matches(name)), None)


def datasheet(name: str, sm_count: int, dtype: str) -> Peak | None:
    """The datasheet's peak for products in `dtype`, or None where the card, or that figure, is not on file.

    A card with another number of SMs than its datasheet says (a MIG slice, a cut-down part) has no datasheet.
    """
    row = card(name)
    if row is None or dtype not in row.tflops or row.multiprocessors not in (None, sm_count):
        return None
    return Peak(row.tflops[dtype], row.source)


def memory(name: str, sm_count: int) -> Peak | None:
    """The datasheet's bandwidth of the device's memory in GB/s, or None as for `datasheet`."""
    row = card(name)
    if row is None or row.gb_per_second is None or row.multiprocessors not in (None, sm_count):
        return None
    return Peak(row.gb_per_second, row.source)


def at_clock(name: str, capability: tuple[int, int], sm_count: int, dtype: str, sm_clock_mhz: float) -> float | None:
    """What `sm_count` SMs can do at that clock, in TFLOP/s: SMs x FMA per SM and clock x 2 x clock.

    None where the rate is unknown: no such capability on file, no such format on it, or a capability that has
    half-rate cards and a card that can't be told to be one or not. Source of the formula: NVIDIA's own
    speed-of-light figure, https://github.com/NVIDIA/cudnn-frontend/pull/314
    """
    rate, row = rates().get("{}.{}".format(*capability)), card(name)
    if rate is None or dtype not in rate.full or sm_count <= 0 or sm_clock_mhz <= 0:
        return None
    if row is None and rate.half and dtype != "fp32":
        return None
    if row is not None and dtype in row.rate_unknown:
        return None
    table = rate.full | rate.half if row is not None and row.half_rate else rate.full
    return sm_count * table[dtype] * OPERATIONS_PER_FMA * sm_clock_mhz * 1e6 / 1e12
