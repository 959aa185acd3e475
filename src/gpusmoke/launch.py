"""Loads machine code that nvcc.py built, and launches kernels of it: the CUDA driver's own calls, through ctypes.

A library that the driver loads this way (CUDA 12, driver 525) serves every device and context of the process, so that
nothing here is bound to a GPU; PyTorch has made its context current by the time it has a tensor there.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

from gpusmoke.facts.probe_cuda import LIBRARY, explain
from gpusmoke.nvcc import cubin

Argument = ctypes.c_void_p | ctypes.c_int | ctypes.c_longlong | ctypes.c_float
Three = tuple[int, int, int]


class LaunchError(RuntimeError):
    """The CUDA driver refused a call; `code` is its CUresult, and the message has the name and text for it."""

    def __init__(self, call: str, code: int) -> None:
        self.code = code
        known = explain(driver(), code)
        super().__init__(f"{call}: {known['name'] or 'unknown error'} ({code}): {known['text'] or 'no text'}")


@functools.cache
def driver() -> ctypes.CDLL:
    """The driver's library; OSError where there is none."""
    return ctypes.CDLL(LIBRARY)


def call(name: str, *arguments: object) -> None:
    """One call of the driver; raises LaunchError where it returns a code."""
    if code := getattr(driver(), name)(*arguments):
        raise LaunchError(name, code)


@functools.cache
def loaded(path: Path) -> ctypes.c_void_p:
    """The library in a cubin, loaded once for the whole process."""
    library, image = ctypes.c_void_p(), ctypes.c_char_p(path.read_bytes())
    call("cuLibraryLoadData", ctypes.byref(library), image, None, None, 0, None, None, 0)
    return library


@functools.cache
def kernel(source: Path, architecture: str, name: str) -> ctypes.c_void_p:
    """The kernel `name` (extern "C") of a .cu file for an architecture ("sm_90"), built and loaded where need be.

    Raises NvccError where it can't be built, LaunchError where the driver does not take it.
    """
    found = ctypes.c_void_p()
    call("cuLibraryGetKernel", ctypes.byref(found), loaded(cubin(source, architecture)), name.encode())
    return found


def launch(
    function: ctypes.c_void_p, grid: Three, block: Three, stream: int, arguments: Sequence[Argument], shared: int = 0
) -> None:
    """Enqueue a kernel on a CUDA stream (as PyTorch's `.cuda_stream`) with `shared` bytes of dynamic shared memory.

    The current device is the one that the stream belongs to. Raises LaunchError where the driver refuses the launch.
    """
    pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(one) for one in arguments))
    call("cuLaunchKernel", function, *grid, *block, shared, ctypes.c_void_p(stream), pointers, None)
