"""Every failure that the driver's libraries and the file tree can show, through the real command line.

A case gives what the stand-in driver answers, what is changed in the file tree (None removes), and the environment.
"""

import errno
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from gpusmoke.findings import catalogue

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux")

STAND_IN = "driver"
FAULTS = Path(__file__).parents[1] / "faults"

NO_NODES = {"dev/nvidia0": None, "dev/nvidiactl": None, "dev/nvidia-uvm": None}
NO_MODULE = {"proc/driver/nvidia/version": None, "proc/modules": "nouveau 1 0 - Live 0x0\n"}
WSL = NO_NODES | NO_MODULE | {"proc/version": "Linux version 5.15.0-microsoft-standard-WSL2\n", "dev/dxg": ""}
WSL |= {"usr/lib/wsl/lib/libcuda.so.1": "", "sys/bus/pci/devices/0000:00:05.0/vendor": "0x1414\n"}

FAR = {
    "sys/bus/pci/devices/0000:00:05.0/numa_node": "1\n",
    "sys/bus/pci/devices/0000:00:05.0/local_cpulist": "32-63\n",
    "proc/self/status": "Name:\tpython\nCpus_allowed_list:\t0-31\n",
}
BRIDGES = {"devices": 2, "name": "NVIDIA H100 NVL"}  # between cards, as many as were bought
CASES = [
    ("no-driver", None, NO_NODES | NO_MODULE, {}, "lspci"),
    ("no-driver", {"cuInit": 100, "nvmlInit_v2": 9}, NO_NODES | NO_MODULE, {}, "lspci"),
    ("container-without-gpu", None, NO_NODES | {".dockerenv": ""}, {}, "docker run --gpus all"),
    ("container-without-gpu", None, NO_NODES | {".singularity.d/x": ""}, {}, "docker run --gpus all"),
    ("wsl-wrong-driver", {"cuInit": 100, "nvmlInit_v2": 9}, WSL, {}, "wsl --update"),
    ("wsl-wrong-driver", None, WSL, {}, "wsl --update"),
    ("visible-devices-empty", "", {}, {"CUDA_VISIBLE_DEVICES": ""}, "unset CUDA_VISIBLE_DEVICES"),
    ("visible-devices-empty", "", {}, {"CUDA_VISIBLE_DEVICES": "-1"}, "unset CUDA_VISIBLE_DEVICES"),
    ("visible-devices-invalid", "", {}, {"CUDA_VISIBLE_DEVICES": "7"}, "nvidia-smi -L"),
    ("visible-devices-invalid", "", {}, {"CUDA_VISIBLE_DEVICES": "0,0"}, "nvidia-smi -L"),
    ("gpu-missing", {"devices": 3}, {}, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, "nvidia-smi -L"),
    ("mig-no-instance", {"cuInit": 100, "mig_mode": 1}, {}, {}, "nvidia-smi -L"),
    ("device-node-missing", {"cuInit": 100}, {"dev/nvidia0": None}, {}, "ls -l /dev/nvidia*"),
    ("device-node-missing", {"cuInit": 100, "nvmlInit_v2": 17}, {}, {}, "ls -l /dev/nvidia*"),
    ("device-node-permission", {"cuInit": 100, "nvmlInit_v2": 4}, {}, {}, "ls -l /dev/nvidia*"),
    ("uvm-missing", {"cuInit": 999}, {"dev/nvidia-uvm": None}, {}, "sudo modprobe nvidia_uvm"),
    ("uvm-missing", {"cuInit": 999}, {}, {}, "sudo modprobe nvidia_uvm"),
    ("stub-libcuda", {"cuInit": 34}, {}, {}, "unset LD_LIBRARY_PATH"),
    ("fabric-manager-down", {"cuInit": 802}, {}, {}, "systemctl status nvidia-fabricmanager"),
    ("driver-library-mismatch", {"cuInit": 803, "nvmlInit_v2": 18}, {}, {}, "sudo reboot"),
    ("forward-compat-on-geforce", {"cuInit": 804}, {}, {}, "unset LD_LIBRARY_PATH"),
    ("device-not-licensed", {"cuInit": 102}, {}, {}, "nvidia-smi -q"),
    ("mps-problem", {"cuInit": 805}, {}, {}, "echo quit"),
    ("mps-problem", {"cuInit": 810}, {}, {}, "echo quit"),
    ("device-busy", {"cuInit": 46}, {}, {}, "nvidia-smi -q -d COMPUTE"),
    ("out-of-memory", {"cuInit": 2}, {}, {}, "nvidia-smi --query-compute-apps"),
    ("ecc-uncorrectable", {"cuInit": 214}, {}, {}, "nvidia-smi -q -d ECC,ROW_REMAPPER"),
    ("cuda-no-device", {"cuInit": 100}, {}, {}, "nvidia-smi -L"),
    ("cuda-init-crashed", {"cuInit.crash": 1}, {}, {}, "env -u LD_LIBRARY_PATH"),
    ("gpu-lost", {"devices": 2, "device.1.nvmlDeviceGetHandleByIndex_v2": 15}, {}, {}, "sudo dmesg"),
    ("inforom-corrupt", {"nvmlDeviceGetHandleByIndex_v2": 14}, {}, {}, "nvidia-smi -q"),
    ("power-cable", {"nvmlDeviceGetHandleByIndex_v2": 8}, {}, {}, "sudo poweroff"),
    ("gpu-not-answering", {"nvmlDeviceGetHandleByIndex_v2": 999}, {}, {}, "nvidia-smi"),
    ("nvml-failed", {"nvmlInit_v2": 999}, {}, {}, "nvidia-smi"),
    ("ecc-errors", {"ecc_uncorrected": 3}, {}, {}, "nvidia-smi -q -d ECC"),
    ("row-remap-pending", {"remapped_pending": 1}, {}, {}, "sudo reboot"),
    ("row-remap-failed", {"remapped_failure": 1}, {}, {}, "nvidia-smi -q -d ROW_REMAPPER"),
    ("page-retirement-pending", {"nvmlDeviceGetRemappedRows": 3, "retired_pending": 1}, {}, {}, "sudo reboot"),
    ("recovery-action-needed", {"recovery_action": 1}, {}, {}, "sudo nvidia-smi -r -i 0"),
    ("recovery-action-needed", {"recovery_action": 9}, {}, {}, "nvidia-smi -q"),
    ("throttled", {"clock_reasons": 0x44}, {}, {}, "nvidia-smi -q -d PERFORMANCE"),
    ("power-cap-lowered", {"power_limit_mw": 500000}, {}, {}, "nvidia-smi -q -d POWER"),
    ("compute-mode-prohibited", {"compute_mode": 2}, {}, {}, "nvidia-smi -q -d COMPUTE"),
    ("memory-taken", {"memory_used_mib": 60000, "processes": "4711:59000"}, {}, {}, "nvidia-smi"),
    ("nvlink-down", {"nvlinks_down": "7"}, {}, {}, "nvidia-smi nvlink -s -i 0"),
    ("nvlink-down", BRIDGES | {"device.1.nvlinks_down": "0 1"}, {}, {}, "nvidia-smi nvlink -s -i 1"),
    ("nvlink-without-peer-access", {"devices": 3, "device.0.p2p": "2:4"}, {}, {}, "systemctl status nvidia-fabric"),
    ("driver-too-old", {"cuDriverGetVersion.value": 11080}, {}, {}, "pixi run -e cpu smoke"),
]  # fmt: skip

