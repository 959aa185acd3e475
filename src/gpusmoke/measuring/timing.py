"""Clocks and launch patterns: short bursts from rest, and an unbroken stream until the rate has settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

Launch = Callable[[int], None]
"""Enqueues the i-th product."""

Mark = torch.Event | float

BURST_SECONDS = 0.012
BLOCK_SECONDS = 0.1
# Two successive windows that agree within this count as settled.
AGREEMENT = 0.01


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
    """Seconds per launch, roughly: the second of two pairs, since the first may load code."""
    for _ in range(2):
        start = timer.mark()
        launch(0)
        launch(1)
        end = timer.mark()
        seconds = timer.seconds(start, end) / 2
    return seconds


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


def launches_per_block(each: float) -> int:
    """How many launches of `each` seconds make a block of about a tenth of a second."""
    return max(1, round(BLOCK_SECONDS / each))


def stream(launch: Launch, timer: Timer, each: float) -> Iterator[float]:
    """Launch back to back for ever, one block always queued ahead; yields the seconds per launch of each block."""
    count = launches_per_block(each)
    marks = [timer.mark()]
    number = 0
    while True:
        for _ in range(count):
            launch(number)
            number += 1
        marks.append(timer.mark())
        if len(marks) == 3:
            yield timer.seconds(marks[0], marks[1]) / count
            marks.pop(0)


@dataclass(frozen=True)
class Settled:
    """The part of a stream that was measured: seconds per launch of each block, and when (host time)."""

    settled: bool
    blocks: list[float]
    started: float
    ended: float


def settle(launch: Launch, timer: Timer, each: float, window: float, settle_for: float, measure_for: float) -> Settled:
    """Launch back to back; measure once two successive windows agree, or `settle_for` seconds have passed.

    The power controller of an H100 oscillates for 6-8 s with a period of about 1 s, so windows and the measured time
    are whole seconds: less would measure the phase.
    """
    blocks = stream(launch, timer, each)

    def blocks_of(seconds: float) -> list[float]:
        taken = [next(blocks)]
        while sum(taken) < seconds / launches_per_block(each):
            taken.append(next(blocks))
        return taken

    begun = time.monotonic()
    settled, before = False, 0.0
    while not settled and time.monotonic() - begun < settle_for:
        now = mean(blocks_of(window))
        settled, before = abs(now / before - 1) < AGREEMENT if before else False, now
    started = time.monotonic()
    measured = blocks_of(max(1.0, round(measure_for)))
    return Settled(settled, measured, started, time.monotonic())


def mean(samples: list[float]) -> float:
    """The arithmetic mean of seconds per launch, which weighs each launch alike."""
    return sum(samples) / len(samples)
