"""Matrix products by the kit's own CUDA kernels, as a PyTorch operator."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from gpusmoke.kernels.plan import VECTOR_BYTES, Operand, Plan, plan
from gpusmoke.kernels.simt import Matrix, launch_of
from gpusmoke.kernels.tensor_map import BOX, tensor_map
from gpusmoke.launch import Argument, Launch, kernel

HERE = Path(__file__).parent
FORMATS = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
STORED_ROWS = 16  # of a box that a warp of matmul_hopper.cu stores

Where = tuple[int, tuple[int, ...], tuple[int, ...]]
"""A matrix in memory: address, shape, strides."""


@torch.library.custom_op("gpusmoke::matmul", mutates_args=())
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product of a (M x K) and b (K x N), in bfloat16, float16 or float32, summed in float32; M x N, contiguous.

    On a GPU by a kernel of the kit, where there is one for it (plan.py), else by PyTorch. The same operands give the
    same bits each time. Raises ValueError where shapes, formats or devices do not fit, NvccError (gpusmoke.nvcc) where
    the kernel can't be built.
    """
    check(a, b)
    return torch.mm(a, b)


@matmul.register_kernel("cuda")
def on_gpu(a: Tensor, b: Tensor) -> Tensor:
    """The same by a CUDA kernel, on the current stream."""
    out = shape_of(a, b)
    return torch.mm(a, b) if isinstance(multiply(a, b, out), str) else out


@matmul.register_fake
def shape_of(a: Tensor, b: Tensor) -> Tensor:
    """What comes out, for torch.compile, which asks without data."""
    check(a, b)
    return a.new_empty(a.shape[0], b.shape[1])


def check(a: Tensor, b: Tensor) -> None:
    """Raise ValueError where the two can't be multiplied."""
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"matmul takes matrices of M x K and K x N, not {tuple(a.shape)} and {tuple(b.shape)}")
    if (a.dtype, a.device) != (b.dtype, b.device) or a.dtype not in FORMATS:
        kinds = " and ".join(f"{one.dtype} on {one.device}" for one in (a, b))
        raise ValueError(f"matmul takes bfloat16, float16 or float32, both alike and on one device, not {kinds}")


def multiply(a: Tensor, b: Tensor, out: Tensor, family: str | None = None) -> Plan | str:
    """Enqueue out = a b on the current stream, by the `family` of kernels (hopper, mma, simt) or the fastest there is.

    a is M x K, b K x N, out M x N with consecutive rows, all on one GPU. Returns what was launched; where no kernel can
    do it, nothing is, and the reason is returned. Raises NvccError and LaunchError.
    """
    device = out.get_device()
    if device != torch.cuda.current_device():
        with torch.cuda.device(device):
            return multiply(a, b, out, family)
    if out.numel() == 0 or a.shape[1] == 0:
        out.zero_()
        return "there is nothing to multiply"
    where = [(one.data_ptr(), one.shape, one.stride()) for one in (laid_out(a), laid_out(b).t(), out)]
    prepared = prepare(FORMATS[out.dtype], *where, device, family)
    if isinstance(prepared, str):
        return prepared
    chosen, launch = prepared
    launch(torch.cuda.current_stream().cuda_stream)
    return chosen


@functools.lru_cache(maxsize=1024)
def prepare(dtype: str, a: Where, b: Where, out: Where, device: int, family: str | None) -> tuple[Plan, Launch] | str:
    """The plan and what launches it on the current device, or why there is none; a M x K, b N x K, out M x N.

    Kept, since making it takes longer than a small product. It depends on where operands are, not on what they hold.
    """
    properties = torch.cuda.get_device_properties(device)
    shape = (a[1][0], b[1][0], a[1][1])
    left, right, result = operands = (operand(dtype, a), operand(dtype, b), operand(dtype, out))
    capability = (properties.major, properties.minor)
    chosen = plan(capability, properties.multi_processor_count, dtype, shape, operands, family)
    if isinstance(chosen, str):
        return chosen
    if chosen.family == "simt":
        matrices = (Matrix(a[0], *a[2]), Matrix(b[0], *b[2]))
        return chosen, launch_of(shape, matrices, (result.address, result.stride), chosen.architecture)
    m, n, k = shape
    sizes: list[Argument] = [*map(ctypes.c_int, shape)]
    if chosen.family == "hopper":
        maps = [
            tensor_map(dtype, one.address, *((rows, k) if one.along_k else (k, rows)), one.stride, BOX)
            for one, rows in ((left, m), (right, n))
        ]
        maps.append(tensor_map(dtype, result.address, m, n, result.stride, STORED_ROWS))
        arguments = [*maps, *sizes]
    else:
        pointers = [ctypes.c_void_p(one.address) for one in operands]
        arguments = [*pointers, *sizes, *(ctypes.c_longlong(one.stride) for one in operands)]
    function = kernel(HERE / f"matmul_{chosen.family}.cu", chosen.architecture, chosen.kernel)
    launch = Launch(
        function, chosen.grid, (chosen.threads, 1, 1), arguments, chosen.shared_bytes, chosen.family == "hopper"
    )
    return chosen, launch


def laid_out(x: Tensor) -> Tensor:
    """The matrix, copied where neither its rows nor its columns are consecutive, or where they overlap."""
    rows, columns = x.shape
    down, across = x.stride()
    fits = along_rows(x.shape, x.stride()) or ((down == 1 or rows == 1) and (across >= rows or columns == 1))
    return x if fits else x.contiguous()


def along_rows(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the rows are consecutive and apart."""
    return (strides[1] == 1 or shape[1] == 1) and (strides[0] >= shape[1] or shape[0] == 1)


def operand(dtype: str, where: Where) -> Operand:
    """How a matrix lies; a single row may have any stride, and is given one that suits all."""
    address, shape, strides = where
    along_k = along_rows(shape, strides)
    rows, length, stride = (*shape, strides[0]) if along_k else (*shape[::-1], strides[1])
    if rows == 1:
        stride = (length + VECTOR_BYTES - 1) // VECTOR_BYTES * VECTOR_BYTES
    return Operand(address, along_k, stride, 4 if dtype == "fp32" else 2)