# Those after the plus have tests of their own below.
NAMED = {kind for kind, *_ in CASES} | {
    "cuda-init-failed",
    "cuda-init-hung",
    "gpu-not-granted",
    "gpu-not-started",
    "libcuda-missing",
    "other-gpu-unwell",
}


@pytest.fixture
def doctor(kit, driver, fake_root, valid):
    """Run doctor on a machine in that state; returns the findings by id and the exit code."""
    (kit.cwd / "pixi.toml").write_text(
        '[workspace]\nplatforms = [{ name = "linux-64-cuda12", platform = "linux-64", cuda = "12.0" }]\n'
    )

    def run(state, files=(), env=()):
        for name, content in dict(files).items():
            path = fake_root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True) if content is None else path.write_text(content)
        done = kit("doctor", "--json", env=driver(state) | {"GPUSMOKE_ROOT": str(fake_root)} | dict(env))
        record = json.loads(done.stdout)
        valid(record)
        return {found["id"]: found for found in record["findings"]}, done.returncode

    return run


@pytest.mark.parametrize(("expected", "state", "files", "env", "advice"), CASES, ids=lambda value: str(value)[:40])
def test_each_failure_is_named_with_its_cure(doctor, expected, state, files, env, advice):
    found, code = doctor(state, files, env)
    assert expected in found
    one = found[expected]
    assert one["severity"] == catalogue()[expected]["severity"]
    assert code == (1 if one["severity"] == "problem" else 0)
    assert one["advice"][0].startswith(advice)
    assert one["evidence"]


