"""The number formats by name, for whoever may not import PyTorch; how to multiply in them stands in dtypes.py.

And how sizes, and lists of numbers, are told.
"""

from __future__ import annotations

from collections.abc import Iterable

ELEMENT_BYTES = {"bf16": 2, "fp16": 2, "fp8": 1, "int8": 1, "tf32": 4, "fp32": 4, "fp64": 8}
"""Bytes of one operand's element, in the order in which the formats are measured."""

ON_CPU = ("bf16", "fp32", "fp64")
"""Those that are measured where there is no GPU."""


def size_text(size: int) -> str:
    """The size as people write it, 4 MiB; in bytes where it is no whole number of those."""
    for unit, bytes_ in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size % bytes_ == 0:
            return f"{size // bytes_} {unit}"
    return f"{size} B"


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """The numbers in order, each once, consecutive ones together: 0, 1-3 and 7 are three runs."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found
