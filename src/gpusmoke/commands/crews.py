"""The children of check, bench and soak, one for each GPU: how many, and when they are started."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence

from gpusmoke.facts import Facts, Json
from gpusmoke.facts.host import gpu_nodes, usable_cores
from gpusmoke.workers.parent import Crew

CORES_EACH = 4  # importing PyTorch keeps one core busy, and there is more to do meanwhile


@contextlib.contextmanager
def recruited(
    job: str,
    deadline_seconds: float = math.inf,
    silence_seconds: float | None = None,
    gpus: Sequence[int] | None = None,
    least: int = 1,
) -> Iterator[Crew]:
    """A crew whose children import PyTorch, which takes seconds, before CUDA has said how many GPUs there are.

    They are for these `gpus`, or for as many as there seem to be: as many as there are cores for, and `least` of them.
    """
    enough = max(least, usable_cores() // CORES_EACH)
    with Crew(job, deadline_seconds, silence_seconds) as crew:
        for ordinal in list(gpus or range(guess()))[:enough]:
            crew.recruit(ordinal)
        yield crew


def guess() -> int:
    """How many GPUs CUDA is going to show, which takes it longer the more there are; 1 where there seems to be none."""
    nodes, named = gpu_nodes(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return max(1, nodes if named is None else min(nodes, len(named.split(","))))


def start(crew: Crew, facts: Facts, options: Mapping[str, Json], gpus: Sequence[int] | None = None) -> None:
    """Give each of these `gpus`, or all that CUDA shows, to its child; without one the first child gets the CPU.

    Children that were recruited for more of them end.
    """
    for ordinal in gpus or range(max(1, len(facts.rows("cuda.devices")))):
        crew.start(ordinal, {"ordinal": ordinal, **options})
    crew.dismiss()
