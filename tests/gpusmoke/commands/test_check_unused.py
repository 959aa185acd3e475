"""check where PyTorch can't use the GPUs that are there."""

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

pytestmark = [
    pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine's GPU would be exercised"),
    pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux"),
]


def test_where_pytorch_uses_no_gpu_one_child_has_the_cpu_however_many_gpus_there_are(kit, driver, fake_root):
    # The stand-in driver has no kernels: PyTorch's CUDA build can't use it, its CPU build would not try.
    # Nor has nvcc one to build for: that it compiles is all that can be proved.
    compiler = os.environ.get("CXX") or shutil.which("g++") or ""
    machine = driver({"devices": 2}) | {"GPUSMOKE_ROOT": str(fake_root), "CXX": compiler}
    done = kit("check", "--nvcc", "--json", env=machine, timeout=120)
    assert done.returncode == 1
    record = json.loads(done.stdout)
    found = {one["id"]: one for one in record["findings"]}
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
