"""The number formats that are benchmarked: how to make operands, how to multiply, and how exact the result must be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

# 13 low bits of a float32 that tf32 drops: operands without them make the product's reference exact.
TF32_DROPPED = 0x1FFF


@dataclass(frozen=True)
class Dtype:
    """One number format.

    `output_roundoff` is the unit roundoff of the result's format. `sum_roundoff` is that of the running sum, which
    tensor cores truncate once for every `sum_terms` products; 0 terms stand for a sum rounded to nearest each time.
    Hopper's fast fp8 accumulation keeps 14 bits (https://arxiv.org/abs/2412.19437, section 3.3.2); integers are exact.
    """

    name: str
    operand: torch.dtype
    output: torch.dtype
    output_roundoff: float
    sum_roundoff: float
    sum_terms: int
    least_capability: tuple[int, int]

    @property
    def poison(self) -> float:
        """What outputs hold before anything is computed, so that an element that was never written shows."""
        return math.nan if self.output.is_floating_point else -1

    def random(self, rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
        """Uniform operands, rows x columns: [-1, 1] as in NVIDIA's guidelines, the whole range for int8."""
        device = generator.device
        if self.operand == torch.int8:
            return torch.randint(-128, 128, (rows, columns), dtype=torch.int8, device=device, generator=generator)
        wide = torch.float64 if self.operand == torch.float64 else torch.float32
        values = torch.empty(rows, columns, dtype=wide, device=device).uniform_(-1, 1, generator=generator)
        if self.name == "tf32":
            values.view(torch.int32).bitwise_and_(~TF32_DROPPED)
        return values.to(self.operand)

    def product(self) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]:
        """A function (a: M x K, b: N x K, out: M x N) that computes out = a @ b.T, as a linear layer does."""
        if self.name == "fp8":

            def scaled(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
                torch._scaled_mm(a, b.t(), one, one, out_dtype=self.output, use_fast_accum=True, out=out)

            one = torch.ones((), device="cuda")
            return scaled
        if self.name == "int8":
            return lambda a, b, out: torch._int_mm(a, b.t(), out=out)
        return lambda a, b, out: torch.mm(a, b.t(), out=out)

    def bound(self, reference: torch.Tensor, k: int) -> torch.Tensor:
        """How far each element may be from `reference` (float64): rounding of the result, and of a sum of k terms.

        Partial sums of uniform [-1, 1] products stay within a few sqrt(k)/3 of a straight line to the result.
        Truncation always errs to the same side, so its steps add up; rounding errs at random: six standard deviations.
        """
        steps = math.ceil(k / self.sum_terms) if self.sum_terms else 6 * math.sqrt(k)
        return reference.abs() * self.output_roundoff + self.sum_roundoff * steps * (reference.abs() + math.sqrt(k))


FP8 = getattr(torch, "float8_e4m3fn", torch.int8)
DTYPES = {
    dtype.name: dtype
    for dtype in (
        Dtype("bf16", torch.bfloat16, torch.bfloat16, 2**-8, 2**-23, 8, (8, 0)),
        Dtype("fp16", torch.float16, torch.float16, 2**-11, 2**-23, 8, (5, 3)),
        Dtype("fp8", FP8, torch.bfloat16, 2**-8, 2**-13, 32, (8, 9)),
        Dtype("int8", torch.int8, torch.int32, 0.0, 0.0, 0, (7, 5)),
        Dtype("tf32", torch.float32, torch.float32, 2**-24, 2**-23, 8, (8, 0)),
        Dtype("fp32", torch.float32, torch.float32, 2**-24, 2**-24, 0, (0, 0)),
        Dtype("fp64", torch.float64, torch.float64, 2**-53, 2**-53, 0, (0, 0)),
    )
}
"""All formats by name, in the order in which they are measured."""


def set_precision(name: str) -> None:
    """Make float32 products use tf32 tensor cores for `tf32` alone, and keep sums of split products in float32."""
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
