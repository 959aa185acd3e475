"""The number formats by name, for whoever may not import PyTorch; how to multiply in them stands in dtypes.py."""

ELEMENT_BYTES = {"bf16": 2, "fp16": 2, "fp8": 1, "int8": 1, "tf32": 4, "fp32": 4, "fp64": 8}
"""Bytes of one operand's element, in the order in which the formats are measured."""

ON_CPU = ("bf16", "fp32", "fp64")
"""Those that are measured where there is no GPU."""
