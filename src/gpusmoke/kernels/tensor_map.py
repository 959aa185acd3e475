"""Tensor maps: what tells Hopper's copy engine where a matrix lies, and which box of it one copy takes."""

from __future__ import annotations

import ctypes

from gpusmoke.launch import call

BOX = 64  # elements a side; a row of 128 bytes is what the swizzle works on

# https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TENSOR__MEMORY.html
FORMATS = {"fp16": 6, "bf16": 9}
NO_INTERLEAVE, SWIZZLE_128_BYTES, PROMOTE_TO_256_BYTES, ZEROS_OUTSIDE = 0, 3, 3, 0


class TensorMap(ctypes.Structure):
    """CUtensorMap, which only the driver understands."""

    _fields_ = (("opaque", ctypes.c_uint8 * 128),)


def tensor_map(dtype: str, address: int, rows: int, columns: int, stride: int, box_rows: int) -> TensorMap:
    """The map of a matrix of 16-bit elements, rows `stride` elements apart, of which a copy takes BOX x `box_rows`.

    Address and rows are aligned to 16 bytes. Raises LaunchError where the driver does not take it.
    """
    room = (ctypes.c_uint8 * 192)()
    made = (ctypes.addressof(room) + 63) // 64 * 64  # the driver wants it aligned
    call(
        "cuTensorMapEncodeTiled",
        ctypes.c_void_p(made),
        FORMATS[dtype],
        2,
        ctypes.c_void_p(address),
        (ctypes.c_uint64 * 2)(columns, rows),
        (ctypes.c_uint64 * 1)(stride * 2),
        (ctypes.c_uint32 * 2)(BOX, box_rows),
        (ctypes.c_uint32 * 2)(1, 1),
        NO_INTERLEAVE,
        SWIZZLE_128_BYTES,
        PROMOTE_TO_256_BYTES,
        ZEROS_OUTSIDE,
    )
    return TensorMap.from_buffer_copy(ctypes.string_at(made, ctypes.sizeof(TensorMap)))
