"""What tests drive the real program with: states, crashes, delays, mistakes, compilers, a clean environment."""

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

LOAD_CUDA = "import ctypes; print(ctypes.CDLL('libcuda.so.1').cuInit(0))"
LOAD_NVML = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlSystemGetDriverVersion())"


def run(env, program):
    return subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("program", [LOAD_CUDA, LOAD_NVML])
def test_a_call_can_crash(driver, program):
    assert run(driver({"cuInit.crash": 1, "nvmlInit_v2.crash": 1}), program).returncode == -signal.SIGSEGV


def test_a_call_can_take_its_time(driver):
    env = driver({"cuInit.delay_ms": 700, "cuInit": 999})
    begun = time.monotonic()
    assert run(env, LOAD_CUDA).stdout == "999\n"
    assert 0.7 <= time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"cuInt": 802}, "unknown key 'cuInt'"),
        ({"cuInit.delay": 500}, "unknown key 'cuInit.delay'"),
        ({"device.0.cuInit": 802}, "unknown key 'device.0.cuInit'"),
        ({"device.1.name": "Tesla T4"}, "'device.1.name', but there are 1 devices"),
        ({"cuInit": "CUDA_ERROR_NO_DEVICE"}, "'cuInit' takes a number"),
        ({"devices": 17}, "devices must be 0 to 16"),
        ("cuInit 802", "no '='"),
        ("cuInit = 802\ncuInit = 0", "given before"),
    ],
)
def test_a_mistake_in_a_state_is_loud(driver, libraries, kit, tmp_path, state, complaint):
    with pytest.raises(ValueError, match=complaint):
        driver(state)
    # So it is without the fixture's help, in each library.
    file = tmp_path / "state.txt"
    file.write_text(state if isinstance(state, str) else "".join(f"{key} = {value}\n" for key, value in state.items()))
    env = kit.environment({"LD_LIBRARY_PATH": str(libraries), "GPUSMOKE_STANDIN": str(file)})
    for program in (LOAD_CUDA, LOAD_NVML):
        done = run(env, program)
        assert done.returncode == -signal.SIGABRT
        assert complaint in done.stderr


def test_a_state_file_that_is_not_there_is_loud(driver):
    done = run(driver() | {"GPUSMOKE_STANDIN": "nowhere.txt"}, LOAD_CUDA)
    assert done.returncode == -signal.SIGABRT
    assert "can't read the state file nowhere.txt" in done.stderr


def test_a_broken_installation_has_no_loadable_library(driver):
    assert "OSError" in run(driver(None), LOAD_CUDA).stderr
    assert "NVMLError_LibraryNotFound" in run(driver(None), LOAD_NVML).stderr


def test_the_program_meets_the_stand_in(driver, fake_root, kit):
    env = driver({"devices": 2, "device.1.name": "NVIDIA L4"}) | {"GPUSMOKE_ROOT": str(fake_root)}
    done = kit("doctor", "--json", env=env)
    assert done.returncode == 0, done.stderr
    assert [gpu["name"] for gpu in json.loads(done.stdout)["facts"]["cuda.devices"]["value"]] == [
        "NVIDIA H100 80GB HBM3",
        "NVIDIA L4",
    ]


def test_the_program_is_kept_from_this_machine(kit, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "9.9")
    facts = json.loads(kit("doctor", "--json").stdout)["facts"]
    assert facts["env.CUDA_VISIBLE_DEVICES"]["value"] is None
    assert facts["env.CONDA_OVERRIDE_CUDA"]["value"] is None
    assert facts["host.nvidia_smi"]["value"] is None


def test_a_program_past_its_deadline_fails_the_test(driver, kit):
    with pytest.raises(subprocess.TimeoutExpired):
        kit("doctor", env=driver({"cuInit.delay_ms": 30000}), timeout=2)


@pytest.mark.system
def test_the_machines_own_compiler_builds_it(build_driver, tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs cc")
    assert len(list(build_driver((compiler,), tmp_path).iterdir())) == 2


def test_pypis_compiler_builds_it(build_driver, tmp_path, driver):
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs ziglang from PyPI")
    folder = tmp_path / "zig"
    folder.mkdir()
    build_driver((sys.executable, "-m", "ziglang", "cc"), folder)
    env = driver({"cuInit": 802}) | {"LD_LIBRARY_PATH": str(folder)}
    assert run(env, LOAD_CUDA).stdout == "802\n"
    assert run(env, LOAD_NVML).stdout == "580.159.04\n"
