"""Asks NVML (the library behind nvidia-smi) about driver and GPUs and prints the answer as probe_cuda.py does.

A program of its own, without imports from the kit, for the same reason as probe_cuda.py. NVML does not initialise
CUDA, so it can be fine while CUDA is not, and the other way round.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

LIBRARY_NOT_FOUND = '{"init": {"code": 12, "text": "NVML Shared Library Not Found"}}'

if sys.platform != "win32":
    try:  # asked before the rest is imported, which takes as long as all else that doctor does where there is no driver
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        print(LIBRARY_NOT_FOUND)
        raise SystemExit from None
try:
    import functools
    import itertools
    import json
    from collections.abc import Callable

    import pynvml as nvml
except ImportError as error:  # a Python that was not made for the kit, as in a vendor's container
    print(f"could not ask: {error}: pip install nvidia-ml-py")
    raise SystemExit from None


MOST_PROCESSES = 8
REMAPPED = ("corrected", "uncorrected", "pending", "failure")
P2P = {"read": 0, "write": 1, "nvlink": 2}  # NVML_P2P_CAPS_INDEX_…, of which pynvml spells the first as a tuple


def field_value(handle: object, field: int) -> int:
    """One of NVML's numbered fields, which hold whole numbers; NVMLError where this card or driver lacks it."""
    (answer,) = nvml.nvmlDeviceGetFieldValues(handle, [field])
    if answer.nvmlReturn:
        raise nvml.NVMLError(answer.nvmlReturn)
    return int(answer.value.uiVal)


def mig_devices(handle: object) -> int:
    """How many MIG devices there are on a GPU."""
    count = 0
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError_NotFound:
            continue
        count += 1
    return count


def processes(handle: object) -> list[dict[str, object]]:
    """The programs that use a GPU, and how much of its memory, where that is told."""
    running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)[:MOST_PROCESSES]
    return [{"pid": one.pid, "mib": one.usedGpuMemory and one.usedGpuMemory >> 20} for one in running]


def fabric_state(handle: object) -> int:
    """How far a GPU has come in joining the others behind NVSwitch: NVML_GPU_FABRIC_STATE_….

    A driver that is older than this call is not asked by its old name: nvidia-ml-py spells the structure of that with a
    UUID of 80 bytes instead of 16, and so finds 0, "not supported", behind the driver's answer.
    """
    info = nvml.c_nvmlGpuFabricInfo_v2_t()
    nvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    return int(info.state)


def nvlinks(handle: object) -> dict[str, object]:
    """The NVLinks of a GPU: which are up and down, their version (NVML_NVLINK_VERSION_…), and where they lead.

    `to` counts those that are up: to "switch", to a GPU's PCI address, or "unknown". NVMLError where it has none.
    """
    up, down, to = list[int](), list[int](), dict[str, int]()
    for number in range(nvml.NVML_NVLINK_MAX_LINKS):
        try:
            (up if nvml.nvmlDeviceGetNvLinkState(handle, number) else down).append(number)
        except nvml.NVMLError:
            if number == 0:
                raise
            break  # the card has no more
    for number in up:
        end = far_end(handle, number)
        to[end] = to.get(end, 0) + 1
    version = nvml.nvmlDeviceGetNvLinkVersion(handle, up[0]) if up else None
    return {"up": len(up), "down": down, "version": version, "to": to}


def far_end(handle: object, number: int) -> str:
    """Where one NVLink leads."""
    try:
        kind = nvml.nvmlDeviceGetNvLinkRemoteDeviceType(handle, number)
        if kind == nvml.NVML_NVLINK_DEVICE_TYPE_GPU:
            return str(nvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, number).busId).lower()
    except (nvml.NVMLError, AttributeError):  # a virtual machine, or a driver or pynvml that is older than the call
        return "unknown"
    return "switch" if kind == nvml.NVML_NVLINK_DEVICE_TYPE_SWITCH else "unknown"


def pair(first: int, second: int) -> dict[str, object]:
    """Two GPUs: where their PCIe paths meet (NVML_TOPOLOGY_…), and what stands against peer access (NVML_P2P_STATUS_…).

    A field that the driver does not tell is absent.
    """
    fields: dict[str, object] = {"gpus": [first, second]}
    for name, ask in (
        ("ancestor", nvml.nvmlDeviceGetTopologyCommonAncestor),
        *((what, functools.partial(p2p_status, index)) for what, index in P2P.items()),
    ):
        try:
            handles = (nvml.nvmlDeviceGetHandleByIndex(index) for index in (first, second))
            fields[name] = ask(*handles)
        except (nvml.NVMLError, AttributeError):
            continue
    return fields


def p2p_status(index: int, first: object, second: object) -> int:
    """Whether two GPUs can do one of P2P; 0 is yes."""
    return int(nvml.nvmlDeviceGetP2PStatus(first, second, index))


