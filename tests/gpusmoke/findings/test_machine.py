"""doctor's rules on hand-made facts: each finding appears when it should, and not on a healthy machine."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd import nested

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings import catalogue, problems
from gpusmoke.findings.machine import diagnose

H100 = {
    "ordinal": 0,
    "name": "NVIDIA H100 80GB HBM3",
    "capability": "9.0",
    "memory_mib": 81559,
    "uuid": "GPU-1",
    "pci": "0",
}
PLATFORMS = [
    {"name": "linux-64-cuda13", "subdir": "linux-64", "cuda": "13.0"},
    {"name": "linux-64-cuda12", "subdir": "linux-64", "cuda": "12.0"},
    {"name": "linux-64-cpu", "subdir": "linux-64", "cuda": None},
]
ENVIRONMENTS = {"default": [row["name"] for row in PLATFORMS], "cuda13": ["linux-64-cuda13"], "cpu": ["linux-64-cpu"]}
HEALTHY = {
    "host.system": "Linux 6.1",
    "host.machine": "x86_64",
    "host.container": None,
    "host.nvidia_cards": ["0000:00:05.0"],
    "host.device_nodes": ["nvidia-uvm", "nvidia0", "nvidiactl"],
    "host.closed_nodes": [],
    "host.modules": ["nvidia", "nvidia_uvm"],
    "host.kernel_module": "580.159.04",
    "host.nvidia_smi": "/usr/bin/nvidia-smi",
    "cuda.driver_version": "13.0",
    "cuda.init": {"code": 0, "name": "CUDA_SUCCESS", "text": "no error"},
    "cuda.devices": [H100],
    "nvml.init": {"code": 0, "text": "Success"},
    "nvml.gpus": [{"index": 0}],
    "pixi.executable": "/usr/bin/pixi",
    "pixi.platforms": PLATFORMS,
    "pixi.environments": ENVIRONMENTS,
    "pixi.installed": [],
}
CPU_ONLY = HEALTHY | {
    "host.nvidia_cards": [],
    "host.device_nodes": [],
    "host.modules": [],
    "host.kernel_module": None,
    "host.nvidia_smi": None,
    "cuda.driver_version": None,
    "cuda.init": None,
    "cuda.devices": None,
    "nvml.init": {"code": 12, "text": "NVML Shared Library Not Found"},
    "nvml.gpus": None,
}


def facts(base=HEALTHY, **changes):
    values = base | {name.replace("__", "."): value for name, value in changes.items()}
    return Facts(
        {name: Fact(value, "a test", None if value is not None else "unread") for name, value in values.items()}
    )


def ids(found):
    return [one.id for one in found]


def bad(found):
    return [one.id for one in found if one.severity in ("problem", "warning")]


def titles(found, kind):
    return [one.title for one in found if one.id == kind]


def test_a_healthy_machine_has_no_problem_and_is_told_what_it_runs():
    found = diagnose(facts())
    assert bad(found) == []
    assert titles(found, "driver-runs") == [
        "This driver (580.159.04) runs CUDA 13 and 12 builds; its own CUDA version is 13.0."
    ]
    assert titles(found, "pixi-platform") == ["`pixi run` will use linux-64-cuda13, in environment 'default'."]
    assert titles(found, "gpu-found") == ["NVIDIA H100 80GB HBM3, compute capability 9.0, 80 GB"]


def test_a_machine_without_nvidia_hardware_is_healthy():
    found = diagnose(facts(CPU_ONLY))
    assert bad(found) == []
    assert titles(found, "pixi-platform") == ["`pixi run` will use linux-64-cpu, in environment 'default'."]
    assert "no-gpu" in ids(found)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"request__build_cuda": "14.0"}, "driver-too-old"),
        ({"cuda__driver_version": "11.8"}, "driver-too-old"),
        ({"nvml__init": {"code": 18, "text": "mismatch"}}, "nvml-failed"),
    ],
)
def test_each_fault_is_named(changes, expected):
    found = diagnose(facts(**changes))
    assert expected in bad(found)
    one = next(one for one in found if one.id == expected)
    assert one.evidence
    assert one.advice
    assert one.link.startswith("https://")


@pytest.mark.parametrize(
    ("runs", "wanted", "told"),
    [
        ("13.0", None, "This driver (580.159.04) runs CUDA 13 and 12 builds; its own CUDA version is 13.0."),
        ("14.1", "13.0", "This driver (580.159.04) runs CUDA 14 and 13 builds; its own CUDA version is 14.1."),
        ("12.2", None, "This driver (580.159.04) runs CUDA 12 and 11 builds; its own CUDA version is 12.2."),
        ("12.2", "12.9", "This driver (580.159.04) runs CUDA 12 and 11 builds; its own CUDA version is 12.2."),
        ("11.8", "11.8", "This driver (580.159.04) runs CUDA 11 builds; its own CUDA version is 11.8."),
    ],
)
def test_a_driver_runs_the_builds_of_its_cuda_major_and_of_the_one_before(runs, wanted, told):
    platforms = [row | {"cuda": row["cuda"] and f"{row['cuda'][:2]}.6"} for row in PLATFORMS]
    found = diagnose(facts(cuda__driver_version=runs, request__build_cuda=wanted, pixi__platforms=platforms))
    assert titles(found, "driver-runs") == [told]
    assert "driver-too-old" not in ids(found)


@pytest.mark.parametrize(
    ("runs", "wanted", "needs", "instead"),
    [
        ("12.9", "13.0", "13", "pixi run smoke # Pixi picks the CUDA 12 build"),
        ("11.8", "13.0", "13", "pixi run -e cpu smoke"),
        ("11.8", None, "12", "pixi run -e cpu smoke"),
    ],
)
def test_a_driver_that_is_too_old_is_told_with_what_runs_meanwhile(runs, wanted, needs, instead):
    found = diagnose(facts(cuda__driver_version=runs, request__build_cuda=wanted))
    (one,) = [one for one in found if one.id == "driver-too-old"]
    assert f"CUDA {needs}" in one.title
    assert any(step.startswith(instead) for step in one.advice)
    assert "driver-runs" not in ids(found)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"nvml__driver_version": "580.65.06"}, "580.65.06"),
        ({"host__kernel_module": None}, "version unknown"),
    ],
)
def test_a_driver_is_named_by_the_version_that_is_known(changes, name):
    assert f"({name})" in titles(diagnose(facts(**changes)), "driver-runs")[0]


def test_without_a_gpu_or_a_version_nothing_is_said_of_builds():
    for unknown in (facts(cuda__driver_version=None), facts(CPU_ONLY, cuda__driver_version="11.8")):
        assert not {"driver-runs", "driver-too-old"} & set(ids(diagnose(unknown)))


def test_a_gpu_that_does_not_answer_cuda_is_named_and_the_others_are_found():
    broken = {"failed_call": "cuDeviceGetName", "error": {"code": 719, "name": "CUDA_ERROR_LAUNCH_FAILED"}}
    found = diagnose(facts(cuda__devices=[broken, H100 | {"memory_mib": None}]))
    assert [(one.id, one.gpu) for one in found if one.id.startswith("gpu-")] == [
        ("gpu-not-answering", 0),
        ("gpu-found", 1),
    ]
    assert "CUDA_ERROR_LAUNCH_FAILED" in titles(found, "gpu-not-answering")[0]
    assert titles(found, "gpu-found")[0].endswith(", ? GB")
    nameless = broken | {"error": {"code": 719, "name": ""}}
    assert "no name" in titles(diagnose(facts(cuda__devices=[nameless])), "gpu-not-answering")[0]


def test_what_pixi_is_told_and_what_is_installed_belong_to_it():
    installed = [{"environment": "default", "subdir": "linux-64", "cuda": "13.0"}]
    found = ids(diagnose(facts(env__CONDA_OVERRIDE_CUDA="13.0", pixi__installed=installed)))
    assert {"cuda-override", "environment-installed"} <= set(found)


def test_surroundings_are_told():
    changes = {"env__CUDA_VISIBLE_DEVICES": "1", "nvml__gpus": [{}, {}], "host__container": "docker", "host__wsl": True}
    found = diagnose(facts(**changes))
    assert bad(found) == []
    assert titles(found, "surroundings") == ["This runs in a container (docker).", "This runs in WSL."]
    assert titles(found, "gpus-chosen") == ["CUDA_VISIBLE_DEVICES is '1': of this machine's GPUs CUDA sees 1 of 2."]
    found = diagnose(facts(env__CUDA_VISIBLE_DEVICES="0", nvml__gpus=None))
    assert titles(found, "gpus-chosen") == ["CUDA_VISIBLE_DEVICES is '0': of this machine's GPUs CUDA sees 1 of 1."]
    assert "surroundings" not in ids(found)
    hidden = diagnose(facts(env__CUDA_VISIBLE_DEVICES="7", cuda__init={"code": 100}, cuda__devices=[]))
    assert "gpus-chosen" not in ids(hidden)


@pytest.mark.parametrize(
    ("value", "mig", "words"),
    [
        ("0,1", 0, "names 2 GPUs, and CUDA shows 1: "),
        ("0, GPU-8ab2 ,7", None, "names 3 GPUs, and CUDA shows 1: "),
        ("0", 0, None),
        ("0,-1,1", 0, None),  # as people hide the rest
        ("0,", 0, None),
        ("0,abc", 0, None),
        ("0,1", 1, None),
        ("MIG-8ab2,MIG-9bc3", None, None),
    ],
)
def test_a_gpu_that_a_job_was_given_and_that_is_not_there_is_missed(value, mig, words):
    found = diagnose(facts(env__CUDA_VISIBLE_DEVICES=value, nvml__gpus=[{"mig_mode": mig}]))
    assert bad(found) == (["gpu-missing"] if words else [])
    assert all(words in one.title for one in found if one.id == "gpu-missing")


NAMES = [
    *HEALTHY,
    "cuda.probe",
    "pixi.version",
    "pixi.cuda",
    "pixi.current",
    "request.build_cuda",
    "env.CONDA_OVERRIDE_CUDA",
]
KEYS = """
code name text cuda subdir environment default memory_mib uuid index error unread clock_reasons remapped_rows pending
processes pid power_limit_w power_limit_default_w recovery_action memory_used_mib mig_mode mig_devices
"""
ODD = nested(KEYS.split())
VALUES = ODD | st.sampled_from(list(HEALTHY.values())) | st.sampled_from(list(CPU_ONLY.values()))


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_no_facts_whatever_make_a_rule_raise(values):
    found = diagnose(Facts({name: Fact(value, "a test") for name, value in values.items()}))
    assert {one.id for one in found} <= set(catalogue())
    assert all(one in found for one in problems(found))
