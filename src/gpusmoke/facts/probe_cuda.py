"""Asks the CUDA driver library what it can do and prints the answer as one JSON object, or why it could not ask.

A program of its own, without imports from the kit: cuInit may hang or crash, and must not take doctor with it.
CUresult numbers, attributes 75 and 76 (compute capability) and 16 (multiprocessors) are those of cuda.h.
"""

from __future__ import annotations

import ctypes
import os
import sys

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR, MULTIPROCESSORS = 75, 76, 16


def explain(cuda: ctypes.CDLL, code: int) -> dict[str, object]:
    """A CUresult with the driver's own name and text for it; a code that it does not know has neither."""
    name, text = ctypes.c_char_p(), ctypes.c_char_p()
    cuda.cuGetErrorName(code, ctypes.byref(name))
    cuda.cuGetErrorString(code, ctypes.byref(text))
    return {"code": code, "name": (name.value or b"").decode(), "text": (text.value or b"").decode()}


def loaded_from() -> str | None:
    """The real path of the loaded libcuda, as the kernel knows it (Linux only)."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123 - import time counts
            return next((line.split(maxsplit=5)[5].strip() for line in maps if "libcuda.so" in line), None)
    except (OSError, IndexError):
        return None


class CallError(Exception):
    """A driver call returned a code other than 0: its name and the code."""


def device(cuda: ctypes.CDLL, ordinal: int) -> dict[str, object]:
    """Name, compute capability, size and identity of one visible device; CallError where it does not answer."""
    handle, memory, uuid = ctypes.c_int(), ctypes.c_size_t(), (ctypes.c_ubyte * 16)()
    name, pci = ctypes.create_string_buffer(128), ctypes.create_string_buffer(32)

    def call(function: str, *arguments: object) -> None:
        code = getattr(cuda, function)(*arguments)
        if code:
            raise CallError(function, code)

    def attribute(which: int) -> int:
        value = ctypes.c_int()
        call("cuDeviceGetAttribute", ctypes.byref(value), which, handle)
        return value.value

    call("cuDeviceGet", ctypes.byref(handle), ordinal)
    call("cuDeviceGetName", name, len(name), handle)
    call("cuDeviceGetPCIBusId", pci, len(pci), handle)
    call("cuDeviceTotalMem_v2", ctypes.byref(memory), handle)
    # _v2 (CUDA 11.4) gives a MIG slice its own UUID.
    call("cuDeviceGetUuid_v2" if hasattr(cuda, "cuDeviceGetUuid_v2") else "cuDeviceGetUuid", ctypes.byref(uuid), handle)
    digits = bytes(uuid).hex()
    return {
        "ordinal": ordinal,
        "name": name.value.decode(errors="replace"),
        "capability": f"{attribute(CAPABILITY_MAJOR)}.{attribute(CAPABILITY_MINOR)}",
        "multiprocessors": attribute(MULTIPROCESSORS),
        "memory_mib": memory.value >> 20,
        "uuid": "-".join(["GPU", digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]]),
        "pci": pci.value.decode(errors="replace").lower(),
    }


def devices(cuda: ctypes.CDLL, count: int) -> list[dict[str, object]]:
    """All visible devices; one that does not answer has {ordinal, failed_call, error}."""
    rows = []
    for ordinal in range(count):
        try:
            rows.append(device(cuda, ordinal))
        except CallError as failed:
            function, code = failed.args
            rows.append({"ordinal": ordinal, "failed_call": function, "error": explain(cuda, code)})
    return rows


def refused() -> list[str]:
    """The device files that may not be opened although their mode allows it: a scheduler did not grant the GPU."""
    folder = os.path.join(os.environ.get("GPUSMOKE_ROOT", "/"), "dev")  # noqa: PTH118 - import time counts
    names = []
    for name in os.listdir(folder) if os.path.isdir(folder) else []:  # noqa: PTH112, PTH208
        if name.startswith("nvidia") and name[6:].isdigit():
            try:
                os.close(os.open(os.path.join(folder, name), os.O_RDWR))  # noqa: PTH118
            except PermissionError:
                names.append(name)
            except OSError:
                continue
    return names


def main() -> None:
    """Print {library, driver_version, init, devices, refused}, or why the library does not load."""
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError as error:
        print("could not ask:", ascii(str(error))[1:-1])  # a path in it may not be printable
        return
    import json  # only now: it takes longer than all else that is done where there is no driver

    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))  # works without cuInit, so it is known even when that fails
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    answer = {
        "library": loaded_from() or LIBRARY,
        "driver_version": f"{version.value // 1000}.{version.value % 1000 // 10}" if version.value else None,
        "init": explain(cuda, code),
        "devices": devices(cuda, count.value) if not code else [],
        "refused": refused() if code else [],
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
