"""Which platform Pixi picks: the rule that was tried with Pixi 0.77 (CUDA 13.0, 12.4 and none)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.platforms import conda_subdir, cuda_seen_by_pixi, pick, version

PLATFORMS = [
    {"name": "linux-64-cuda13", "subdir": "linux-64", "cuda": "13.0"},
    {"name": "linux-64-cuda12", "subdir": "linux-64", "cuda": "12.0"},
    {"name": "linux-64-cpu", "subdir": "linux-64", "cuda": None},
    {"name": "osx-arm64-cpu", "subdir": "osx-arm64", "cuda": None},
]


@pytest.mark.parametrize(
    ("cuda", "name"),
    [
        ("13.0", "linux-64-cuda13"),
        ("13.4", "linux-64-cuda13"),
        ("12.4", "linux-64-cuda12"),
        ("12.0", "linux-64-cuda12"),
        ("11.8", "linux-64-cpu"),
        (None, "linux-64-cpu"),
    ],
)
def test_the_first_platform_the_host_meets_wins(cuda, name):
    assert pick(PLATFORMS, "linux-64", cuda)["name"] == name


def test_order_is_priority():
    assert pick(reversed(PLATFORMS), "linux-64", "13.0")["name"] == "linux-64-cpu"


def test_another_system_has_its_own_platforms():
    assert pick(PLATFORMS, "osx-arm64", None)["name"] == "osx-arm64-cpu"
    assert pick(PLATFORMS, "win-64", "13.0") is None


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_versions_compare_by_number(a, b, c, d):
    assert (version(f"{a}.{b}") < version(f"{c}.{d}")) == ((a, b) < (c, d))


@pytest.mark.parametrize("text", [None, "", "13.x", "cuda", "13..0"])
def test_what_is_no_version_is_below_every_version(text):
    assert version(text) == ()
    assert version(text) < version("0")


@pytest.mark.parametrize(
    ("system", "machine", "subdir"),
    [
        ("Linux 6.1", "x86_64", "linux-64"),
        ("Linux 6.1", "aarch64", "linux-aarch64"),
        ("Darwin 25.0", "arm64", "osx-arm64"),
        ("Windows 11", "AMD64", "win-64"),
    ],
)
def test_conda_subdir(system, machine, subdir):
    assert conda_subdir(Facts({"host.system": Fact(system, ""), "host.machine": Fact(machine, "")})) == subdir


def seen(**values):
    return cuda_seen_by_pixi(Facts({name.replace("__", "."): Fact(value, "") for name, value in values.items()}))


def test_pixis_own_word_wins():
    assert seen(pixi__version="0.77.0", pixi__cuda="12.4", cuda__driver_version="13.0", host__nvidia_smi="/x") == "12.4"
    assert seen(pixi__version="0.77.0", pixi__cuda=None, cuda__driver_version="13.0", host__nvidia_smi="/x") is None


def test_without_pixi_its_way_of_finding_the_driver_is_followed():
    assert seen(cuda__driver_version="13.0", host__nvidia_smi="/usr/bin/nvidia-smi") == "13.0"
    assert seen(cuda__driver_version="13.0", host__nvidia_smi=None) is None
    assert seen(cuda__driver_version="13.0", env__CONDA_OVERRIDE_CUDA="12.2") == "12.2"
    assert seen(cuda__driver_version="13.0", host__nvidia_smi="/x", env__CONDA_OVERRIDE_CUDA="") is None
