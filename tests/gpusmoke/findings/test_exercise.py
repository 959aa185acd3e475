"""check's rules on hand-made facts."""

import pytest
from hypothesis import HealthCheck, given, settings
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


def bad(found):
    return [one.id for one in found if one.severity == "problem"]


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


ODD = nested([*GOOD, *STEP, *DEVICE])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(st.dictionaries(st.sampled_from([*HEALTHY, "pixi.current", "request.require_gpu"]), ODD))
def test_no_facts_whatever_make_a_rule_raise(values):
    found = judge(Facts({name: Fact(value, "a test") for name, value in values.items()}))
    assert {one.id for one in found} <= set(catalogue())
