"""What explains that a device is slower or faster than before, by the facts and the telemetry of both runs.

A cause is looked for in the slower of the two runs and told from the older to the newer: where the newer one is the
faster, that a clock is higher, or that a process which used the GPU before is gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gpusmoke.facts import Facts, Json, listed
from gpusmoke.findings.comparable import Card, Pair, Row
from gpusmoke.findings.health import BUSY_PERCENT, number, nvml_row
from gpusmoke.measuring.clocks import HARMLESS_REASONS, POWER_CAP, reason_names, together
from gpusmoke.measuring.statistics import median

if TYPE_CHECKING:
    from gpusmoke.record import Record

# A clock explains a rate that fell with it. At the power limit they fall alike; what also waits for memory falls less.
CLOCK_SHARE = 0.5
POWER_SHARE = 0.03  # of the power drawn at the cap: what a cap that is lower takes; runs repeat within 0.3 %
WARMER_C = 5

Both = Sequence[tuple[Row, Row]]
"""A measurement in the older and in the newer record, one pair for each that changed."""


class Sides(NamedTuple):
    """Two values, the older one first; `slow` is the place of the slower run."""

    values: tuple[float, float]
    slow: int

    @property
    def falls(self) -> bool:
        """Whether the slower run has less."""
        return self.values[self.slow] < self.values[1 - self.slow]

    def told(self, what: str, unit: str) -> str:
        """As "the SM clock is lower (1365 to 1230 MHz)"."""
        old, new = self.values
        return f"{what} is {'lower' if new < old else 'higher'} ({old:.4g} to {new:.4g} {unit})"


def telemetry(both: Both, name: str, slow: int) -> Sides | None:
    """The median of a reading over the rows that have it in both runs, or None."""
    seen = [(old["telemetry"].get(name), new["telemetry"].get(name)) for old, new in both]
    known = [(old, new) for old, new in seen if old is not None and new is not None]
    if not known:
        return None
    return Sides((median([old for old, _ in known]), median([new for _, new in known])), slow)


def others(facts: Facts, card: Card) -> tuple[int, float] | None:
    """How many other processes had the GPU, and how busy it was (%) while the run itself rested; None if none did."""
    row = facts.row(f"bench.{card.gpu or 0}.others")
    count, busy = number(row, "processes"), number(row, "utilisation_percent") or 0
    if count is None:  # read before anything was measured, so that the run itself is not among them
        count = len(listed(nvml_row(facts, card.uuid).get("processes")))
    return (int(count), busy) if count > 0 or busy > BUSY_PERCENT else None


def reasons(row: Row) -> int:
    """The throttle reasons seen during a measurement, as NVML's bits."""
    return int(row["telemetry"].get("throttle_reasons", 0))


def sharing(facts: tuple[Facts, Facts], pair: Pair, slow: int) -> Iterator[str]:
    """Another process on the slower run's GPU that the other run's did not have so."""
    mine, theirs = (others(facts[at], pair[at]) for at in (slow, 1 - slow))
    if mine is None or (theirs is not None and mine[0] <= theirs[0] and mine[1] <= theirs[1] + BUSY_PERCENT):
        return
    count, busy = mine
    who = "another process" if count <= 1 else f"{count} other processes"
    when = "before" if slow == 0 else "meanwhile"
    yield f"{who} used the GPU {when}" + (f" ({busy:.0f} % busy while bench rested)" if busy else "")


def power(facts: tuple[Facts, Facts], pair: Pair, both: Both, slow: int) -> Iterator[str]:
    """A lower power limit; failing that, less power drawn at the cap."""
    limits = [number(nvml_row(facts[at], pair[at].uuid), "power_limit_w") for at in (0, 1)]
    if None not in limits:
        limit = Sides((limits[0] or 0, limits[1] or 0), slow)
        if limit.falls and round(limit.values[0]) != round(limit.values[1]):
            yield limit.told("the power limit", "W")
            return
    capped = [rows for rows in both if all(reasons(row) & POWER_CAP for row in rows)]
    drawn = telemetry(capped, "power_w", slow)
    if drawn and drawn.values[slow] < drawn.values[1 - slow] * (1 - POWER_SHARE):
        yield drawn.told("the power drawn at the power cap", "W")


def throttling(both: Both, slow: int) -> Iterator[str]:
    """Reasons to hold the clock down, other than the power cap, that only the slower run has."""
    bits = [together(reasons(rows[at]) for rows in both) for at in (0, 1)]
    if only := bits[slow] & ~bits[1 - slow] & ~HARMLESS_REASONS:
        yield f"the clock was held down {'before ' if slow == 0 else ''}by: {', '.join(reason_names(only))}"


def clocks(both: Both, change: float, slow: int) -> Iterator[str]:
    """A clock that is lower by about as much as the rate: that of the memory where bytes are moved within it."""
    name, what = "sm_clock_mhz", "the SM clock"
    if all(old["quantity"].startswith("memory") for old, _ in both):
        name, what = "memory_clock_mhz", "the memory clock"
    if (clock := telemetry(both, name, slow)) and min(clock.values) > 0:
        fell = abs(math.log(clock.values[1] / clock.values[0]))
        if clock.falls and fell >= CLOCK_SHARE * abs(change):
            yield clock.told(what, "MHz")


def warmth(both: Both, slow: int) -> Iterator[str]:
    """A card that is warmer: it leaks more and is held back sooner."""
    degrees = telemetry(both, "temperature_c", slow)
    if degrees and degrees.values[slow] - degrees.values[1 - slow] >= WARMER_C:
        yield degrees.told("the temperature", "C")


def narrower(links: Iterable[tuple[str, float | None, float | None]]) -> Iterator[str]:
    """What a slower GPU's PCIe link has less of: "fewer lanes", what it usually is, and what it is there."""
    for what, usual, own in links:
        if usual is not None and own is not None and own < usual:
            yield f"its PCIe link has {what} ({usual:.0f} to {own:.0f})"


def explained(facts: tuple[Facts, Facts], pair: Pair, both: Both, change: float) -> list[str]:
    """What explains a change (the logarithm of a ratio) of these rows, each thing as half a sentence."""
    slow = 1 if change < 0 else 0
    found = [*sharing(facts, pair, slow), *power(facts, pair, both, slow), *throttling(both, slow)]
    held_back = [*clocks(both, change, slow)]
    # Heat alone slows nothing down: it shows in the clock.
    return [*found, *held_back, *(warmth(both, slow) if held_back else ())]


def why(older: Record, newer: Record, pair: Pair, both: Both, change: float) -> str:
    """What explains a change (the logarithm of a ratio) of these rows between two records, as half a sentence."""
    if found := explained((older.facts, newer.facts), pair, both, change):
        return ", and ".join(found)
    if telemetry(both, "sm_clock_mhz", 0) is None:
        return "clock and power, which might explain it, were not sampled in both"
    return "none of clock, power, another process explains it"


def reading(old: Row, new: Row) -> str:
    """Clock, power and temperature of one measurement in both runs, as a line of evidence."""
    names: dict[str, tuple[str, str]] = {
        "sm_clock_mhz": ("SM clock", "MHz"),
        "power_w": ("power", "W"),
        "temperature_c": ("temperature", "C"),
    }
    told: list[Json] = []
    for name, (what, unit) in names.items():
        values = old["telemetry"].get(name), new["telemetry"].get(name)
        if None not in values:
            told.append(f"{what} {values[0]:.4g} to {values[1]:.4g} {unit}")
    return ", ".join(told)
