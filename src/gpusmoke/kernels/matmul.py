"""Matrix products by the kit's own CUDA kernels, as a PyTorch operator."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gpusmoke.kernels.plan import Plan, Problem, plan
from gpusmoke.kernels.simt import Matrix, launch_of
from gpusmoke.kernels.tensor_map import BOX, tensor_map
from gpusmoke.launch import Argument, Launch, kernel

HERE = Path(__file__).parent
FORMATS = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
VECTOR_BYTES, VECTOR = 16, 8  # and 16-bit elements, that the copy engine and cp.async move at once
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

    a is M x K, b K x N, out M x N, all on one GPU. Returns what was launched, or why nothing was where no kernel can do
    it. Raises NvccError and LaunchError.
    """
    device = out.get_device()
    if device != torch.cuda.current_device():
        with torch.cuda.device(device):
            return multiply(a, b, out, family)
    if out.numel() == 0 or a.shape[1] == 0:
        out.zero_()
        return "there is nothing to multiply"
    where = [(one.data_ptr(), one.shape, one.stride()) for one in (a, b, out)]
    prepared = prepare(FORMATS[out.dtype], *where, device, family)
    if isinstance(prepared, list):
        return multiply_copies(prepared, a, b, out, family)
    if isinstance(prepared, str):
        return prepared
    chosen, launch = prepared
    launch(torch.cuda.current_stream(device).cuda_stream)
    return chosen


def multiply_copies(which: list[str], a: Tensor, b: Tensor, out: Tensor, family: str | None) -> Plan | str:
    """The same by way of copies whose rows begin at multiples of 16 bytes.

    One element at a time would do as well: on an H100 that made products ten times slower.
    """

    def room(x: Tensor) -> Tensor:
        return x.new_empty(x.shape[0], padded(x.shape[1]))

    left, right = (room(x)[:, : x.shape[1]].copy_(x) if name in which else x for name, x in (("A", a), ("B", b)))
    result = room(out) if "C" in which else out
    answer = multiply(left, right, result, family)
    if isinstance(answer, str):
        return answer
    if result is not out:
        out.copy_(result[:, : out.shape[1]])
    copied = f"copied, for rows that are multiples of 16 bytes: {', '.join(which)}"
    return replace(answer, note="; ".join(filter(None, (answer.note, copied))))


def padded(length: int) -> int:
    """The next multiple of 16 bytes, in 16-bit elements."""
    return -(-length // VECTOR) * VECTOR


def along_rows(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the rows are consecutive and apart."""
    return (strides[1] == 1 or shape[1] == 1) and (strides[0] >= shape[1] or shape[0] == 1)


def lies(where: Where) -> tuple[bool, int] | None:
    """Whether the rows are consecutive, or else the columns, and how far one is from the next, in elements.

    None where neither are, or they don't begin at multiples of 16 bytes. A single one may have any stride, and is given
    one that suits all.
    """
    address, shape, strides = where
    for rows in (True, False):
        (count, length), across = (shape, strides) if rows else (shape[::-1], strides[::-1])
        stride = padded(length) if count == 1 else across[0]
        if along_rows((count, length), across) and stride % VECTOR == address % VECTOR_BYTES == 0:
            return rows, stride
    return None


def misfits(a: Where, b: Where, out: Where) -> list[str]:
    """Which of A, B (M or N x K) and C the copy engine and cp.async can't read or write where they are.

    The copy engine of a Hopper GPU reads to the element, but it writes 16 bytes at a time, so C may be wider than N, to
    have room for that.
    """
    c_fits = along_rows(*out[1:]) and lies(out) is not None and out[1][1] % VECTOR == 0
    return [name for name, fit in (("A", lies(a)), ("B", lies(b)), ("C", c_fits)) if not fit]


@functools.lru_cache(maxsize=1024)
def prepare(
    dtype: str, a: Where, b: Where, out: Where, device: int, family: str | None
) -> tuple[Plan, Launch] | list[str] | str:
    """The plan and what launches it on the current device; or what has to be copied first, or why there is no kernel.

    a is M x K, b K x N, out M x N or wider. Kept, since making it takes longer than a small product; it depends on
    where the operands are, not on what they hold.
    """
    b = (b[0], b[1][::-1], b[2][::-1])
    if dtype != "fp32" and (copied := misfits(a, b, out)):
        return copied
    if not along_rows(*out[1:]):
        return ["C"]
    properties = torch.cuda.get_device_properties(device)
    (m, k), (n, _) = a[1], b[1]
    # What does not lie so is only for matmul_simt, which takes any strides.
    (a_along_k, a_stride), (b_along_k, b_stride), (_, stride) = (lies(one) or (True, 0) for one in (a, b, out))
    layout = ("n" if a_along_k else "t") + ("t" if b_along_k else "n")
    capability, shape = (properties.major, properties.minor), (m, n, k)
    chosen = plan(Problem(capability, properties.multi_processor_count, dtype, shape, layout), family)
    if isinstance(chosen, str):
        return chosen
    if chosen.family == "simt":
        matrices = (Matrix(a[0], *a[2]), Matrix(b[0], *b[2]))
        return chosen, launch_of(shape, matrices, (out[0], out[2][0]), chosen.architecture)
    sizes: list[Argument] = [*map(ctypes.c_int, shape)]
    if chosen.family == "hopper":
        arguments = [
            tensor_map(dtype, a[0], *((m, k) if a_along_k else (k, m)), a_stride, BOX),
            tensor_map(dtype, b[0], *((n, k) if b_along_k else (k, n)), b_stride, BOX),
            tensor_map(dtype, out[0], m, out[1][1], stride, STORED_ROWS),
            *sizes,
        ]
    else:
        pointers = map(ctypes.c_void_p, (a[0], b[0], out[0]))
        arguments = [*pointers, *sizes, *map(ctypes.c_longlong, (a_stride, b_stride, stride))]
    function = kernel(HERE / f"matmul_{chosen.family}.cu", chosen.architecture, chosen.kernel)
    threads, overlap = (chosen.threads, 1, 1), chosen.family == "hopper"
    return chosen, Launch(function, chosen.grid, threads, arguments, chosen.shared_bytes, overlap)
