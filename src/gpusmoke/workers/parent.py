"""The parent's side: starts children, listens to them, and ends those that hang."""

from __future__ import annotations

import contextlib
import json
import math
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from gpusmoke import python
from gpusmoke.facts import Fact, Json
from gpusmoke.workers.reporter import PREFIX

# What is kept of a child's other output, so that a talkative one can't fill the record.
OUTPUT_LINES = 12
LINE_LENGTH = 200
STACK_FRAME = "frame #"  # dozens of PyTorch's own follow its words, and would push them out
GRACE_SECONDS = 5.0
READ_SECONDS = 1.0  # for what a child that is gone left in its pipes
POLL_SECONDS = 0.2


@dataclass
class Outcome:
    """How a child ended; together with its facts, all that rules need to judge it."""

    last_step: str = ""
    finished: bool = False
    exit_code: int | None = None
    timed_out: bool = False
    silent_seconds: float | None = None
    """After how long without a word it was ended, where that is why."""
    unkillable: bool = False
    stray_lines: list[str] = field(default_factory=list)
    """The first lines on the report channel that are no reports."""
    stderr: list[str] = field(default_factory=list)


class Worker:
    """One child for one device, which imports PyTorch, starts CUDA and waits for its task.

    `events` is shared by all of a run.
    """

    def __init__(self, job: str, ordinal: int, events: queue.Queue[Event]) -> None:
        self.ordinal = ordinal
        self.busy = False
        """Whether it has a task."""
        self.outcome = Outcome()
        self.facts: dict[str, Fact] = {}
        self.measurements: list[dict[str, Json]] = []
        self.so_far: list[dict[str, Json]] = []
        """The measurement that goes on, if there is one."""
        self._events = events
        self._process = subprocess.Popen(
            python.command("-m", "gpusmoke.workers.child", job, str(ordinal)),
            env=python.environment(),
            stdin=subprocess.PIPE,  # held open: the child ends itself when it closes
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the parent alone, which decides what is kept
        )
        self._tail: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_stdout, self._read_stderr)]
        for reader in self._readers:
            reader.start()

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        lines = (line.rstrip()[:LINE_LENGTH] for line in self._process.stderr)
        self._tail.extend(line for line in lines if line and not line.startswith(STACK_FRAME))

    def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                if not line.startswith(PREFIX):
                    raise ValueError("not one of ours")
                message = json.loads(line.removeprefix(PREFIX))
                self._take(message["kind"], message["content"])
            except (ValueError, KeyError, TypeError):
                if len(self.outcome.stray_lines) < OUTPUT_LINES:
                    self.outcome.stray_lines.append(line.rstrip()[:LINE_LENGTH])
        self._events.put(Event(self.ordinal, "end", None))

    def _take(self, kind: str, content: Json) -> None:
        if kind == "step":
            self.outcome.last_step = content
        elif kind == "fact":
            self.facts[content["name"]] = Fact(content["value"], content["source"], content["reason"])
        elif kind == "measurement":
            self.measurements.append(content)
            self.so_far = []
        elif kind == "so far":
            self.so_far = [content]
        elif kind == "done":
            self.outcome.finished = True
        elif kind != "line":
            raise ValueError(kind)
        self._events.put(Event(self.ordinal, kind, content))

    def start(self, options: Mapping[str, Json]) -> None:
        """Give it its task; one that is gone is not told."""
        assert self._process.stdin is not None
        self.busy = True
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{json.dumps(options)}\n")
            self._process.stdin.flush()

    def gone(self) -> bool:
        """Whether the child has ended, even if something that it started still holds its output open."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Have the kernel end it, which may take a while, or for ever."""
        self._process.kill()

    def wait(self, until: float) -> None:
        """Wait until then, at the longest, for the child to be gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.outcome.exit_code = self._process.wait(max(0.0, until - time.monotonic()))

    def conclude(self, timed_out: bool, until: float) -> None:
        """Keep how the child ended, and what it left in its pipes, which something that it started may hold open."""
        self.outcome.timed_out, self.outcome.unkillable = timed_out, self.outcome.exit_code is None
        for reader in self._readers if not self.outcome.unkillable else ():
            reader.join(max(0.0, until - time.monotonic()))
        self.outcome.stderr = list(self._tail)


def end_together(workers: Sequence[Worker], hung: Sequence[Worker], patience: float = 0.0) -> None:
    """Make sure that all are gone, or known not to go: kill those that are `hung`, and in so many seconds the others.

    Together they get no more time than one, for all may be stuck.
    """
    for worker in hung:
        worker.kill()
    until = time.monotonic() + patience
    for worker in workers:
        worker.wait(until)
    for worker in workers:
        worker.kill()
    until = time.monotonic() + GRACE_SECONDS
    for worker in workers:
        worker.wait(until)
    until = time.monotonic() + READ_SECONDS
    for worker in workers:
        worker.conclude(worker in hung, until)


@dataclass(frozen=True)
class Event:
    """Something a child said, or that it ended; for whoever shows progress."""

    ordinal: int
    kind: str
    content: Json


class Crew:
    """The children of one job, all under one deadline; leaving it ends those that are still there.

    Where a job takes hours, `silence_seconds` ends a child that has said nothing for so long, and no other.
    """

    def __init__(self, job: str, deadline_seconds: float, silence_seconds: float | None = None) -> None:
        self.job = job
        self.deadline_seconds = deadline_seconds
        self.silence_seconds = silence_seconds
        self.workers: list[Worker] = []
        self._events: queue.Queue[Event] = queue.Queue()
        self._end_at = time.monotonic() + deadline_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        left = [one for one in self.workers if one.outcome.exit_code is None and not one.outcome.unkillable]
        end_together(left, hung=left)

    def recruit(self, ordinal: int) -> Worker:
        """Start the child for one device before its task is known."""
        self.workers.append(Worker(self.job, ordinal, self._events))
        return self.workers[-1]

    def start(self, ordinal: int, options: Mapping[str, Json]) -> None:
        """Give the child for one device its task."""
        recruits = (one for one in self.workers if one.ordinal == ordinal)
        worker = next(recruits, None) or self.recruit(ordinal)
        worker.start(options)

    def dismiss(self) -> None:
        """End those that were given no task."""
        idle = [one for one in self.workers if not one.busy]
        self.workers = [one for one in self.workers if one.busy]
        end_together(idle, hung=idle)

    @property
    def seconds_left(self) -> float:
        """Until the deadline."""
        return self._end_at - time.monotonic()

    def allow(self, seconds: float) -> None:
        """From now on they have so long."""
        self.deadline_seconds, self._end_at = seconds, time.monotonic() + seconds

    def wait(self, show: Callable[[Event], None]) -> None:
        """Listen until every child has ended or the deadline has passed; `show` sees every event."""
        heard = {worker.ordinal: time.monotonic() for worker in self.workers}
        while heard and (left := self.seconds_left) > 0:
            self._end_the_silent(heard)
            try:
                event = self._events.get(timeout=min(left, POLL_SECONDS))  # short, so that Ctrl-C is noticed on Windows
            except queue.Empty:
                # Nothing more to hear from these: a process of theirs that lives on would keep us until the deadline.
                for worker in self.workers:
                    if worker.gone():
                        heard.pop(worker.ordinal, None)
                continue
            if event.kind == "end":
                heard.pop(event.ordinal, None)
            elif event.ordinal in heard:
                heard[event.ordinal] = time.monotonic()
            show(event)
        others = [one for one in self.workers if one.outcome.silent_seconds is None]
        hung = [one for one in others if one.ordinal in heard]
        # A child is heard no more before it is gone: the driver takes down what it had.
        end_together(others, hung, patience=min(GRACE_SECONDS, max(0.0, self.seconds_left)))

    def _end_the_silent(self, heard: dict[int, float]) -> None:
        if self.silence_seconds is None:
            return
        now = time.monotonic()
        silent = [one for one in self.workers if now - heard.get(one.ordinal, math.inf) > self.silence_seconds]
        for worker in silent:
            del heard[worker.ordinal]
            worker.outcome.silent_seconds = self.silence_seconds
        end_together(silent, hung=silent)

    def facts(self) -> dict[str, Fact]:
        """All children's facts, and how each ended as JOB.worker.N."""
        facts: dict[str, Fact] = {}
        for worker in reversed(self.workers):  # facts about PyTorch are the same for all: the first one's stay
            facts |= worker.facts
        for worker in self.workers:
            source = f"the child process of device {worker.ordinal}"
            facts[f"{self.job}.worker.{worker.ordinal}"] = Fact(vars(worker.outcome), source)
        return facts

    def well(self) -> list[int]:
        """The devices whose children ended well."""
        return [one.ordinal for one in self.workers if one.outcome.finished and one.outcome.exit_code == 0]

    def measurements(self) -> list[dict[str, Json]]:
        """All children's measurements."""
        return [row for worker in self.workers for row in (*worker.measurements, *worker.so_far)]
