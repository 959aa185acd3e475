"""check's rules on hand-made facts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd import nested

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings import catalogue
from gpusmoke.findings.exercise import judge

GOOD = {"finished": True, "exit_code": 0, "last_step": "in fp32 product", "stderr": [], "stray_lines": []}
STEP = {"step": "bf16 product of 1024 x 1024", "passed": True, "error": 0.06, "bound": 0.063}
DEVICE = {"device": "cuda:0", "name": "NVIDIA H100 80GB HBM3", "steps": [STEP]}
HEALTHY = {
    "host.nvidia_cards": ["0000:00:05.0"],
    "cuda.init": {"code": 0},
    "cuda.devices": [{"ordinal": 0}],
    "cuda.driver_version": "13.0",
    "torch.version": "2.12.1",
    "torch.cuda": "13.0",
    "torch.available": True,
    "check.0": DEVICE,
    "check.worker.0": GOOD,
}
ON_CPU = HEALTHY | {
    "host.nvidia_cards": [],
    "cuda.init": None,
    "cuda.devices": None,
    "cuda.driver_version": None,
    "torch.available": False,
    "check.0": DEVICE | {"device": "cpu", "name": "CPU"},
}


def facts(base=HEALTHY, **changes):
    values = base | {name.replace("__", "."): value for name, value in changes.items()}
    return Facts(
        {name: Fact(value, "a test", None if value is not None else "unread") for name, value in values.items()}
    )


def problems(found):
    return [one for one in found if one.severity == "problem"]


def bad(found):
    return [one.id for one in problems(found)]


def test_a_working_gpu():
    found = judge(facts())
    assert [(one.id, one.gpu) for one in found] == [("gpu-works", 0)]
    assert found[0].title == "NVIDIA H100 80GB HBM3: bf16 product of 1024 x 1024: all correct"


def test_a_gpu_that_was_required_and_exercised_is_enough():
    assert bad(judge(facts(request__require_gpu=True))) == []


def test_pypis_cuda_wheel_on_a_machine_without_gpu_is_healthy():
    found = judge(facts(ON_CPU))
    assert bad(found) == []
    assert [one.id for one in found] == ["cuda-not-exercised", "cpu-works"]


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        (ON_CPU, {"request__require_gpu": True}, ["gpu-required"]),
        (ON_CPU, {"pixi__current": {"environment": "cuda13", "cuda": "13.0"}}, ["no-driver"]),
        (ON_CPU, {"host__nvidia_cards": ["0"]}, ["no-driver"]),
        (ON_CPU, {"host__nvidia_cards": ["0"], "torch__cuda": None}, ["no-driver", "cpu-build"]),
        (ON_CPU, {"cuda__init": {"code": 0}, "cuda__devices": [{}], "torch__cuda": None}, ["cpu-build"]),
        (
            ON_CPU,
            {"cuda__init": {"code": 0}, "cuda__devices": [{}], "cuda__driver_version": "12.4"},
            ["driver-too-old"],
        ),
        (
            ON_CPU,
            {"cuda__init": {"code": 0}, "cuda__devices": [{}], "cuda__driver_version": "13.0"},
            ["gpu-unused"],
        ),
        (
            ON_CPU,
            # Where there is a GPU, neither an environment for CUDA nor a newer minor of its major is the reason.
            {"pixi__current": {"cuda": "13.0"}, "torch__cuda": "13.2", "cuda__init": {"code": 0}, "cuda__devices": [{}]}
            | {"cuda__driver_version": "13.0"},
            ["gpu-unused"],
        ),
        (ON_CPU, {"cuda__driver_version": "12.4"}, []),
        (HEALTHY, {"torch__version": None}, ["torch-missing"]),
        (HEALTHY, {"check__0": DEVICE | {"steps": [STEP | {"passed": False}]}}, ["wrong-result"]),
        (HEALTHY, {"check__0": DEVICE | {"steps": [STEP, {"step": "x", "passed": False}]}}, ["wrong-result"]),
        (HEALTHY, {"check__0": DEVICE | {"steps": [{"step": "x", "error_text": "CUDA error: 209"}]}}, ["step-failed"]),
        (HEALTHY, {"check__worker__0": GOOD | {"finished": False, "exit_code": -11}}, ["worker-crashed"]),
        (HEALTHY, {"check__worker__0": GOOD | {"exit_code": -6}}, ["worker-crashed"]),
        (HEALTHY, {"check__worker__0": GOOD | {"timed_out": True}}, ["worker-hung"]),
        (HEALTHY, {"check__worker__0": GOOD | {"timed_out": True, "unkillable": True}}, ["worker-unkillable"]),
        (HEALTHY, {"check__worker__0": GOOD | {"stray_lines": ["?"]}}, ["worker-garbled"]),
    ],
)
def test_each_fault_is_named(base, changes, expected):
    assert bad(judge(facts(base, **changes))) == expected


BUILT = {
    "nvcc": "/env/bin/nvcc",
    "version": "13.3.73",
    "origin": "this environment",
    "variables": {"NVCC_APPEND_FLAGS": "-arch=sm_80"},
    "host_compiler": "/env/bin/x86_64-conda-linux-gnu-c++",
    "architecture": "sm_90",
}
RAN = BUILT | {"product": {"method": "elementwise", "passed": True, "error": 1e-6, "bound": 1e-4}}


def test_a_kernel_of_nvcc_that_ran_and_one_that_could_not_be_launched_are_told_apart():
    ran, compiled = judge(facts(nvcc__0=RAN))[-1], judge(facts(ON_CPU, nvcc__0=BUILT))[-1]
    assert (ran.id, ran.gpu) == ("nvcc-works", 0)
    assert (compiled.id, compiled.gpu) == ("nvcc-compiles", None)
    for one in (ran, compiled):
        assert one.severity == "ok"
        assert "nvcc 13.3.73 (this environment) with /env/bin/x86_64-conda-linux-gnu-c++: " in one.title
        assert "for sm_90" in one.title
    assert "took it" in ran.title
    assert "none was launched" in compiled.title


def test_on_a_gpu_a_kernel_that_never_ran_is_no_success():
    """The child ended there, which its own finding tells."""
    ended = GOOD | {"finished": False, "exit_code": -11, "last_step": "in a product by a kernel that nvcc built"}
    found = judge(facts(nvcc__0=BUILT, check__worker__0=ended))
    assert [one.id for one in found] == ["worker-crashed"]
    assert "a kernel that nvcc built" in found[0].title


def test_a_host_compiler_that_nvcc_found_itself_is_not_named():
    assert "with a C++ compiler of its own choice" in judge(facts(nvcc__0=RAN | {"host_compiler": None}))[-1].title


@pytest.mark.parametrize(
    ("failed", "expected", "words"),
    [
        ({"failure": "nvcc-missing", "said": ["looked in: /bin"]}, "nvcc-missing", "no nvcc"),
        ({"failure": "host-compiler-missing", "said": ["looked for g++"]}, "host-compiler-missing", "/env/bin/nvcc"),
        ({"failure": "host-compiler-unfit", "error": "unsupported GNU version!"}, "host-compiler-unfit", "GNU version"),
        ({"failure": "nvcc-lacks-architecture", "said": ["nvcc fatal"]}, "nvcc-lacks-architecture", "13.3.73"),
        (
            {"failure": "kernel-not-compiled", "source": "matmul_simt.cu", "error": "oh", "command": "nvcc again"},
            "kernel-not-compiled",
            "matmul_simt.cu does not compile for sm_90: oh",
        ),
        ({"error_text": "cuLibraryLoadData: x", "error_code": 209}, "kernel-for-other-gpus", "compute capability 9.0"),
        ({"error_text": "cuLibraryLoadData: x", "error_code": 222}, "kernel-refused", "of CUDA 13.0"),
        ({"error_text": "cuLibraryLoadData: x", "error_code": 200}, "kernel-refused", "error 200"),
        ({"error_text": "cuLibraryLoadData: x", "error_code": 221}, "jit-compiler-missing", "error 221"),
        ({"error_text": "CUDA error: x", "error_code": 214}, "ecc-uncorrectable", "memory has errors"),
        ({"error_text": "CUDA error: x", "error_code": 700}, "step-failed", "CUDA error: x"),
        ({"error_text": "[Errno 122] Disk quota exceeded", "error_code": None}, "step-failed", "Disk quota"),
        ({"product": {"passed": False, "error": 0.5, "bound": 1e-4}}, "wrong-result", "largest error 0.5"),
    ],
)
def test_what_can_go_wrong_with_a_kernel_of_ones_own_is_named(failed, expected, words):
    found = judge(facts(check__0=DEVICE | {"capability": "9.0"}, nvcc__0=BUILT | failed))
    (one,) = problems(found)
    assert (one.id, one.gpu) == (expected, 0)
    assert words in one.title
    assert "None" not in one.title
    assert one.advice
    assert "nvcc: /env/bin/nvcc" in one.evidence  # and all else that is known of the compilers
    assert "variables: NVCC_APPEND_FLAGS -arch=sm_80" in one.evidence
    assert set(failed.get("said", ())) <= set(one.evidence)
    assert [one.id for one in found if one.severity == "ok"] == ["gpu-works"]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ({"finished": False, "exit_code": -11}, "signal 11"),
        ({"finished": False, "exit_code": -1}, "signal 1"),
        ({"finished": False, "exit_code": 0}, "exit code 0"),
        ({"exit_code": 3}, "exit code 3"),
        ({"finished": False, "exit_code": None, "last_step": None}, "before its first step"),
    ],
)
def test_how_a_child_ended_is_told_with_its_last_words(outcome, words):
    said = {"stderr": [f"line {at}" for at in range(6)]}
    (one,) = problems(judge(facts(check__worker__0=GOOD | said | outcome)))
    assert words in one.title
    assert one.evidence[1:] == tuple(f"stderr: line {at}" for at in (2, 3, 4, 5))


def test_of_what_is_no_message_four_lines_are_told():
    (one,) = problems(judge(facts(check__worker__0=GOOD | {"stray_lines": [f"line {at}" for at in range(6)]})))
    assert one.evidence == tuple(f"stdout: line {at}" for at in range(4))


@pytest.mark.parametrize(
    ("checked", "how"),
    [
        ({"error": 0.3, "bound": 0.2}, "largest error 0.3, allowed 0.2"),
        ({"error": 0.3, "bound": 0.2, "repeats_equal": False}, "a repeat of it has other bits"),
        ({"error": 0.0, "bound": 0.0, "method": "bitwise"}, "bytes were changed on the way"),
        ({}, "bytes were changed on the way"),
    ],
)
def test_a_wrong_step_says_how_and_nothing_is_called_right_beside_it(checked, how):
    row = DEVICE | {"steps": [STEP, {"step": "a copy", "passed": False, **checked}]}
    (one,) = judge(facts(check__0=row))
    assert one.title.endswith(f": {how}.")
    assert not [line for line in one.evidence if line.startswith("step")]  # which the sentence names


def test_without_steps_nothing_is_right():
    assert judge(facts(check__0=DEVICE | {"steps": []})) == []


def test_a_child_that_never_named_its_device_was_for_the_gpu_of_its_number():
    crashed = GOOD | {"finished": False, "exit_code": 1}
    found = judge(facts(check__worker__1=crashed, check__0=None, check__worker__0=crashed))
    assert [(one.id, one.gpu) for one in found] == [("worker-crashed", 0), ("worker-crashed", None)]


LINK = {"generation": 5, "generation_max": 5, "width": 16, "width_max": 16}


@pytest.mark.parametrize(
    ("link", "slow"),
    [
        (LINK, False),
        (LINK | {"width": 8}, True),
        (LINK | {"generation": 1}, True),
        ({"reason": "NVML: Not Supported"}, False),
        (None, False),
    ],
)
def test_a_pcie_link_below_what_it_can_do_under_load_is_a_warning(link, slow):
    found = [one for one in judge(facts(check__0=DEVICE | {"link": link})) if one.id == "pcie-link-slow"]
    assert [(one.severity, one.gpu) for one in found] == ([("warning", 0)] if slow else [])


def test_one_gpu_that_fails_does_not_hide_the_other():
    second = {"check.1": DEVICE | {"device": "cuda:1"}, "check.worker.1": GOOD | {"finished": False, "exit_code": 1}}
    found = judge(facts(HEALTHY | second))
    assert [(one.id, one.gpu) for one in found] == [("worker-crashed", 1), ("gpu-works", 0)]


def test_the_sentence_of_pytorch_is_passed_on():
    said = Fact(False, "torch.cuda.is_available()", "CUDA initialization: something odd")
    base = facts(ON_CPU, cuda__init={"code": 0}, cuda__devices=[{}], cuda__driver_version="13.0")
    found = judge(base.with_facts({"torch.available": said}))
    assert "something odd" in next(one.title for one in found if one.id == "gpu-unused")


ODD = nested([*GOOD, *STEP, *DEVICE, *RAN, "failure", "error_text"])


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from([*HEALTHY, "nvcc.0", "pixi.current", "request.require_gpu"]), ODD))
def test_no_facts_whatever_make_a_rule_raise(values):
    found = judge(Facts({name: Fact(value, "a test") for name, value in values.items()}))
    assert {one.id for one in found} <= set(catalogue())