def test_a_driver_without_its_library_for_cuda(doctor, libraries, tmp_path):
    (tmp_path / "utility").mkdir()
    shutil.copy(libraries / "libnvidia-ml.so.1", tmp_path / "utility")
    (tmp_path / "utility/libcuda.so.1").write_text("not a library")
    found, code = doctor("", env={"LD_LIBRARY_PATH": str(tmp_path / "utility")})
    assert code == 1
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in found["libcuda-missing"]["advice"][0]


@pytest.fixture
def refusing(compiler, tmp_path):
    """`refusing(file)`: the environment in which programs may not open it, or fail to with another error."""
    library = tmp_path / "refuse.so"
    command = [*compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, FAULTS / "refuse.c", "-ldl"]
    subprocess.run(command, check=True, timeout=180)

    def environment(file, error=errno.EPERM):
        return {"LD_PRELOAD": str(library), "GPUSMOKE_REFUSE": file, "GPUSMOKE_REFUSE_WITH": str(error)}

    return environment


def test_a_gpu_that_the_scheduler_did_not_grant(doctor, refusing):
    found, code = doctor({"cuInit": 100, "nvmlInit_v2": 17}, env=refusing("/dev/nvidia0"))
    assert code == 1
    assert found["gpu-not-granted"]["advice"][0].startswith("srun --gres=gpu:1")
    assert "/dev/nvidia0 may not be opened" in found["gpu-not-granted"]["title"]


@pytest.mark.parametrize(
    ("error", "state", "named"),
    [
        (errno.EIO, {"devices": 2}, True),
        (errno.EIO, {"devices": 3}, False),  # NVML has one for each of the files: none is opened
        (errno.EIO, {"cuInit": 100, "devices": 0}, True),
        (errno.EPERM, {"devices": 2}, False),  # others' GPUs, on a node that jobs share
        (errno.ENODEV, {"devices": 2}, False),  # a file that has no GPU
    ],
)
def test_a_gpu_that_the_driver_can_not_start_is_missed(doctor, refusing, error, state, named):
    nodes = {"dev/nvidia1": "", "dev/nvidia2": ""}
    found, code = doctor(state, files=nodes, env=refusing("/dev/nvidia2", error))
    assert ("gpu-not-started" in found) is named
    assert code == (1 if named else 0)
    if named:
        assert "a GPU at /dev/nvidia2: CUDA" in found["gpu-not-started"]["title"]
        assert found["gpu-not-started"]["advice"][0].startswith("sudo dmesg")
        assert "nvml.unstarted_nodes: nvidia2" in str(found["gpu-not-started"]["evidence"])


