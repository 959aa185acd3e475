"""Whether a product is right: every element against float64, or Freivalds' test where that would take too long."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import torch

from gpusmoke.facts import Json
from gpusmoke.measuring.dtypes import Dtype

SLAB_ROWS = 1024
FREIVALDS_VECTORS = 4
# A row's errors add up with random signs: 6 standard deviations of the largest allowed ones.
FREIVALDS_SIGMAS = 6.0


@dataclass(frozen=True)
class Verification:
    """The verdict on one product: error and bound are those of the element (or row) that came nearest to failing."""

    method: str
    passed: bool
    error: float
    bound: float
    repeats_equal: bool | None = None

    def to_json(self) -> dict[str, Json]:
        """As it stands in a measurement; NaN and infinity, which JSON lacks, as text."""
        row = asdict(self)
        return {k: v if not isinstance(v, float) or abs(v) < float("inf") else str(v) for k, v in row.items()}


class Worst:
    """The element with the largest error relative to its bound, over several pieces of a result."""

    def __init__(self) -> None:
        self.ratio, self.error, self.bound = -1.0, 0.0, 0.0

    def take(self, error: torch.Tensor, bound: torch.Tensor) -> None:
        """Look at more elements: both float64, same shape. NaN and a wrong exact zero are infinitely bad."""
        ratio = torch.where(error == 0, 0.0, error / bound).nan_to_num(nan=torch.inf).flatten()
        at = int(ratio.argmax())
        if float(ratio[at]) > self.ratio:
            self.ratio, self.error, self.bound = (
                float(ratio[at]),
                float(error.flatten()[at]),
                float(bound.flatten()[at]),
            )

    def verification(self, method: str) -> Verification:
        """The verdict on all that was looked at."""
        return Verification(method, self.ratio <= 1, self.error, self.bound)


def elementwise(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, dtype: Dtype, seconds: float = float("inf")
) -> Verification | None:
    """Every element of c (M x N) against a (M x K) times b.T (b: N x K) in float64.

    None where the whole would take longer than `seconds`, judged by the second slab of rows.
    """
    worst, wide = Worst(), b.double().t()
    for row in range(0, a.shape[0], SLAB_ROWS):
        started = time.monotonic()
        reference = a[row : row + SLAB_ROWS].double() @ wide
        error = (c[row : row + SLAB_ROWS].double() - reference).abs()
        worst.take(error, dtype.bound(reference, a.shape[1]))  # reads a number back, so the GPU has finished
        if row == SLAB_ROWS and (time.monotonic() - started) * a.shape[0] / SLAB_ROWS > seconds:
            return None
    return worst.verification("elementwise")


def freivalds(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, dtype: Dtype, generator: torch.Generator
) -> Verification:
    """Random ±1 vectors times c against a (b.T times them) in float64 (Freivalds 1977): O(n²) instead of O(n³).

    A wrong row is missed with a chance of at most 2**-FREIVALDS_VECTORS, unless its error is within the rounding
    that `dtype` allows; what each format's bound can and can't see stands in dtypes.py.
    """
    worst = Worst()
    signs = torch.randint(0, 2, (b.shape[0], FREIVALDS_VECTORS), device=a.device, generator=generator).double() * 2 - 1
    inner = b.double().t() @ signs
    for row in range(0, a.shape[0], SLAB_ROWS):
        rows = c[row : row + SLAB_ROWS].double()
        error = (rows @ signs - a[row : row + SLAB_ROWS].double() @ inner).abs()
        bound = FREIVALDS_SIGMAS * dtype.bound(rows, a.shape[1]).norm(dim=1, keepdim=True).expand_as(error)
        worst.take(error, bound)
    return worst.verification("freivalds")


def verify(
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    dtype: Dtype,
    generator: torch.Generator,
    seconds: float = float("inf"),
) -> Verification:
    """Elementwise where that takes less than `seconds`, else Freivalds; float64 has no wider format to compare with."""
    checked = None if dtype.operand == torch.float64 else elementwise(a, b, c, dtype, seconds)
    return checked or freivalds(a, b, c, dtype, generator)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two results of the same format are the same bit for bit, NaN included."""
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))
