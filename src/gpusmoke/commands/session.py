"""What every command that makes a record shares: its clock, its facts, and how an interruption ends it."""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpusmoke.clock import now
from gpusmoke.facts import Fact, Facts, Json
from gpusmoke.findings import Finding, finding, merged
from gpusmoke.record import Record

if TYPE_CHECKING:  # doctor has no children, and rich takes 0.1 s to import
    from gpusmoke.presentation.progress import Progress
    from gpusmoke.workers.parent import Crew


class Session:
    """One run of a command."""

    def __init__(self, command: str, **request: Json) -> None:
        self.command = command
        self.started, self.since = now(), time.monotonic()
        self.complete = True
        self.facts = Facts({f"request.{name}": Fact(value, "command line") for name, value in request.items()})
        self.measurements: list[dict[str, Json]] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self.since

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Keep what was gathered so far when Ctrl-C or SIGTERM comes; the record is then not complete.

        A SIGTERM that comes later is late: the record is about to be judged and kept, which takes a second.
        """
        try:
            yield
        except KeyboardInterrupt:
            self.complete = False
        else:
            signal.signal(signal.SIGTERM, lambda *_: None)

    def wait_for(self, crew: Crew, progress: Progress) -> None:
        """Wait for the children, keeping what they said, also when interrupted."""
        try:
            with progress:
                crew.wait(progress.show)
        finally:
            self.facts = self.facts.with_facts(crew.facts())
            self.measurements += crew.measurements()

    def record(
        self, judge: Callable[[Facts], Sequence[Finding]], seen: Callable[[Facts], Iterable[Finding]] = lambda _: ()
    ) -> Record:
        """The record of all this, with the findings that `judge` makes of the facts, or `seen` after an interruption.

        That is what was wrong until then: how the children ended is our own doing.
        """
        findings = merged(judge(self.facts) if self.complete else [*seen(self.facts), finding("interrupted")])
        return Record(
            command=self.command,
            started=self.started,
            seconds=self.elapsed,
            complete=self.complete,
            facts=self.facts,
            findings=findings,
            measurements=self.measurements,
        )


def add_markdown_argument(parser: argparse.ArgumentParser) -> None:
    """The option of commands that CI shows; cli.py acts on it."""
    parser.add_argument("--markdown", action="store_true", help="print Markdown, for $GITHUB_STEP_SUMMARY")


def node(text: str) -> str:
    """A node's name, which becomes a file's."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{,119}", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            f"{text!r:.60} is no name of a node: up to 120 letters, digits, '.', '_' and '-', no '.' or '-' first"
        )
    return text


def add_results_argument(parser: argparse.ArgumentParser) -> None:
    """The options of commands that write a record; cli.py acts on them."""
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="where the record goes (default: results)",
    )
    parser.add_argument(
        "--node",
        type=node,
        metavar="NAME",
        help="call the record NAME.json and say in it that this node made it (default: no name of a machine)",
    )
