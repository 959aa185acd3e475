"""Products by matmul_simt.cu: float32 on the CUDA cores of any GPU, and the first kernel to read."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import torch
from torch import Tensor

from gpusmoke.launch import Argument, Launch, kernel
from gpusmoke.nvcc import architecture

SOURCE = Path(__file__).with_name("matmul_simt.cu")
TILE, THREADS = 128, 256


class Matrix(ctypes.Structure):
    """What the kernel takes of an operand: where it is, and its strides along M or N, and along K, in elements."""

    _fields_ = (("data", ctypes.c_void_p), ("row", ctypes.c_longlong), ("column", ctypes.c_longlong))


def launch_of(
    shape: tuple[int, int, int], operands: tuple[Matrix, Matrix], out: tuple[int, int], architecture: str
) -> Launch:
    """The launch of C = A B of shape (M, N, K), B turned round, to the address and of the row stride in `out`.

    Raises NvccError and LaunchError.
    """
    m, n, _ = shape
    address, stride = out
    grid = (math.ceil(m / TILE), math.ceil(n / TILE), 1)
    sizes = map(ctypes.c_int, shape)
    arguments: list[Argument] = [*operands, ctypes.c_void_p(address), *sizes, ctypes.c_longlong(stride)]
    return Launch(kernel(SOURCE, architecture, "matmul_simt_fp32"), grid, (THREADS, 1, 1), arguments)


def architecture_of(device: torch.device | str) -> str:
    """What nvcc calls the architecture of a GPU, as in sm_90."""
    return architecture(torch.cuda.get_device_capability(device))


def multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Enqueue out = a b.t() on the current stream: a M x K, b N x K of any strides, out M x N with consecutive rows.

    All in float32, on the current device. Raises NvccError (gpusmoke.nvcc) where the kernel can't be built, and
    LaunchError where the driver does not take it.
    """
    operands = (Matrix(a.data_ptr(), *a.stride()), Matrix(b.data_ptr(), *b.stride()))
    shape = (a.shape[0], b.shape[0], a.shape[1])
    launch = launch_of(shape, operands, (out.data_ptr(), out.stride(0)), architecture_of(out.device))
    launch(torch.cuda.current_stream().cuda_stream)
