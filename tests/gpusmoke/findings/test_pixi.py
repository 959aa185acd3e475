"""What `pixi run` uses here, on hand-made facts: installed, picked, refused, or a GPU left unused."""

import pytest

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.pixi import choice, environment_in_question, installations, override

PLATFORMS = [
    {"name": "linux-64-cuda13", "subdir": "linux-64", "cuda": "13.0"},
    {"name": "linux-64-cuda12", "subdir": "linux-64", "cuda": "12.0"},
    {"name": "linux-64-cpu", "subdir": "linux-64", "cuda": None},
]
ENVIRONMENTS = {
    "default": [row["name"] for row in PLATFORMS],
    "cuda13": ["linux-64-cuda13"],
    "cpu": ["linux-64-cpu"],
    "doctor": ["linux-64-cpu"],
}
ON_GPU = {
    "host.system": "Linux 6.1",
    "host.machine": "x86_64",
    "host.nvidia_smi": "/usr/bin/nvidia-smi",
    "cuda.driver_version": "13.0",
    "pixi.executable": "/usr/bin/pixi",
    "pixi.version": "0.77.0",
    "pixi.cuda": "13.0",
    "pixi.current": {"environment": "doctor", "subdir": "linux-64", "cuda": None},
    "pixi.platforms": PLATFORMS,
    "pixi.environments": ENVIRONMENTS,
    "pixi.installed": [],
}
NO_PIXI = {"pixi.executable": None, "pixi.version": None, "pixi.cuda": None, "pixi.current": None}
UNSEEN = {"pixi.cuda": None, "host.nvidia_smi": None}


def row(environment, cuda, subdir="linux-64"):
    return {"environment": environment, "subdir": subdir, "cuda": cuda}


OLDER = {"pixi.cuda": "12.4", "cuda.driver_version": "12.4"}
OTHER = {
    "pixi.environments": ENVIRONMENTS | {"other": ENVIRONMENTS["default"]},
    "pixi.installed": [row("other", "13.0")],
}


def found(*changes, cuda_usable=True):
    values = dict(ON_GPU)
    for change in changes:
        values |= change
    facts = Facts({name: Fact(value, "a test") for name, value in values.items()})
    return [*override(facts), *choice(facts, cuda_usable), *installations(facts)]


def ids(*changes, **options):
    return [one.id for one in found(*changes, **options)]


def test_the_first_platform_that_fits_is_told():
    (one,) = found()
    assert one.title == "`pixi run` will use linux-64-cuda13, in environment 'default'."


def test_the_environment_that_this_runs_in_is_asked_where_it_has_a_cuda_platform():
    own = {"pixi.environments": ENVIRONMENTS | {"cuda12": ["linux-64-cuda12"]}, "pixi.current": row("cuda12", "12.0")}
    (one,) = found(own)
    assert one.title == "`pixi run` will use linux-64-cuda12, in environment 'cuda12'."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Nothing is installed yet.
        ([{"pixi.cuda": "12.4", "cuda.driver_version": "12.4"}], ["pixi-platform"]),
        ([UNSEEN], ["cpu-platform-on-gpu-machine"]),
        ([{"env.CONDA_OVERRIDE_CUDA": ""}, UNSEEN], ["cuda-override", "cpu-platform-on-gpu-machine"]),
        # The driver is too old for every CUDA platform: nvidia-smi on PATH would not help.
        ([{"pixi.cuda": "11.8", "cuda.driver_version": "11.8"}], ["pixi-platform"]),
        # Installed, and what Pixi would pick.
        ([{"pixi.installed": [row("default", "13.0")]}], ["pixi-platform", "environment-installed"]),
        # Installed for an older CUDA, which this driver runs as well.
        ([{"pixi.installed": [row("default", "12.0")]}], ["pixi-stays", "environment-installed"]),
        # Installed where there was no GPU.
        ([{"pixi.installed": [row("default", None)]}], ["sticky-platform"]),
        ([UNSEEN, {"pixi.installed": [row("default", "13.0")]}], ["installed-needs-driver"]),
        (
            [UNSEEN, {"pixi.installed": [row("default", None)]}],
            ["cpu-platform-on-gpu-machine", "environment-installed"],
        ),
        # Another environment is not what this user runs: said, but not a problem of this run.
        ([{"pixi.installed": [row("default", "13.0")]}, NO_PIXI], ["pixi-platform", "environment-installed"]),
        ([UNSEEN, OTHER], ["cpu-platform-on-gpu-machine", "installed-for-another-machine"]),
        ([OLDER, OTHER], ["pixi-platform", "installed-for-another-machine"]),
        ([{"pixi.installed": [row("cpu", None)]}], ["pixi-platform", "environment-installed"]),
        ([{"pixi.installed": [row("unknown", None)]}], ["pixi-platform", "environment-installed"]),
        ([{"pixi.installed": [row("default", None, "linux-aarch64")]}], ["pixi-platform", "environment-installed"]),
    ],
)
def test_what_pixi_runs_here(changes, expected):
    assert ids(*changes) == expected


ARCH = [{"name": "a", "subdir": "linux-64", "cuda": "12.0", "arch": "8.6"}, PLATFORMS[2]]


