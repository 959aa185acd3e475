"""What is going on, on standard error: a live line on a terminal, a line per measurement elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.text import Text

from gpusmoke.workers.parent import Event


class Progress:
    """Shows what the children say while they work, beside the time `since` the command began (time.monotonic()).

    `quiet` shows nothing at all.
    """

    def __init__(self, quiet: bool, since: float) -> None:
        self._console = Console(file=sys.stderr, highlight=False, markup=False, quiet=quiet)
        self._steps: dict[int, str] = {}
        self._without = "starting"
        self._since = since
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status = self._console.status(self)
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, event: Event) -> None:
        """Take in one event of a child."""
        if event.kind == "step":
            self._steps[event.ordinal] = str(event.content)
        elif event.kind == "measurement" and "peer" not in event.content:  # of those there are dozens, in seconds
            row = event.content
            where = "CPU" if row["gpu"] is None else f"GPU {row['gpu']}"
            rate = f"{row['value']:.4g} {row['unit']}"
            what = f"{row['dtype']} {row['regime']}" if row["dtype"] else row["quantity"]
            self._console.print(f"{self._elapsed()} {where}: {what} {rate}")
        elif event.kind == "line":
            self._console.print(f"{self._elapsed()} {event.content}")
        elif event.kind == "end":
            self._steps.pop(event.ordinal, None)
            self._without = "finishing"

    def __rich__(self) -> Text:
        """The live line, made anew several times a second, so that its time goes on while nobody says anything."""
        steps = [*self._steps.values()]  # a copy: rich calls this in a thread of its own, while show() changes them
        # Of many GPUs the one that is furthest behind says most; they all take the same steps.
        text = f"{len(steps)} running, {steps[0]}" if steps else self._without
        return Text(f"{self._elapsed()} {text}", no_wrap=True, overflow="ellipsis")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._since:4.0f} s "
