"""What multiplies: cuBLAS through PyTorch, a kernel that torch.compile has Triton make, or one that nvcc built."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch

from gpusmoke.measuring.dtypes import Dtype
from gpusmoke.workers.product import Multiply


def multiplier(backend: str, dtype: Dtype) -> Multiply | None:
    """A function (a, b, out) for `backend`; None stands for PyTorch's own, which is cuBLAS on a GPU.

    Raises RuntimeError where the backend lacks the format; what a compiler misses it says at the first launch.
    """
    if backend == "triton":
        return triton(dtype)
    name, _, family = backend.partition("-")
    if name == "nvcc":  # a project may have dropped the kernels
        found: Multiply = importlib.import_module("gpusmoke.kernels.backend").Nvcc(dtype.name, family or None)
        return found
    return None


def triton(dtype: Dtype) -> Multiply:
    """A kernel chosen by autotuning, which takes some ten seconds for each shape."""
    if dtype.name in ("fp8", "int8", "fp64"):
        raise RuntimeError(f"the Triton backend does not multiply in {dtype.name}")

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.mm(a, b.t())

    # Without cuBLAS among the candidates, or autotuning would choose that.
    options: dict[str, str | int | bool | Callable[..., object]] = {
        "max_autotune": True,
        "max_autotune_gemm_backends": "TRITON",
        "triton.cudagraphs": False,
    }
    compiled = torch.compile(product, options=options, dynamic=False)

    def multiply(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
        out.set_(compiled(a, b))  # type: ignore[call-overload]

    return multiply