@pytest.mark.parametrize(
    ("changes", "expected", "severity"),
    [
        ({"env.CONDA_OVERRIDE_CUDA": "13.0"}, "cuda-override", "warning"),
        ({"env.CONDA_OVERRIDE_CUDA": "13.1"}, "cuda-override-too-high", "problem"),
        ({"pixi.cuda": "12.9"}, "pixi-driver-disagree", "warning"),
        ({"pixi.info_seconds": 5.1}, "nvidia-smi-slow", "warning"),
        ({"pixi.platforms": ARCH}, "cuda-arch-undetected", "note"),
        ({"pixi.environments": {"default": ["linux-64-cuda13"]}, "pixi.cuda": None}, "unsupported-platform", "problem"),
        ({"pixi.environments": {"default": ["osx-arm64-cpu"]}}, "unsupported-platform", "problem"),
    ],
)
def test_what_stands_between_pixi_and_the_driver_is_named(changes, expected, severity):
    assert [one.severity for one in found(changes) if one.id == expected] == [severity]


@pytest.mark.parametrize(
    "changes",
    [
        {"pixi.info_seconds": 4.9},
        {"pixi.platforms": [*PLATFORMS, ARCH[0] | {"subdir": "linux-aarch64"}]},
        {"pixi.platforms": ARCH, "pixi.cuda_arch": "9.0"},
        {"pixi.environments": {"default": []}},
    ],
)
def test_an_orderly_pixi_gives_no_alarm(changes):
    assert {one.severity for one in found(changes)} <= {"ok"}


def test_why_pixi_will_refuse_is_told():
    changes = {"pixi.environments": {"default": ["linux-64-cuda13", "linux-64-cuda12"]}, "pixi.cuda": None}
    (one,) = [one for one in found(changes) if one.id == "unsupported-platform"]
    assert "linux-64-cuda13 needs CUDA 13.0, linux-64-cuda12 needs CUDA 12.0" in one.title
    (one,) = found({"pixi.environments": {"default": ["osx-arm64-cpu", "win-64-cpu"]}})
    assert "its platforms are osx-arm64-cpu, win-64-cpu" in one.title


def test_an_older_driver_is_not_refused_by_pixi_and_so_named_here():
    changes = {"pixi.environments": {"default": ["linux-64-cuda13", "linux-64-cuda12"]}, "pixi.cuda": "11.8"}
    (one,) = found(changes, {"cuda.driver_version": "11.8"})
    assert (one.id, one.severity) == ("environment-needs-newer-driver", "problem")
    assert "for CUDA 12.0, and this driver offers 11.8" in one.title


@pytest.mark.parametrize(
    ("current", "asked", "sticky"),
    [
        ({"environment": "doctor", "cuda": None}, "default", "sticky-platform"),
        ({"environment": "default", "cuda": None}, "default", "sticky-platform"),
        ({"environment": "cuda13", "cuda": "13.0"}, "cuda13", "sticky-platform-elsewhere"),
        (None, "default", "sticky-platform"),
    ],
)
def test_a_sticky_platform_is_a_problem_only_in_the_environment_that_is_used(current, asked, sticky):
    changes = {"pixi.current": current, "pixi.installed": [row("default", None), row("cuda13", "13.0")]}
    values = {name: Fact(value, "a test") for name, value in (ON_GPU | changes).items()}
    assert environment_in_question(Facts(values)) == asked
    assert sticky in ids(changes)
    assert [one.severity for one in found(changes) if one.id == sticky] == [
        "problem" if sticky == "sticky-platform" else "warning"
    ]


def test_without_pixi_its_choice_is_no_problem():
    assert ids(NO_PIXI) == ["pixi-platform"]
    (one,) = found(NO_PIXI, {"host.nvidia_smi": None})
    assert (one.id, one.severity) == ("pixi-would-take-cpu", "note")
    sticky = {"pixi.installed": [row("default", None)]}
    assert {one.id for one in found(NO_PIXI, sticky)} == {"pixi-platform", "sticky-platform-elsewhere"}


def test_a_workspace_that_never_asked_for_cuda_is_left_in_peace():
    plain = {
        "pixi.platforms": [{"name": "linux-64", "subdir": "linux-64", "cuda": None}],
        "pixi.environments": {"default": ["linux-64"]},
    }
    for more in ({}, UNSEEN):
        (one,) = found(plain, more)
        assert one.title == "`pixi run` will use linux-64, in environment 'default'."


def test_a_cuda_environment_without_a_driver_will_be_refused():
    changes = UNSEEN | {"cuda.driver_version": None, "pixi.installed": [row("default", "13.0")]}
    (one,) = found(changes, cuda_usable=False)
    assert (one.id, one.severity) == ("installed-for-another-machine", "note")  # a login node, say
    older = {"pixi.cuda": "12.4", "cuda.driver_version": "12.4"}
    (one,) = found(changes | older, cuda_usable=True)
    assert (one.id, one.severity) == ("environment-needs-newer-driver", "problem")
    (one,) = [one for one in found(changes | {"cuda.driver_version": "13.0"}) if one.id == "installed-needs-driver"]
    assert one.severity == "problem"
    assert one.advice[1] == "pixi install -e default # installs linux-64-cpu, which fits this machine"
    (one, _) = found(changes | older | {"pixi.installed": [row("cuda13", "13.0"), row("default", "12.0")]})[:2]
    assert one.severity != "problem"


def test_installed_environments_are_named_by_the_manifests_platform():
    rows = [row("default", "13.0"), row("cpu", None), row("old", "11.0"), row("away", None, "osx-arm64")]
    assert [one.title for one in found({"pixi.installed": rows}) if one.id == "environment-installed"] == [
        "Environment 'default' is installed for linux-64-cuda13.",
        "Environment 'cpu' is installed for linux-64-cpu.",
        "Environment 'old' is installed for linux-64, CUDA 11.0.",
        "Environment 'away' is installed for osx-arm64, CPU.",
    ]
