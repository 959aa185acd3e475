"""Says for a rank that died how it ended: `farewell` runs in a process of its own, since the rank has none any more."""

from __future__ import annotations

import time

from gpusmoke.facts import Json
from gpusmoke.workers.reporter import Reporter
from gpusmoke.workers.roll import Listener, conclude, connect, grace, patience, say_end


def farewell(report: Reporter, ordinal: int, ranks: int, timeout: float, ended: dict[str, Json]) -> None:
    """Tell how rank `ordinal` ended; for rank 0, which watched the others, also how they fare. Until the run is over.

    Its parent ends after this: torchrun, which then ends all other ranks, must not do so before rank 0 has seen why.
    """
    report.step("while joining torchrun's store")
    store = connect(grace(timeout))
    say_end(store, ordinal, ended)
    if ordinal == 0:
        conclude(report, store, Listener(store, 0, ranks, timeout), timeout)
        return
    until = time.monotonic() + patience(timeout)
    while time.monotonic() < until and not store.check(["over"]):
        time.sleep(0.2)
