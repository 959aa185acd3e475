"""The process of a rank that outlives its work: starts it, hears it, and tells the other ranks if it dies.

It needs no PyTorch, so that nothing a GPU, NCCL or the kernel's OOM killer does to the work can take it away.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from gpusmoke.facts import Json
from gpusmoke.measuring.ranks import Place
from gpusmoke.workers.parent import Crew, Event, Worker
from gpusmoke.workers.reporter import Reporter

RELAY = "GPUSMOKE_RELAY"
"""Set for ranks whose standard output leads to a parent that makes the record."""

DAY_SECONDS = 86400.0
# The deadlines of the ranks themselves come first, then those of who hears them; a process silent for longer hangs.
WORK_SPARE_SECONDS, FAREWELL_SPARE_SECONDS, TORCHRUN_SPARE_SECONDS = 60.0, 120.0, 240.0
WATCH_SECONDS = 1.0


def crew_for(job: str, timeout: float, spare: float) -> Crew:
    """A crew whose child may take as long as it wants, but not be silent for much longer than a rank's deadlines."""
    return Crew(job, DAY_SECONDS, 2 * timeout + spare)


def attend(place: Place, options: dict[str, Json], wait: Callable[[Crew], object]) -> dict[str, Json] | None:
    """Run a rank's work, and where it dies say so to the others; `wait` hears both. Returns how it died, if it did."""
    timeout = float(options["timeout"])
    with crew_for("collectives", timeout, WORK_SPARE_SECONDS) as crew:
        crew.start(place.rank, {"ordinal": place.rank, **options})
        wait(crew)
        ended = death(place, crew.workers[0])
    if ended is not None:
        with crew_for("farewell", timeout, FAREWELL_SPARE_SECONDS) as crew:
            crew.start(place.rank, {"ordinal": place.rank, "ranks": place.ranks, "timeout": timeout, "ended": ended})
            wait(crew)
    return ended


def death(place: Place, worker: Worker) -> dict[str, Json] | None:
    """How a worker ended that did not finish, as the other ranks are told; None for one that did."""
    outcome = worker.outcome
    if outcome.finished:
        return None
    how = "silent" if outcome.silent_seconds is not None else "died"
    ended = {"how": how, "exit_code": outcome.exit_code, "silent_seconds": outcome.silent_seconds}
    said = {"step": outcome.last_step, "lines": outcome.stderr}
    return {"node": place.node, "local_rank": place.local_rank, **ended, **said}


def follow(place: Place, options: dict[str, Json]) -> int:
    """Be a rank other than 0 under somebody's torchrun: silent, unless its work dies. Returns the exit code."""
    ended = attend(place, options, lambda crew: crew.wait(lambda _: None))
    if ended is None:
        return 0
    where = f"rank {place.rank} (local rank {place.local_rank} on {socket.gethostname()})"
    print(f"gpusmoke: {where} ended with exit code {ended['exit_code']} {ended['step']}", file=sys.stderr)
    for line in ended["lines"]:
        print(f"gpusmoke: {where}: {line}", file=sys.stderr)
    return 1


def relay(place: Place, options: dict[str, Json]) -> int:
    """Be a rank of a torchrun that the kit has started: rank 0 passes all on to the parent, which makes the record.

    Returns the exit code: torchrun ends the other ranks after the first that is not 0.
    """
    report = Reporter()  # ends this process with that parent

    def pass_on(event: Event) -> None:
        if event.kind not in ("done", "end"):
            report.pass_on(event.kind, event.content)

    def wait(crew: Crew) -> None:
        crew.wait(pass_on if place.rank == 0 else lambda _: None)
        seen.update(crew.facts())

    seen: dict[str, Json] = {}
    ended = attend(place, options, wait)
    if place.rank == 0 and ended is not None:
        report.fact("collectives.lead", ended, "the process of rank 0")
    return 1 if ended is not None or "collectives.trouble" in seen else 0


def end_with_parent() -> None:
    """Interrupt this process when torchrun is gone, which may have been killed before it could end its ranks."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
