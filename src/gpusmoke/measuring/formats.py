"""The number formats by name, for whoever may not import PyTorch; how to multiply in them stands in dtypes.py."""

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