def gpu(index: int) -> dict[str, object]:
    """What NVML says about one GPU; a field the driver does not report is absent, its error stands in `unread`."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    fields: dict[str, object] = {"index": index}
    unread: dict[str, str] = {}

    def read(name: str, ask: Callable[[], object]) -> None:
        try:
            value = ask()
        except (nvml.NVMLError, AttributeError) as error:  # the latter: a pynvml that is older than the call
            unread[name] = str(error)
        else:
            fields[name] = value.decode() if isinstance(value, bytes) else value

    def watts(milliwatts: int) -> float:
        return milliwatts / 1000

    read("name", lambda: nvml.nvmlDeviceGetName(handle))
    read("uuid", lambda: nvml.nvmlDeviceGetUUID(handle))
    read("pci", lambda: nvml.nvmlDeviceGetPciInfo(handle).busId.lower())
    read("capability", lambda: ".".join(map(str, nvml.nvmlDeviceGetCudaComputeCapability(handle))))
    read("memory_mib", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total >> 20)
    read("memory_used_mib", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used >> 20)
    read("temperature_c", lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
    read("power_w", lambda: watts(nvml.nvmlDeviceGetPowerUsage(handle)))
    read("power_limit_w", lambda: watts(nvml.nvmlDeviceGetEnforcedPowerLimit(handle)))
    read("power_limit_default_w", lambda: watts(nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle)))
    read("sm_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
    read("sm_clock_max_mhz", lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM))
    read("clock_reasons", lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    if unread.pop("clock_reasons", None):  # a driver before 535 has it by its old name only
        read("clock_reasons", lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    read("pcie_generation_max", lambda: nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle))
    read("pcie_width", lambda: nvml.nvmlDeviceGetCurrPcieLinkWidth(handle))
    read("pcie_width_max", lambda: nvml.nvmlDeviceGetMaxPcieLinkWidth(handle))
    read("pcie_generation", lambda: nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle))
    read("ecc_mode", lambda: nvml.nvmlDeviceGetEccMode(handle)[0])
    read("ecc_mode_pending", lambda: nvml.nvmlDeviceGetEccMode(handle)[1])
    read(
        "ecc_uncorrected",
        lambda: nvml.nvmlDeviceGetTotalEccErrors(
            handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
        ),
    )
    read("remapped_rows", lambda: dict(zip(REMAPPED, nvml.nvmlDeviceGetRemappedRows(handle), strict=True)))
    if "remapped_rows" in unread:  # cards before Ampere retire whole pages instead
        read("retired_pages_pending", lambda: nvml.nvmlDeviceGetRetiredPagesPendingStatus(handle))
    read("recovery_action", lambda: field_value(handle, nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION))
    read("fabric_state", lambda: fabric_state(handle))
    read("nvlinks", lambda: nvlinks(handle))
    read("mig_mode", lambda: nvml.nvmlDeviceGetMigMode(handle)[0])
    if fields.get("mig_mode"):
        read("mig_devices", lambda: mig_devices(handle))
    read("compute_mode", lambda: nvml.nvmlDeviceGetComputeMode(handle))
    read("processes", lambda: processes(handle))
    read("persistence_mode", lambda: nvml.nvmlDeviceGetPersistenceMode(handle))
    return {**fields, "unread": unread}


def gpu_or_error(index: int) -> dict[str, object]:
    """One GPU, or {index, error} where NVML can't reach it, as after it fell off the bus."""
    try:
        return gpu(index)
    except nvml.NVMLError as error:
        return {"index": index, "error": {"code": error.value, "text": str(error)}}


def unstarted(known: int) -> list[str]:
    """The device files of GPUs that the driver can't start, looked for where there are more files than NVML has GPUs.

    NVML and CUDA pass over such GPUs. Opening the file makes the driver try again, and gives EIO where it fails
    (nv_start_device in nv.c of NVIDIA's open kernel modules); of a GPU that a scheduler has not granted it gives EPERM,
    and of none at all ENODEV.
    """
    folder = os.path.join(os.environ.get("GPUSMOKE_ROOT", "/"), "dev")  # noqa: PTH118 - import time counts
    files = sorted(os.listdir(folder)) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208
    names = [name for name in files if name.startswith("nvidia") and name[6:].isdigit()]
    failed = []
    for name in names if len(names) > known else []:
        try:
            os.close(os.open(os.path.join(folder, name), os.O_RDWR))  # noqa: PTH118
        except OSError as error:
            failed += [name] if error.errno == errno.EIO else []
    return failed


def main() -> None:
    """Print {init, driver_version, cuda_version, gpus, pairs, unstarted}."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        print(json.dumps({"init": {"code": error.value, "text": str(error)}}))
        return
    answer: dict[str, object] = {"init": {"code": 0, "text": "Success"}}
    try:
        answer["driver_version"] = nvml.nvmlSystemGetDriverVersion()
        number = nvml.nvmlSystemGetCudaDriverVersion()
        answer["cuda_version"] = f"{number // 1000}.{number % 1000 // 10}"
        count = nvml.nvmlDeviceGetCount()
        answer["gpus"] = [gpu_or_error(index) for index in range(count)]
        answer["pairs"] = [pair(*both) for both in itertools.combinations(range(count), 2)]
        answer["unstarted"] = unstarted(count)
    except nvml.NVMLError as error:
        answer["init"] = {"code": error.value, "text": str(error)}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
