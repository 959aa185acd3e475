"""check through the real command line with the real PyTorch on the CPU: who must pass, and who must not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture
def bare_root(tmp_path):
    """A file tree without anything of NVIDIA."""
    root = tmp_path / "bare"
    root.mkdir()
    return {"GPUSMOKE_ROOT": str(root)}


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
def test_where_pytorch_uses_no_gpu_one_child_has_the_cpu_however_many_gpus_there_are(check, driver, fake_root):
    # The stand-in driver has no kernels: PyTorch's CUDA build can't use it, its CPU build would not try.
    # Nor has nvcc one to build for: that it compiles is all that can be proved.
    compiler = os.environ.get("CXX") or shutil.which("g++") or ""
    machine = driver({"devices": 2}) | {"GPUSMOKE_ROOT": str(fake_root), "CXX": compiler}
    record, found, code = check("--nvcc", env=machine)
    assert code == 1
    assert {"gpu-unused", "cpu-build"} & set(found)
    assert record["facts"]["check.0"]["value"]["device"] == "cpu"
    assert "check.1" not in record["facts"]
    assert record["facts"]["check.worker.1"]["value"]["finished"] is True
    assert found["cpu-works"]["gpu"] is None
    assert "nvcc.1" not in record["facts"]
    compiled = record["facts"]["nvcc.0"]["value"]
    if "failure" in compiled:  # nvcc comes with CUDA environments alone
        assert found[compiled["failure"]]["advice"]
        assert compiled["failure"] in ("nvcc-missing", "host-compiler-missing")
    else:
        assert Path(compiled["nvcc"]).is_file()
        assert compiled["origin"]
        assert compiled["architecture"].startswith("sm_")
        assert "none was launched" in found["nvcc-compiles"]["title"]


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
