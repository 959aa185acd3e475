"""check through the real command line with the real PyTorch on the CPU: who must pass, and who must not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

pytest.importorskip("torch")

CUDA_MARKER = {
    "environment_name": "cuda13",
    "resolved_platform": {"subdir": "linux-64", "virtual_packages": [{"name": "__cuda", "version": "13.0"}]},
}
no_gpu = pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine's GPU would be exercised")
linux = pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux")


@pytest.fixture
def check(kit, tmp_path):
    """Run `check --json`; returns the record, the findings by id, and the exit code."""

    def run(*args, env=None):
        done = kit("check", "--json", *args, env=env, timeout=120)
        record = json.loads(done.stdout)
        return record, {found["id"]: found for found in record["findings"]}, done.returncode

    return run


@no_gpu
def test_a_machine_without_gpu_passes_and_says_what_was_not_exercised(check, bare_root):
    record, found, code = check(env=bare_root)
    assert code == 0
    assert found["cuda-not-exercised"]["severity"] == "note"
    assert "gpu-required" not in found
    steps = record["facts"]["check.0"]["value"]["steps"]
    assert [step["step"].split(" ")[0] for step in steps] == ["copies", "bf16", "fp32"]
    assert all(step["passed"] for step in steps)
    assert all(0 < step["error"] <= step["bound"] for step in steps[1:])
    assert "nvcc.0" not in record["facts"]  # nobody asked


@no_gpu
@linux
def test_a_broken_driver_is_named_and_not_just_no_gpu(check, driver, fake_root):
    _, found, code = check(env=driver({"cuInit": 802}) | {"GPUSMOKE_ROOT": str(fake_root)})
    assert code == 1
    assert "802" in found["fabric-manager-down"]["title"]


@no_gpu
@pytest.mark.skipif("sys.platform == 'win32'", reason="a venv there has no lone symbolic link to Python")
def test_a_cuda_environment_without_driver_fails_and_so_does_a_gpu_that_is_required(kit, bare_root, tmp_path):
    """An environment that Pixi installed for CUDA, by its marker; PyTorch comes along on PYTHONPATH."""
    prefix, interpreter = tmp_path / "envs/cuda13", Path(sys.executable).resolve()
    (prefix / "bin").mkdir(parents=True)
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta/pixi").write_text(json.dumps(CUDA_MARKER))
    (prefix / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\n")
    (prefix / "bin/python").symlink_to(interpreter)
    env = kit.environment(bare_root)
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], *(path for path in sys.path if "site-packages" in path)])
    command = [prefix / "bin/python", "-m", "gpusmoke", "check", "--require-gpu", "--json"]
    done = subprocess.run(command, env=env, cwd=kit.cwd, capture_output=True, text=True, timeout=120, check=False)
    found = {one["id"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert found["no-driver"]["severity"] == found["gpu-required"]["severity"] == "problem"
