"""The stand-in libcuda answers as the driver does, and as its state says."""

import sys

import pytest


def test_a_healthy_libcuda(driver, cuda):
    calls = """{
        "version before cuInit": number("cuDriverGetVersion"),
        "count before cuInit": number("cuDeviceGetCount"),
        "init": cuda.cuInit(0),
        "count": number("cuDeviceGetCount"),
        "device": number("cuDeviceGet", 0),
        "no such device": number("cuDeviceGet", 1)[0],
        "name": string("cuDeviceGetName", 0),
        "pci": string("cuDeviceGetPCIBusId", 0),
        "attributes": [number("cuDeviceGetAttribute", a, 0)[1] for a in (75, 76, 16, 1)],
        "memory": raw("cuDeviceTotalMem_v2", ctypes.c_size_t, 0),
        "uuid": raw("cuDeviceGetUuid", ctypes.c_ubyte * 16, 0),
        "uuid of _v2": raw("cuDeviceGetUuid_v2", ctypes.c_ubyte * 16, 0),
    }"""
    uuid = [0, "0a1b2c3d4e5f60718293a4b5c6d7e8f0"]
    assert cuda(driver(), calls) == {
        "version before cuInit": [0, 13000],
        "count before cuInit": [3, -1],
        "init": 0,
        "count": [0, 1],
        "device": [0, 0],
        "no such device": 101,
        "name": [0, "NVIDIA H100 80GB HBM3"],
        "pci": [0, "0000:00:05.0"],
        "attributes": [9, 0, 132, 0],
        "memory": [0, (81559 << 20).to_bytes(8, sys.byteorder).hex()],
        "uuid": uuid,
        "uuid of _v2": uuid,
    }


@pytest.mark.parametrize(
    ("code", "name", "text"),
    [
        (0, "CUDA_SUCCESS", "no error"),
        (100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"),
        (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"),
    ],
)
def test_libcuda_explains_its_codes(driver, cuda, code, name, text):
    assert cuda(driver(), f"explained({code})") == [0, name, 0, text]


def test_a_code_that_libcuda_does_not_know_has_no_text(driver, cuda):
    assert cuda(driver({"cuInit": 4711}), "[cuda.cuInit(0), explained(4711)]") == [4711, [1, None, 1, None]]


NO_DEVICE, INVALID_DEVICE = 100, 101
FIRST, SECOND, THIRD = "0000:00:05.0", "0000:01:05.0", "0000:02:05.0"


@pytest.mark.parametrize(
    ("value", "init", "devices"),
    [
        (None, 0, [FIRST, SECOND, THIRD]),
        ("", NO_DEVICE, []),
        ("-1", NO_DEVICE, []),
        ("3", NO_DEVICE, []),
        ("none", NO_DEVICE, []),
        ("1", 0, [SECOND]),
        ("2,0", 0, [THIRD, FIRST]),
        ("0,-1,1", 0, [FIRST]),
        ("1,9,0", 0, [SECOND]),
        ("2abc", 0, [THIRD]),
        ("0,0", INVALID_DEVICE, []),
        ("0, 0", INVALID_DEVICE, []),
        ("GPU-1a1b", 0, [SECOND]),
        ("GPU-1A1B", 0, [SECOND]),
        ("GPU-2a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f2,GPU-0", 0, [THIRD, FIRST]),
        ("GPU-0,GPU-0a1b", INVALID_DEVICE, []),
        ("0,GPU-1a1b", 0, [FIRST]),
        ("GPU-1a1b,0", 0, [SECOND]),
        ("GPU-1a1b,1", 0, [SECOND]),
        ("GPU-ffff", NO_DEVICE, []),
        ("MIG-1a1b2c3d", NO_DEVICE, []),
    ],
)
def test_cuda_visible_devices(driver, cuda, nvml, value, init, devices):
    env = driver({"devices": 3}) | ({} if value is None else {"CUDA_VISIBLE_DEVICES": value})
    assert cuda(env, "visible()") == [init, devices]
    # NVML shows them all, whatever CUDA may see.
    assert nvml(env, 'ask("nvmlDeviceGetCount")') == 3


def test_gpu_alone_names_not_even_an_only_device(driver, cuda):
    assert cuda(driver() | {"CUDA_VISIBLE_DEVICES": "GPU-"}, "visible()") == [NO_DEVICE, []]


def test_the_first_characters_of_two_uuids_name_neither(driver, cuda):
    env = driver({"devices": 2, "uuid": "GPU-a1b2c3d#-4e5f-6071-8293-a4b5c6d7e8f0"})
    assert cuda(env | {"CUDA_VISIBLE_DEVICES": "GPU-a1b2c3d"}, "visible()") == [NO_DEVICE, []]
    assert cuda(env | {"CUDA_VISIBLE_DEVICES": "GPU-a1b2c3d1"}, "visible()") == [0, [SECOND]]


def test_a_device_keeps_its_settings_when_cuda_renumbers_it(driver, cuda):
    env = driver({"devices": 2, "device.1.name": "NVIDIA L4"}) | {"CUDA_VISIBLE_DEVICES": "1"}
    assert cuda(env, "[cuda.cuInit(0), string('cuDeviceGetName', 0)]") == [0, [0, "NVIDIA L4"]]


def test_no_gpu_at_all(driver, cuda):
    assert cuda(driver({"devices": 0}), "visible()") == [NO_DEVICE, []]
