"""The child's side: what it says to the parent, one JSON object a line on its original standard output."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import NoReturn

from gpusmoke.facts import Json

# Marks the lines that are ours; anything else on that stream is somebody's stray output.
PREFIX = "gpusmoke:"


class Reporter:
    """Says facts, measurements and progress to the parent.

    Making one takes standard output over: whatever libraries print from then on goes to standard error, where the
    parent keeps it as evidence. It also ends the child when the parent is gone.
    """

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        self._turn = threading.Lock()  # a thread that watches the device has its own word
        self._heard: queue.SimpleQueue[Json] = queue.SimpleQueue()
        os.dup2(2, 1)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            with open(0, encoding="utf-8", closefd=False) as parent:
                for line in parent:
                    self._heard.put(json.loads(line))
        finally:
            os._exit(1)  # the parent, which holds the other end, is gone

    def heard(self) -> Json:
        """What the parent says next; waits for it."""
        return self._heard.get()

    def _say(self, kind: str, content: Json) -> None:
        text = f"{PREFIX}{json.dumps({'kind': kind, 'content': content})}\n"
        with self._turn:
            self._out.write(text)

    def step(self, name: str) -> None:
        """What is about to be done: named in the finding if the child ends there."""
        self._say("step", name)

    def fact(self, name: str, value: Json, source: str, reason: str | None = None) -> None:
        """A fact, by the name it has in the record."""
        self._say("fact", {"name": name, "value": value, "source": source, "reason": reason})

    def measurement(self, measurement: dict[str, Json]) -> None:
        """A measurement as it stands in the record; sent when it is done, so that an interruption keeps it."""
        self._say("measurement", measurement)

    def so_far(self, measurement: dict[str, Json]) -> None:
        """A measurement that goes on: it counts if the child ends before it has sent the whole one."""
        self._say("so far", measurement)

    def line(self, text: str) -> None:
        """How things stand, to be shown at once and not kept."""
        self._say("line", text)

    def pass_on(self, kind: str, content: Json) -> None:
        """What a child of this process said to it, for its own parent."""
        self._say(kind, content)

    def hand_on(self) -> None:
        """Give the way to the parent to programs that this process starts, as their standard output."""
        os.dup2(self._out.fileno(), 1)

    def done(self) -> NoReturn:
        """Everything was done; a child that ends without this has failed.

        Ends the child at once: taking PyTorch and a CUDA context apart in order takes half a second and proves nothing.
        """
        self._say("done", None)
        sys.stderr.flush()
        os._exit(0)
