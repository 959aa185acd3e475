"""How long children that don't end may keep their parent, on a clock that only waiting moves."""

import subprocess

import pytest

from gpusmoke.workers import parent
from gpusmoke.workers.parent import GRACE_SECONDS, READ_SECONDS, Crew, Event, Outcome, Worker, end_together

DYING_SECONDS = 0.5  # SIGKILL takes its time, too


class Child:
    """A process and what reads its pipes: when it ends by itself, if it can be killed, if something holds its pipes."""

    def __init__(self, clock, ends=float("inf"), killable=True, held=False):
        self.clock, self.ends, self.killable, self.held = clock, ends, killable, held

    def kill(self):
        if self.killable:
            self.ends = min(self.ends, self.clock.now + DYING_SECONDS)

    def wait(self, timeout):
        self.clock.now += min(timeout, max(0.0, self.ends - self.clock.now))
        if self.clock.now < self.ends:
            raise subprocess.TimeoutExpired("a child", timeout)
        return 0

    def join(self, timeout):
        self.clock.now += timeout if self.held else 0.0


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    one = Clock()
    monkeypatch.setattr(parent, "time", one)
    return one


@pytest.fixture
def children(clock):
    """`children(count, **child)`: so many of them."""

    def some(count, **kwargs):
        workers = [object.__new__(Worker) for _ in range(count)]
        for ordinal, worker in enumerate(workers):
            worker.ordinal, worker.outcome, worker._tail = ordinal, Outcome(), []
            worker._process = Child(clock, **kwargs)
            worker._readers = [worker._process]
        return workers

    return some


@pytest.fixture
def ended(clock, children):
    """`ended(count, hung, patience, **child)`: how so many of them ended, and after how many seconds."""

    def run(count, hung, patience=0.0, **kwargs):
        workers = children(count, **kwargs)
        end_together(workers, workers if hung else [], patience)
        return [(one.outcome.exit_code, one.outcome.unkillable) for one in workers], clock.now

    return run


GONE, STUCK = (0, False), (None, True)


def test_those_that_are_stuck_take_no_more_than_one(ended):
    assert ended(8, hung=True, killable=False) == ([STUCK] * 8, GRACE_SECONDS)


def test_those_that_are_no_longer_heard_are_not_waited_for_one_by_one_either(ended):
    assert ended(8, hung=False, patience=2.0, killable=False) == ([STUCK] * 8, 2.0 + GRACE_SECONDS)


def test_what_holds_their_pipes_takes_no_more_than_one(ended):
    assert ended(8, hung=True, held=True) == ([GONE] * 8, DYING_SECONDS + READ_SECONDS)


def test_all_that_have_to_be_killed_have_time_to_die(ended):
    """As the last of them takes as long as the first, it is not told of as if not even SIGKILL could end it."""
    assert ended(8, hung=False, patience=2.0) == ([GONE] * 8, 2.0 + DYING_SECONDS)


def test_those_that_end_by_themselves_are_not_killed(ended):
    assert ended(8, hung=False, patience=2.0, ends=1.0) == ([GONE] * 8, 1.0)


@pytest.mark.parametrize(("deadline", "seconds"), [(3.0, 3.0 + GRACE_SECONDS), (100.0, 2 * GRACE_SECONDS)])
def test_one_that_said_all_and_stays_has_no_longer_than_the_deadline(clock, children, deadline, seconds):
    crew = Crew("check", deadline)
    crew.workers = children(2, killable=False)
    for ordinal in range(2):
        crew._events.put(Event(ordinal, "end", None))
    crew.wait(lambda _: None)
    assert clock.now == seconds


def test_those_that_fall_silent_together_are_ended_together(clock, children):
    crew = Crew("soak", 1000.0, silence_seconds=60.0)
    crew.workers = children(8, killable=False)
    crew._end_the_silent(heard=dict.fromkeys(range(8), -61.0))
    assert clock.now == GRACE_SECONDS
    assert {one.outcome.silent_seconds for one in crew.workers} == {60.0}
