"""Clocks and launch patterns: short bursts from rest, and an unbroken stream until the rate has settled."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch

Launch = Callable[[int], object]
"""Enqueues the i-th product."""

Mark = torch.Event | float

BURST_SECONDS = 0.012
PAIRS, PAIRS_SECONDS = 4, 0.02  # of an estimate


class Timer(Protocol):
    """A clock on the device's own time line."""

    def mark(self) -> Mark:
        """A point in the stream of launches."""

    def seconds(self, start: Mark, end: Mark) -> float:
        """The time between two points; waits until the device has passed the second."""


class CudaTimer:
    """CUDA events on the current stream."""

    def mark(self) -> Mark:
        """Record an event."""
        event = torch.Event("cuda", enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Mark, end: Mark) -> float:
        """Event time, which the host's scheduling does not touch; resolution about 1 µs."""
        assert isinstance(start, torch.Event)
        assert isinstance(end, torch.Event)
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000


class CpuTimer:
    """The host's clock; products on the CPU have ended when their call returns."""

    def mark(self) -> Mark:
        """The host's time now."""
        return time.perf_counter()

    def seconds(self, start: Mark, end: Mark) -> float:
        """Host time between two moments."""
        assert isinstance(start, float)
        assert isinstance(end, float)
        return end - start


def estimate(launch: Launch, timer: Timer) -> float:
    """Seconds per launch, roughly: the least of some pairs, since a busy host may hold up any of them.

    The first, which may load code, does not count. Where they take long there is only one more.
    """

    def pair() -> float:
        start = timer.mark()
        launch(0)
        launch(1)
        return timer.seconds(start, timer.mark())

    pair()
    taken = [pair()]
    while len(taken) < PAIRS and sum(taken) <= PAIRS_SECONDS:
        taken.append(pair())
    return min(taken) / 2


def bursts(launch: Launch, timer: Timer, each: float, rest: float, repeats: int) -> list[float]:
    """Seconds per launch of `repeats` bursts of about 12 ms, each after `rest` seconds of doing nothing."""
    count = max(1, round(BURST_SECONDS / each))
    samples = []
    for _ in range(repeats):
        time.sleep(rest)
        start = timer.mark()
        for i in range(count):
            launch(i)
        samples.append(timer.seconds(start, timer.mark()) / count)
    return samples


def orders(count: int) -> Iterator[list[int]]:
    """The order of each round, for ever: a Williams design (https://doi.org/10.1071/CH9490149).

    Over `count` rounds, twice that where it is odd, everyone is in each place, and after each other one, equally often:
    so each meets all phases of the power controller's wave, and the clock that each of the others leaves behind.
    """
    first = [(place + 1) // 2 if place % 2 else (count - place // 2) % count for place in range(count)]
    while True:
        for order in (first, first[::-1]) if count % 2 else (first,):
            for shift in range(count):
                yield [(one + shift) % count for one in order]


def interleaved(turns: Sequence[tuple[Launch, int]], timer: Timer) -> Iterator[tuple[int, float, float]]:
    """Let several products take turns for ever, back to back: (launch, how many a turn) each, every one once a round.

    Yields (whose turn it was, seconds per launch, host time of its end). One turn is always queued ahead.
    """
    launched = [0] * len(turns)
    queued: deque[tuple[int, int, Mark, Mark]] = deque()
    before = timer.mark()
    for order in orders(len(turns)):
        for who in order:
            launch, count = turns[who]
            for number in range(launched[who], launched[who] + count):
                launch(number)
            launched[who] += count
            after = timer.mark()
            queued.append((who, count, before, after))
            before = after
            if len(queued) > 1:
                first, many, start, end = queued.popleft()
                yield first, timer.seconds(start, end) / many, time.monotonic()
