"""Asks NVML (the library behind nvidia-smi) about driver and GPUs and prints the answer as one JSON object.

A program of its own, without imports from the kit, for the same reason as probe_cuda.py. NVML does not initialise
CUDA, so it can be fine while CUDA is not, and the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Callable

try:
    import pynvml as nvml
except ImportError as error:  # a Python that was not made for the kit, as in a vendor's container
    print(json.dumps({"error": f"{error}: pip install nvidia-ml-py"}))
    raise SystemExit from None


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
    read("ecc_mode", lambda: nvml.nvmlDeviceGetEccMode(handle)[0])
    read("mig_mode", lambda: nvml.nvmlDeviceGetMigMode(handle)[0])
    read("compute_mode", lambda: nvml.nvmlDeviceGetComputeMode(handle))
    read("persistence_mode", lambda: nvml.nvmlDeviceGetPersistenceMode(handle))
    return {**fields, "unread": unread}


def gpu_or_error(index: int) -> dict[str, object]:
    """One GPU, or {index, error} where NVML can't reach it, as after it fell off the bus."""
    try:
        return gpu(index)
    except nvml.NVMLError as error:
        return {"index": index, "error": {"code": error.value, "text": str(error)}}


def main() -> None:
    """Print {init, driver_version, cuda_version, gpus}."""
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
        answer["gpus"] = [gpu_or_error(index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        answer["init"] = {"code": error.value, "text": str(error)}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
