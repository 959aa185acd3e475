"""The kernels as what multiplies in a benchmark."""

from __future__ import annotations

import torch

from gpusmoke.kernels.matmul import multiply
from gpusmoke.kernels.plan import FAMILIES, Plan


class Nvcc:
    """A kernel of the kit's own, built at the first launch: the fastest there is, or that of a family."""

    def __init__(self, dtype: str, family: str | None) -> None:
        if dtype not in FAMILIES:
            raise RuntimeError(f"no kernel of nvcc's multiplies in {dtype}")
        self.family = family
        self.plan: Plan | None = None

    def __call__(self, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
        """Enqueue out = a b.t(); raises RuntimeError where no kernel can, or it can't be built or launched."""
        if out.device.type == "cpu":
            raise RuntimeError("the kernels that nvcc builds need a GPU")
        answer = multiply(a, b.t(), out, self.family)
        if isinstance(answer, str):
            raise RuntimeError(answer)  # noqa: TRY004 - no type is wrong
        self.plan = answer

    def told(self) -> dict[str, str]:
        """Which kernel it was, and why not a faster one."""
        if self.plan is None:
            return {}
        return {"kernel": self.plan.kernel, **({"note": self.plan.note} if self.plan.note else {})}
