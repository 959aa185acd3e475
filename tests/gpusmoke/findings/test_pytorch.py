"""Whether a PyTorch can use the GPU that is here, on hand-made facts."""

import pytest

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.exercise import judge
from gpusmoke.findings.pytorch import pytorch

HELD = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_110", "sm_120", "compute_120"]
HEALTHY = {
    "cuda.init": {"code": 0},
    "cuda.devices": [{"ordinal": 0, "capability": "9.0"}],
    "cuda.driver_version": "13.0",
    "torch.version": "2.12.1",
    "torch.cuda": "13.0",
    "torch.available": True,
    "torch.architectures": HELD,
    "torch.installations": ["torch 2.12.1 in /env/lib/python3.14/site-packages/torch"],
    "torch.cudnn": 92000,
    "torch.libraries": {"loaded": {"libcudart.so.13": "/env/lib/libcudart.so.13"}, "shadowed": {}, "cudart": "13.3"},
    "torch.package": "pytorch-2.12.1-cuda130_mkl_py314_h1_0",
    "pixi.current": {"environment": "cuda13", "cuda": "13.0"},
}


def facts(changes):
    return Facts({n: Fact(v, "a test", None if v is not None else "unread") for n, v in (HEALTHY | changes).items()})


def found(changes=()):
    return {one.id: one for one in pytorch(facts(dict(changes)))}


def libraries(**changes):
    return {"torch.libraries": HEALTHY["torch.libraries"] | changes}


def test_a_healthy_installation_gives_no_finding():
    assert found() == {}


SHADOWED = {"/usr/local/cuda/lib64/libcublas.so.13": "/env/lib/libcublas.so.13"}


@pytest.mark.parametrize(
    ("changes", "expected", "severity"),
    [
        ({"torch.installations": ["torch 2.12.1 in /a", "torch 2.13.0 in /b"]}, "two-torches", "problem"),
        (libraries(shadowed=SHADOWED), "shadowed-libraries", "warning"),
        (libraries(shadowed=SHADOWED) | {"torch.version": None}, "shadowed-libraries-break", "problem"),
        (libraries(cudart="12.9"), "cudart-mismatch", "problem"),
        (libraries(cudart="14.0"), "cudart-mismatch", "problem"),
        (libraries(cudart="13.0") | {"torch.cuda": "13.3"}, "cudart-mismatch", "problem"),
        ({"torch.cudnn": None}, "cudnn-mismatch", "problem"),
        ({"cuda.devices": [{"capability": "7.0"}]}, "arch-not-in-build", "problem"),
        ({"torch.architectures": HELD[1:]}, "architectures-differ", "warning"),
    ],
)
def test_each_fault_is_named(changes, expected, severity):
    one = found(changes)[expected]
    assert one.severity == severity
    assert one.evidence
    assert one.advice


@pytest.mark.parametrize(
    "changes",
    [
        libraries(cudart="13.0"),
        libraries(cudart=None),  # linked in
        {"cuda.devices": [{"capability": "8.9"}]},  # runs the code for 8.6
        {"cuda.devices": [{"capability": "8.7"}]},  # Orin: nobody knows until a kernel has run
        {"torch.package": None, "torch.architectures": ["sm_90"]},  # PyPI's, or a build of one's own
        {"torch.architectures": None},
        {"torch.architectures": [*HELD, "compute_130", "of another kind"]},  # source, which is not what differs
    ],
)
def test_what_is_no_fault_is_not_named(changes):
    assert found(changes) == {}


def test_each_gpu_is_looked_at_by_itself():
    rows = [{"capability": "9.0"}, {"capability": "6.1"}]
    assert found({"cuda.devices": rows})["arch-not-in-build"].gpu == 1


def test_a_card_newer_than_the_build_needs_a_driver_as_new_as_its_ptx():
    newer = {"cuda.devices": [{"capability": "13.0"}], "torch.cuda": "13.0"}
    assert found(newer) == {}
    assert "arch-not-in-build" in found(newer | {"cuda.driver_version": "12.9"})


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (209, "arch-not-in-build"),
        (222, "ptx-too-new"),
        (221, "jit-compiler-missing"),
        (200, "invalid-kernel-image"),
        (218, "invalid-ptx"),
        (214, "ecc-uncorrectable"),
        (46, "device-busy"),
        (2, "out-of-memory"),
        (700, "step-failed"),
        (None, "step-failed"),
    ],
)
def test_an_error_of_a_step_is_named_by_its_number(code, expected):
    step = {"step": "a first sum", "passed": False, "error_text": "CUDA error: some words", "error_code": code}
    rows = {"check.0": {"device": "cuda:0", "name": "a GPU", "capability": "9.0", "steps": [step]}}
    rows["check.worker.0"] = {"finished": True, "exit_code": 0}
    (one,) = [one for one in judge(facts(rows)) if one.severity == "problem"]
    assert (one.id, one.gpu) == (expected, 0)
    assert one.advice
    assert "some words" in str(one.evidence)
    assert "{" not in one.title
