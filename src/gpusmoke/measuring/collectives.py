"""What is measured of a collective operation, by nccl-tests' definitions; no PyTorch, so that each rule can be tested.

Size, time, algorithm bandwidth and bus bandwidth are those of
https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md, so that figures can be laid beside nccl-tests'.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from gpusmoke.measuring.formats import ELEMENT_BYTES

OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter", "broadcast")
ON_ALL = ("all-reduce", "broadcast")
"""Those whose size is what each rank holds; of the others each rank has its part of it on one side."""

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
ALIGNED_BYTES = 16  # of a rank's part, as in nccl-tests

EXACT = {"fp32": 1 << 24, "bf16": 1 << 8, "fp16": 1 << 11, "fp64": 1 << 53, "int8": 127}
"""Up to where a format holds every whole number: sums that stay below are exact, in whichever order they are made."""

MOST_VALUE = 1000


class Message(NamedTuple):
    """One size of an operation: as many elements as nccl-tests counts (a rank's part), and the bytes of all of it."""

    elements: int
    size: int


def parse_size(text: str) -> int:
    """Bytes, of 1024, 8K, 64M or 1G as nccl-tests takes them. Raises ValueError."""
    told = re.fullmatch(r"([1-9]\d{0,11})([KMG]?)(i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    if told is None:
        raise ValueError(text)
    return int(told[1]) * UNITS[told[2].upper()]


def sizes(smallest: int, largest: int, factor: int) -> list[int]:
    """Bytes from the smallest to the largest, each `factor` times the one before."""
    found = []
    while smallest <= largest:
        found.append(smallest)
        smallest *= factor
    return found


def message(operation: str, size: int, dtype: str, ranks: int) -> Message:
    """The message nearest to that size which can be sent: of whole elements, its parts of whole 16 bytes.

    As nccl-tests' GetCollByteCount rounds it, but never down to nothing.
    """
    element = ELEMENT_BYTES[dtype]
    if operation in ON_ALL:
        count = max(1, size // element)
        return Message(count, count * element)
    step = ALIGNED_BYTES // element
    count = max(step, size // element // ranks // step * step)
    return Message(count, count * element * ranks)


def messages(operation: str, wanted: Sequence[int], dtype: str, ranks: int) -> list[Message]:
    """The messages for these sizes, each once: small sizes become one where there are many ranks."""
    return list(dict.fromkeys(message(operation, size, dtype, ranks) for size in wanted))


def algorithm_bandwidth(size: int, seconds: float) -> float:
    """GB/s: size over time."""
    return size / seconds / 1e9


def bus_factor(operation: str, ranks: int) -> float:
    """What algorithm bandwidth is multiplied with, so that it can be held against a link's, however many ranks."""
    if operation == "broadcast":
        return 1.0
    return (2 if operation == "all-reduce" else 1) * (ranks - 1) / ranks


def largest_value(dtype: str, ranks: int) -> int:
    """The largest whole number that each rank may contribute so that every sum is exact; 0 where there is none."""
    return min(MOST_VALUE, EXACT[dtype] // ranks)


def slowest(times: Sequence[Sequence[float]]) -> list[float]:
    """The time of each round, of the times that every rank had for them: an operation has ended where the last has it.

    nccl-tests prints the average over the ranks, unless it is called with -a 3.
    """
    return [max(round_) for round_ in zip(*times, strict=True)]
