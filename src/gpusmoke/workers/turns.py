"""One child at a time, for what would be slower for all if several did it at once."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator

PATIENCE_SECONDS = 20.0  # for one that hangs while it is its turn: then all go on, and get in each other's way
POLL_SECONDS = 0.005


@contextlib.contextmanager
def turn(what: str, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Wait until no other child of the same parent does `what`, for `patience` seconds at most, and keep it to oneself.

    Whose turn it is holds a name in Linux' abstract socket namespace, which needs no file and is given back when its
    holder dies, however that happens. On other systems nobody waits.
    """
    if sys.platform != "linux":
        yield
        return
    with socket.socket(socket.AF_UNIX) as name:
        until = time.monotonic() + patience
        while not taken(name, f"\0gpusmoke-{os.getppid()}-{what}") and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        yield


def taken(name: socket.socket, address: str) -> bool:
    """Take the name, unless somebody else has it."""
    try:
        name.bind(address)
    except OSError:
        return False
    return True
