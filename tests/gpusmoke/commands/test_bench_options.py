"""Options of bench that choose what is measured, through the real command line with the real PyTorch on the CPU."""

import json

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="meant for a machine without a GPU")


def test_quick_is_one_product_here_and_json_is_alone_on_standard_output(kit, bare_root, valid):
    done = kit("bench", "--quick", "--dtype", "fp32", "--seconds", "1", "--json", env=bare_root, timeout=120)
    record = json.loads(done.stdout)
    valid(record)
    assert (done.returncode, done.stderr) == (0, "")
    assert [(row["dtype"], row["regime"]) for row in record["measurements"]] == [("fp32", "burst"), ("fp32", "settled")]
    assert record["facts"]["request.bench"]["value"] == {
        "seconds": 1.0,
        "scope": "quick",
        "dtypes": ["fp32"],
        "shapes": None,
        "layouts": ["NT"],
        "backends": None,
        "gpus": None,
    }
    m, n, k = record["measurements"][0]["shape"]
    assert m == n == k
    assert m in (1024, 2048)
    (path,) = (kit.cwd / "results").iterdir()
    assert json.loads(path.read_text()) == record


def test_what_can_not_be_measured_is_told_and_not_begun_and_a_gpu_can_be_required(kit, bare_root):
    """All problems are told; nothing could be measured."""
    options = ["--dtype", "fp64", "--shape", "64,16384", "--seconds", "4", "--backend", "triton", "--require-gpu"]
    done = kit("bench", *options, env=bare_root, timeout=100)
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "fp64 64x64x64 NT triton was not measured: the Triton backend does not multiply in fp64" in said
    assert "one product of 16384x16384x16384 takes about" in said
    assert "2 problems found: gpu-required, nothing-measured." in done.stdout


def test_smoke_does_not_measure_what_does_not_work(kit, bare_root):
    done = kit("smoke", "--require-gpu", env=bare_root, timeout=120)
    assert done.returncode == 1
    assert "Ran on the CPU; CUDA was NOT exercised." in done.stdout.splitlines()[0]
    assert "1 problem found: gpu-required." in done.stdout
    (path,) = (kit.cwd / "results").iterdir()
    assert json.loads(path.read_text())["measurements"] == []
