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

Argument = ctypes.c_void_p | ctypes.c_int | ctypes.c_longlong | ctypes.c_float | ctypes.Structure
Three = tuple[int, int, int]

SHARED_WITHOUT_ASKING = 48 << 10  # bytes of dynamic shared memory
MAX_DYNAMIC_SHARED_SIZE_BYTES = 8  # of CUfunction_attribute
PROGRAMMATIC_STREAM_SERIALIZATION = 6  # of CUlaunchAttributeID


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


class LaunchAttribute(ctypes.Structure):
    """CUlaunchAttribute, for one whose value is a number."""

    _fields_ = (("id", ctypes.c_int), ("padding", ctypes.c_int), ("value", ctypes.c_int), ("rest", ctypes.c_int * 15))


class LaunchConfig(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(LaunchAttribute)),
        ("attribute_count", ctypes.c_uint),
    )


class Launch:
    """A kernel with its grid and arguments, to be enqueued any number of times on the device that is current now.

    `shared` bytes of dynamic shared memory belong to a block. With `overlap` it may begin before the kernels ahead of
    it in the stream have ended: one that waits for them itself (griddepcontrol.wait). Raises LaunchError.
    """

    def __init__(
        self,
        function: ctypes.c_void_p,
        grid: Three,
        block: Three,
        arguments: Sequence[Argument],
        shared: int = 0,
        overlap: bool = False,
    ) -> None:
        self._function, self._arguments = function, arguments
        self._pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        attribute = LaunchAttribute(PROGRAMMATIC_STREAM_SERIALIZATION, 0, int(overlap))
        self._config = LaunchConfig(grid, block, shared, None, ctypes.pointer(attribute), 1)
        self._by_reference = ctypes.byref(self._config)
        self._enqueue = driver().cuLaunchKernelEx
        if shared > SHARED_WITHOUT_ASKING:
            device = ctypes.c_int()
            call("cuCtxGetDevice", ctypes.byref(device))
            call("cuKernelSetAttribute", MAX_DYNAMIC_SHARED_SIZE_BYTES, shared, function, device)

    def __call__(self, stream: int) -> None:
        """Enqueue it on a CUDA stream (as PyTorch's `.cuda_stream`); raises LaunchError where the driver refuses."""
        self._config.stream = stream
        if code := self._enqueue(self._by_reference, self._function, self._pointers, None):
            raise LaunchError("cuLaunchKernelEx", code)
