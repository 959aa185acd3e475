"""The children of check, bench and soak, one for each GPU: when they are started, and what each of them sees."""

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

    They are for these `gpus`, or for all that the kernel shows: as many as there are cores for, and `least` of them.
    """
    enough = max(least, usable_cores() // CORES_EACH)
    with Crew(job, deadline_seconds, silence_seconds) as crew:
        for ordinal in list(gpus or range(max(1, gpu_nodes())))[:enough]:
            crew.recruit(ordinal)
        yield crew


def start(crew: Crew, facts: Facts, options: Mapping[str, Json], gpus: Sequence[int] | None = None) -> None:
    """Give each of these `gpus`, or all that CUDA shows, to its child; without one the first child gets the CPU.

    A child that is given one of several GPUs sees that one alone: CUDA opens all that it sees before it does anything,
    and the driver lets one process at a time do so. On a machine with four H100s each child took 1.3 s for it, not 0.4.
    """
    count = len(facts.rows("cuda.devices"))
    for ordinal in gpus or range(max(1, count)):
        visible = alone(ordinal, count)
        crew.start(ordinal, {"ordinal": ordinal, "index": ordinal if visible is None else 0, **options}, visible)


def alone(ordinal: int, count: int) -> str | None:
    """The value of CUDA_VISIBLE_DEVICES that shows one of `count` GPUs alone; None where it has to stay as it is.

    A lone GPU's child sees what every other program sees. Where the user has set it, it holds a word for each GPU.
    """
    words = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
    return words[ordinal].strip() if 1 < count <= len(words) else None
