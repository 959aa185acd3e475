"""The stand-in libnvidia-ml answers nvidia-ml-py as the driver does, and as its state says."""

import pytest

HEALTHY = {
    "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetUUID": "GPU-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f0",
    "nvmlDeviceGetPciInfo": {
        "busIdLegacy": "0000:00:05.0",
        "domain": 0,
        "bus": 0,
        "device": 5,
        "pciDeviceId": 0,
        "pciSubSystemId": 0,
        "busId": "00000000:00:05.0",
    },
    "nvmlDeviceGetMemoryInfo": {"total": 81559 << 20, "free": 81559 << 20, "used": 0},
    "nvmlDeviceGetMemoryInfo, nvml.nvmlMemory_v2": {
        "version": 0x02000028,
        "total": 81559 << 20,
        "reserved": 0,
        "free": 81559 << 20,
        "used": 0,
    },
    "nvmlDeviceGetCudaComputeCapability": [9, 0],
    "nvmlDeviceGetPowerUsage": 71000,
    "nvmlDeviceGetEnforcedPowerLimit": 700000,
    "nvmlDeviceGetPowerManagementLimit": 700000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 700000,
    "nvmlDeviceGetTotalEnergyConsumption": 1000000,
    "nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU": 33,
    "nvmlDeviceGetTemperatureV, nvml.NVML_TEMPERATURE_GPU": 33,
    "nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM": 345,
    "nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_SM": 1980,
    "nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_MEM": 2619,
    "nvmlDeviceGetCurrentClocksEventReasons": 1,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 1,
    "nvmlDeviceGetPerformanceState": 0,
    "nvmlDeviceGetCurrPcieLinkWidth": 16,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
    "nvmlDeviceGetCurrPcieLinkGeneration": 5,
    "nvmlDeviceGetMaxPcieLinkGeneration": 5,
    "nvmlDeviceGetEccMode": [1, 1],
    "nvmlDeviceGetTotalEccErrors, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC": 0,
    "nvmlDeviceGetRemappedRows": [0, 0, 0, 0],
    "nvmlDeviceGetMigMode": [0, 0],
    "nvmlDeviceGetComputeMode": 0,
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetComputeRunningProcesses": [],
    "nvmlDeviceGetUtilizationRates": {"gpu": 0, "memory": 0},
}


def device_calls(calls):
    """Every call of nvidia-ml-py on device 0; what follows the comma are its other arguments."""
    asked = []
    for call in calls:
        name, *rest = call.split(", ", maxsplit=1)
        asked.append(f"{call!r}: ask({', '.join([repr(name), 'gpu', *rest])})")
    return "{" + ", ".join(asked) + "}"


def test_a_healthy_nvml(driver, nvml):
    assert nvml(driver(), device_calls(HEALTHY)) == HEALTHY
    machine = '[ask("nvmlSystemGetDriverVersion"), ask("nvmlSystemGetNVMLVersion"), ask("nvmlDeviceGetCount")]'
    assert nvml(driver(), machine) == ["580.159.04", "13.580.159.04", 1]
    finding = 'ask("nvmlDeviceGetName", nvml.nvmlDeviceGetHandleBy{}({!r}))'
    for by, what in (
        ("UUID", HEALTHY["nvmlDeviceGetUUID"]),
        ("PciBusId", "00000000:00:05.0"),
        ("PciBusId", "0000:00:05.0"),
    ):
        assert nvml(driver(), finding.format(by, what)) == "NVIDIA H100 80GB HBM3"


