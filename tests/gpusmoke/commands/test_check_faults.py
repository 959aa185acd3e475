"""CUDA's errors in the middle of check's work, through the real command line: each is named by its number.

The children's torch.mm raises what PyTorch raises, the words of the error; the number behind them is the driver's.
"""

import json
import os

import pytest

pytest.importorskip("torch")
pytestmark = [
    pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine's GPU would be exercised"),
    pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux"),
]

PATCH = """\
import sys
if "gpusmoke.workers.child" in sys.orig_argv:
    import torch
    texts = {texts!r}
    def mm(a, b, out):
        raise RuntimeError("CUDA error: " + texts[a.dtype.itemsize == 4] + "\\nCompile with `TORCH_USE_CUDA_DSA`")
    torch.mm = mm
"""


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            ["no kernel image is available for execution on the device", "uncorrectable ECC error encountered"],
            {"arch-not-in-build": "pixi run audit --gpu", "ecc-uncorrectable": "nvidia-smi -q -d ECC"},
        ),
        (
            ["the provided PTX was compiled with an unsupported toolchain.", "PTX JIT compiler library not found"],
            {"ptx-too-new": "nvcc --version", "jit-compiler-missing": "ldconfig -p"},
        ),
        (
            ["device kernel image is invalid", "a PTX JIT compilation failed"],
            {"invalid-kernel-image": "nvcc -gencode", "invalid-ptx": "nvcc -gencode"},
        ),
        (
            ["CUDA-capable device(s) is/are busy or unavailable", "words that no driver knows"],
            {"device-busy": "nvidia-smi -q -d COMPUTE", "step-failed": "pixi run doctor"},
        ),
    ],
)
def test_each_error_is_named_with_its_cure(kit, driver, fake_root, tmp_path, texts, expected):
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch/sitecustomize.py").write_text(PATCH.format(texts=texts))
    env = driver() | {"GPUSMOKE_ROOT": str(fake_root)}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "patch"), kit.environment()["PYTHONPATH"]])
    done = kit("check", "--json", env=env, timeout=120)
    found = {one["id"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    for kind, advice in expected.items():
        assert found[kind]["severity"] == "problem"
        assert found[kind]["advice"][0].startswith(advice)
        assert any(text in str(found[kind]["evidence"]) for text in texts)
