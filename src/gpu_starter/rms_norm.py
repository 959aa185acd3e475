"""Residual addition and RMSNorm in one pass: a CUDA kernel of one's own as a PyTorch operator.

What is on a GPU, and in a format that the kernel has, is computed by rms_norm.cu, which the environment's nvcc
builds for that GPU at the first call (seconds, then kept); everything else by PyTorch.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from gpusmoke.launch import Launch, kernel
from gpusmoke.nvcc import architecture

SOURCE = Path(__file__).with_suffix(".cu")
KERNELS = {
    torch.bfloat16: "add_rms_norm_bf16",
    torch.float16: "add_rms_norm_fp16",
    torch.float32: "add_rms_norm_fp32",
}
VECTOR_BYTES = 16  # that a thread reads at once
MOST_SHARED_BYTES = (48 << 10) - 128  # what every GPU gives a block, less what the sum takes; a longer row is PyTorch's
THREADS = 512


@torch.library.custom_op("gpu_starter::add_rms_norm", mutates_args=())
def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """`(y, s)` with s = x + residual, and y = s / sqrt(mean(s * s) + eps) * weight over the last dimension.

    x and residual have shape (..., D), weight (D,), all one format and device; y and s are new, contiguous tensors like
    x. Sums are taken in float32, for float64 in float64, and each result is rounded once. Differentiable once in x,
    residual and weight. Source: https://arxiv.org/abs/1910.07467. Raises ValueError where shapes, formats or devices do
    not fit, NvccError (gpusmoke.nvcc) where the kernel can't be built.
    """
    check(x, residual, weight)
    return by_pytorch(x, residual, weight, eps)


@add_rms_norm.register_kernel("cuda")
def on_gpu(x: Tensor, residual: Tensor, weight: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """The same by the CUDA kernel, on the current stream."""
    check(x, residual, weight)
    columns, size = weight.numel(), x.element_size()
    if x.dtype not in KERNELS or columns * size > MOST_SHARED_BYTES:
        return by_pytorch(x, residual, weight, eps)
    x, residual, weight = x.contiguous(), residual.contiguous(), weight.contiguous()
    y, s = torch.empty_like(x), torch.empty_like(x)
    if x.numel() == 0:
        return y, s
    pointers = [one.data_ptr() for one in (x, residual, weight, y, s)]
    wide = all(address % VECTOR_BYTES == 0 for address in (*pointers, columns * size))
    steps = columns * size // VECTOR_BYTES if wide else columns
    threads = min(THREADS, (steps + 31) // 32 * 32)
    with torch.cuda.device(x.device):
        function = kernel(SOURCE, architecture(torch.cuda.get_device_capability(x.device)), KERNELS[x.dtype])
        launch = Launch(
            function,
            (x.numel() // columns, 1, 1),
            (threads, 1, 1),
            [*map(ctypes.c_void_p, pointers), ctypes.c_longlong(columns), ctypes.c_float(eps), ctypes.c_int(wide)],
            columns * size,
        )
        launch(torch.cuda.current_stream().cuda_stream)
    return y, s


@add_rms_norm.register_fake
def shapes(x: Tensor, residual: Tensor, weight: Tensor, _eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """What comes out, for torch.compile, which asks without data."""
    check(x, residual, weight)
    like = torch.empty_like(x, memory_format=torch.contiguous_format)
    return like, torch.empty_like(like)


def keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    """What the gradient needs: the sum, from which everything else is computed again."""
    *_, weight, ctx.eps = inputs  # type: ignore[attr-defined]
    ctx.save_for_backward(output[1], weight)


def gradient(ctx: torch.autograd.function.FunctionCtx, dy: Tensor, ds: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of x, residual, weight and eps; that of x is that of residual."""
    s, weight = ctx.saved_tensors  # type: ignore[attr-defined]
    exact = accumulator(s.dtype)
    wide = s.to(exact)
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + ctx.eps)  # type: ignore[attr-defined]
    unit, down = wide * scale, dy.to(exact)
    inner = down * weight.to(exact)
    dx = (scale * (inner - unit * (inner * unit).mean(-1, keepdim=True))).to(s.dtype) + ds
    dw = (down * unit).sum(tuple(range(s.dim() - 1))).to(weight.dtype)
    return dx, dx.clone(), dw, None


add_rms_norm.register_autograd(gradient, setup_context=keep)


def by_pytorch(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The same in PyTorch's own operations."""
    s = (x + residual).contiguous()
    wide = s.to(accumulator(s.dtype))
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * scale * weight.to(wide.dtype)).to(s.dtype), s


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The format that sums are taken in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check(x: Tensor, residual: Tensor, weight: Tensor) -> None:
    """Raise ValueError where the three do not fit together."""
    if x.dim() == 0 or x.shape != residual.shape or weight.shape != x.shape[-1:]:
        sizes = ", ".join(str(tuple(one.shape)) for one in (x, residual, weight))
        raise ValueError(f"add_rms_norm takes x and residual of shape (..., D) and weight of (D,), not {sizes}")
    if len({(one.dtype, one.device) for one in (x, residual, weight)}) > 1 or not x.is_floating_point():
        kinds = ", ".join(f"{one.dtype} on {one.device}" for one in (x, residual, weight))
        raise ValueError(f"add_rms_norm takes tensors of one floating-point format on one device, not {kinds}")