def test_nvml_answers_as_the_state_says(driver, nvml):
    state = {
        "temperature_c": 90,
        "clock_reasons": "0x44",
        "ecc_uncorrected": 2,
        "ecc_uncorrected_aggregate": 7,
        "remapped_failure": 1,
        "memory_used_mib": 1024,
        "processes": "4242:512 77:256",
        "nvmlDeviceGetPowerUsage": 3,
        "nvmlSystemGetDriverVersion.value": "535.54.03",
        "nvmlSystemGetCudaDriverVersion.value": 12020,
    }
    uncorrected = "nvmlDeviceGetTotalEccErrors, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, "
    expected = {
        "nvmlDeviceGetTemperature, 0": 90,
        "nvmlDeviceGetTemperatureV, 0": 90,
        "nvmlDeviceGetCurrentClocksEventReasons": 0x44,
        uncorrected + "nvml.NVML_VOLATILE_ECC": 2,
        uncorrected + "nvml.NVML_AGGREGATE_ECC": 7,
        "nvmlDeviceGetTotalEccErrors, nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, nvml.NVML_VOLATILE_ECC": 0,
        "nvmlDeviceGetRemappedRows": [0, 0, 0, 1],
        "nvmlDeviceGetMemoryInfo": {"total": 81559 << 20, "free": 80535 << 20, "used": 1024 << 20},
        "nvmlDeviceGetComputeRunningProcesses": [[4242, 512 << 20], [77, 256 << 20]],
        "nvmlDeviceGetPowerUsage": {"code": 3, "text": "Not Supported"},
    }
    assert nvml(driver(state), device_calls(expected)) == expected
    versions = [
        f'ask("nvmlSystemGet{name}")' for name in ("DriverVersion", "CudaDriverVersion", "CudaDriverVersion_v2")
    ]
    assert nvml(driver(state), f"[{', '.join(versions)}]") == ["535.54.03", 12020, 12020]


def test_the_state_of_the_links_between_gpus(driver, nvml):
    asked = 'ask("nvmlDeviceGetGpuFabricInfoV", {}, nvml.byref(info := nvml.c_nvmlGpuFabricInfo_v{}_t()))'
    state = driver({"devices": 2, "device.1.fabric_state": 2})
    second = "nvml.nvmlDeviceGetHandleByIndex(1)"
    assert nvml(driver(), f"[{asked.format('gpu', 2)}, info.state]") == [0, 0]
    assert nvml(state, f"[{asked.format('gpu', 2)}, info.state]") == [0, 0]
    assert nvml(state, f"[{asked.format(second, 2)}, info.state]") == [0, 2]
    newer = {"code": 25, "text": "Argument version mismatch"}
    assert nvml(driver(), f"[{asked.format('gpu', 3)}, info.state]") == [newer, 0]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (9, "Driver Not Loaded"),
        (17, "GPU access blocked by the operating system"),
        (18, "Driver/library version mismatch"),
        (19, "In use by another client"),
        (28, "No supported GPUs were found"),
        (30, "Reset type is not supported for given device"),
        (999, "Unknown Error"),
    ],
)
def test_nvml_that_does_not_start(driver, nvml, code, text):
    asked = ["nvmlDeviceGetCount", "nvmlSystemGetCudaDriverVersion", "nvmlSystemGetCudaDriverVersion_v2"]
    calls = f'[started["code"], ask("nvmlErrorString", {code}), *map(ask, {asked})]'
    uninitialised = {"code": 1, "text": "Uninitialized"}
    assert nvml(driver({"nvmlInit_v2": code}), calls) == [code, text, *[uninitialised] * len(asked)]


def test_nvml_and_cuda_fail_independently(driver, cuda, nvml):
    state = driver({"cuInit": 802})
    assert cuda(state, "[cuda.cuInit(0), number('cuDeviceGetCount')]") == [802, [3, -1]]
    assert nvml(state, 'ask("nvmlDeviceGetCount")') == 1


def test_several_devices_differ_where_told(driver, cuda, nvml):
    state = driver(
        {"devices": 3, "name": "Tesla T4", "device.1.name": "NVIDIA L4", "device.2.nvmlDeviceGetHandleByIndex_v2": 15}
    )
    names = "[string('cuDeviceGetName', i)[1] for i in range(number('cuDeviceGetCount')[1])]"
    assert cuda(state, f"[cuda.cuInit(0), {names}]") == [0, ["Tesla T4", "NVIDIA L4", "Tesla T4"]]
    assert nvml(state, "[name_of(index) for index in range(4)]") == [
        "Tesla T4",
        "NVIDIA L4",
        {"code": 15, "text": "GPU is lost"},
        {"code": 2, "text": "Invalid Argument"},
    ]