def test_a_driver_that_never_answers_is_reported_not_waited_for(doctor, kit, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import gpusmoke.facts.driver as d; d.DEADLINE_SECONDS = 2.0")
    search = os.pathsep.join([str(tmp_path), kit.environment()["PYTHONPATH"]])
    found, code = doctor({"cuInit.delay_ms": 120000}, env={"PYTHONPATH": search})
    assert code == 1
    assert found["cuda-init-hung"]["advice"][0].startswith("sudo dmesg")


def test_codes_that_nobody_has_catalogued_are_explained_by_number_and_name(doctor):
    known = {code for entry in catalogue().values() for code in entry.get("cuda", [])}
    for number in [201, *random.sample([code for code in range(400, 800) if code not in known | {500}], 3)]:
        found, code = doctor({"cuInit": number})
        name = "CUDA_ERROR_INVALID_CONTEXT" if number == 201 else "a code this driver has no name for"
        assert code == 1
        assert f"error {number} ({name})" in found["cuda-init-failed"]["title"]
        assert found["cuda-init-failed"]["advice"][0].startswith("nvidia-smi")


@pytest.mark.parametrize(
    ("expected", "state", "words"),
    [
        ("compute-mode-exclusive", {"compute_mode": 3}, "Exclusive"),
        ("memory-not-reported", {"nvmlDeviceGetMemoryInfo": 3}, "shares the machine's"),
        ("mig-enabled", {"mig_mode": 1, "mig_devices": 2}, "into 2 devices"),
        ("ecc-change-pending", {"ecc_mode_pending": 0}, "switched off"),
        ("far-from-its-cpus", {"pci": "0000:00:05.0"}, "(0-31) are all on another NUMA node than this GPU (node 1"),
    ],
)
def test_what_is_only_worth_knowing_is_a_note(doctor, expected, state, words):
    near = "sys/bus/pci/devices/0000:00:05.0"
    files = {
        f"{near}/numa_node": "1\n",
        f"{near}/local_cpulist": "32-63\n",
        "proc/self/status": "Cpus_allowed_list:\t0-31\n",
    }
    found, code = doctor(state, files if expected == "far-from-its-cpus" else {})
    assert code == 0
    assert found[expected]["severity"] == "note"
    assert words in found[expected]["title"]


@pytest.mark.parametrize(
    "state",
    [
        {"clock_reasons": 4, "power_mw": 699000, "temperature_c": 66, "sm_clock_mhz": 1305},  # full load, power cap
        {"clock_reasons": 1, "pcie_generation": 1},  # idle, with the link asleep
        {"memory_used_mib": 800},
        {"nvmlDeviceGetFieldValues": 3, "nvmlDeviceGetRemappedRows": 3, "nvmlDeviceGetEccMode": 3},  # a GeForce
        {"mig_mode": 1, "mig_devices": 7},
        {"nvlinks": 0},
        {"nvlinks_down": " ".join(map(str, range(18)))},  # alone in a virtual machine, of eight on a board
        {"devices": 8},
        {"devices": 8, "nvlinks": 0, "device.7.socket": 1, "device.0.p2p": "7:3"},  # no peer access over PCIe
        {"devices": 4, "name": "NVIDIA A100-SXM4-40GB", "nvlinks": 12, "nvlinks_down": ""},
        BRIDGES | {"nvlinks_down": "0 1 2 3 4 5"},  # as many bridges as were bought
    ],
)
def test_a_healthy_gpu_gives_no_alarm(doctor, state):
    found, code = doctor(state)
    assert code == 0
    assert {one["severity"] for one in found.values()} <= {"ok", "note"}


def test_health_is_told_of_the_gpu_that_cuda_means_by_the_number(doctor):
    state = {"devices": 3, "device.2.ecc_uncorrected": 1, "device.1.power_limit_mw": 500000}
    found, _ = doctor(state, env={"CUDA_VISIBLE_DEVICES": "2"})
    assert found["ecc-errors"]["gpu"] == 0  # CUDA's only one
    assert "power-cap-lowered" not in found  # of one that CUDA does not see
    assert found["other-gpu-unwell"]["title"].startswith("GPU 1 of this machine")
    assert found["other-gpu-unwell"]["severity"] == "warning"
    assert found["other-gpu-unwell"]["advice"][0] == "pixi run doctor --explain power-cap-lowered"


def test_what_others_do_on_their_gpus_is_their_business(doctor):
    state = {
        "devices": 2,
        "device.0.memory_used_mib": 80000,
        "device.0.compute_mode": 2,
        "device.0.ecc_mode_pending": 0,
    }
    found, code = doctor(state, env={"CUDA_VISIBLE_DEVICES": "1"})
    assert code == 0
    assert {one["severity"] for one in found.values()} <= {"ok", "note"}


def test_a_machine_without_any_of_it_is_healthy(doctor):
    gone = NO_NODES | NO_MODULE | {"sys/bus/pci/devices/0000:00:05.0/vendor": "0x8086\n"}
    found, code = doctor(None, gone)
    assert code == 0
    assert {one["severity"] for one in found.values()} <= {"ok", "note"}


def test_a_healthy_machine_in_wsl_is_healthy(doctor):
    found, code = doctor("", WSL)
    assert code == 0
    assert {one["severity"] for one in found.values()} <= {"ok", "note"}
