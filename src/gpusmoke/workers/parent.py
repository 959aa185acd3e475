"""The parent's side: starts children, listens to them, and ends those that hang."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from gpusmoke.facts import Fact, Json
from gpusmoke.workers.reporter import PREFIX

STDERR_LINES = 12
GRACE_SECONDS = 5.0


@dataclass
class Outcome:
    """How a child ended; together with its facts, all that rules need to judge it."""

    last_step: str = ""
    finished: bool = False
    exit_code: int | None = None
    timed_out: bool = False
    unkillable: bool = False
    stray_lines: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)


class Worker:
    """One child exercising one device; `events` is shared by all workers of a run."""

    def __init__(self, job: str, ordinal: int, options: Mapping[str, Json], events: queue.Queue[Event]) -> None:
        self.ordinal = ordinal
        self.outcome = Outcome()
        self.facts: dict[str, Fact] = {}
        self.measurements: list[dict[str, Json]] = []
        self._events = events
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gpusmoke.workers.child", job, json.dumps(options)],
            stdin=subprocess.PIPE,  # held open: the child ends itself when it closes
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the parent alone, which decides what is kept
        )
        self._tail: deque[str] = deque(maxlen=STDERR_LINES)
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_stdout, self._read_stderr)]
        for reader in self._readers:
            reader.start()

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        self._tail.extend(line.rstrip() for line in self._process.stderr if line.strip())

    def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                if not line.startswith(PREFIX):
                    raise ValueError("not one of ours")
                message = json.loads(line.removeprefix(PREFIX))
                self._take(message["kind"], message["content"])
            except (ValueError, KeyError, TypeError):
                self.outcome.stray_lines.append(line.rstrip()[:200])
        self._events.put(Event(self.ordinal, "end", None))

    def _take(self, kind: str, content: Json) -> None:
        if kind == "step":
            self.outcome.last_step = content
        elif kind == "fact":
            self.facts[content["name"]] = Fact(content["value"], content["source"], content["reason"])
        elif kind == "measurement":
            self.measurements.append(content)
        elif kind == "done":
            self.outcome.finished = True
        else:
            raise ValueError(kind)
        self._events.put(Event(self.ordinal, kind, content))

    def end(self, timed_out: bool) -> Outcome:
        """Make sure that the child is gone, or known not to go, and return how it ended."""
        self.outcome.timed_out = timed_out
        if timed_out:
            self._process.kill()
        for _ in range(2):
            try:
                self.outcome.exit_code = self._process.wait(GRACE_SECONDS)
                break
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.outcome.unkillable = self.outcome.exit_code is None
        for reader in self._readers if not self.outcome.unkillable else ():
            reader.join(GRACE_SECONDS)
        self.outcome.stderr = list(self._tail)
        return self.outcome


@dataclass(frozen=True)
class Event:
    """Something a child said, or that it ended; for whoever shows progress."""

    ordinal: int
    kind: str
    content: Json


class Crew:
    """The children of one job, all under one deadline; leaving it ends those that are still there."""

    def __init__(self, job: str, deadline_seconds: float) -> None:
        self.job = job
        self.deadline_seconds = deadline_seconds
        self.workers: list[Worker] = []
        self._events: queue.Queue[Event] = queue.Queue()
        self._end_at = time.monotonic() + deadline_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.outcome.exit_code is None and not worker.outcome.unkillable:
                worker.end(timed_out=True)

    def start(self, ordinal: int, options: Mapping[str, Json]) -> None:
        """Start the child for one device."""
        self.workers.append(Worker(self.job, ordinal, options, self._events))

    def wait(self, show: Callable[[Event], None]) -> None:
        """Listen until every child has ended or the deadline has passed; `show` sees every event."""
        running = {worker.ordinal for worker in self.workers}
        while running and (left := self._end_at - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=min(left, 0.2))  # short, so that Ctrl-C is noticed on Windows too
                if event.kind == "end":
                    running.discard(event.ordinal)
                show(event)
        for worker in self.workers:
            worker.end(timed_out=worker.ordinal in running)

    def facts(self) -> dict[str, Fact]:
        """All children's facts, and how each ended as JOB.worker.N."""
        facts: dict[str, Fact] = {}
        for worker in reversed(self.workers):  # facts about PyTorch are the same for all: the first one's stay
            facts |= worker.facts
        for worker in self.workers:
            source = f"the child process of device {worker.ordinal}"
            facts[f"{self.job}.worker.{worker.ordinal}"] = Fact(vars(worker.outcome), source)
        return facts

    def measurements(self) -> list[dict[str, Json]]:
        """All children's measurements."""
        return [measurement for worker in self.workers for measurement in worker.measurements]
