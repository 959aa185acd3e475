"""When a GPU under load has come to rest: decided from rates and clocks over whole periods of its power controller.

On an H100 the controller oscillates for 6-8 s with a period of about 1 s (docs/measuring.md). A shorter window would
measure the phase, a fixed time the patience; so two successive windows of whole seconds have to agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpusmoke.measuring.statistics import half_width, mean

AGREEMENT = 0.01  # of two windows' rates, and of their clocks: one turn of a settled H100 varies by as much
NARROW = 0.002  # half the 95 % confidence interval of a mean, relative to it: enough to tell 1 % apart


@dataclass(frozen=True)
class Round:
    """One round: seconds it took, the rates of its products (one each), and the SM clock in MHz if it is known."""

    seconds: float
    rates: tuple[float, ...]
    clock: float | None = None


def windows(rounds: Sequence[Round], seconds: float) -> tuple[list[Round], list[Round]] | None:
    """The last two windows of at least `seconds` each, the older first; None where there are not two yet."""
    parts: list[list[Round]] = []
    taken: list[Round] = []
    for one in reversed(rounds):
        taken.append(one)
        if sum(each.seconds for each in taken) >= seconds * (1 - 1e-9):
            parts.append(taken)
            taken = []
            if len(parts) == 2:
                return parts[1], parts[0]
    return None


def level(rounds: Sequence[Round]) -> list[float]:
    """The mean rate of each product over the rounds."""
    return [mean(rates) for rates in zip(*(one.rates for one in rounds), strict=True)]


def agree(older: float, newer: float) -> bool:
    """Whether two figures are the same within AGREEMENT."""
    return abs(newer - older) <= AGREEMENT * older


def settled(rounds: Sequence[Round], window: float) -> bool:
    """Whether the last two windows of `window` seconds agree in the products' rate, and in the clock if known."""
    if (two := windows(rounds, window)) is None:
        return False
    older, newer = two
    clocks = [[one.clock for one in part if one.clock is not None] for part in two]
    still = agree(1.0, mean([new / old for old, new in zip(level(older), level(newer), strict=True)]))
    if clocks[0] and clocks[1]:
        still &= agree(mean(clocks[0]), mean(clocks[1]))
    return still


def enough(rounds: Sequence[Round], period: float) -> bool:
    """Whether every product's mean rate is known narrowly: rounds are first joined to whole periods, see half_width."""
    length = sum(one.seconds for one in rounds) / len(rounds) if rounds else 0.0
    group = max(1, math.ceil(period / length - 1e-9)) if length else 1
    series = list(zip(*(one.rates for one in rounds), strict=True))
    return bool(series) and all(half_width(rates, group) <= NARROW for rates in series)
