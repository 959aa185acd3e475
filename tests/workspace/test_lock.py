"""pixi.lock holds what pixi.toml asks for, on every platform: read with py-rattler, no Pixi and no network needed."""

import functools
import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from rattler import Channel, LockFile

from gpusmoke.facts.workspace import cuda_of, declared_platforms, environment_platforms

ROOT = Path(__file__).parents[2]
MANIFEST = tomllib.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
PLATFORMS = {platform["name"]: platform for platform in declared_platforms(MANIFEST)}
DECLARED = [(environment, name) for environment, names in environment_platforms(MANIFEST).items() for name in names]
# doctor and lint are outside the solve-group, and hold no PyTorch.
PYTORCH = [row for row in DECLARED if "solve-group" in MANIFEST["environments"][row[0]]]
DOCTOR_MEGABYTES = 75


@functools.cache
def lock():
    """The locked packages by name, for each environment and platform."""
    # The lock calls its platforms p1, p2, …: only subdir and CUDA say which one it means.
    names = {(platform["subdir"], platform["cuda"]): name for name, platform in PLATFORMS.items()}
    locked = {}
    for environment, content in LockFile.from_path(ROOT / "pixi.lock").environments():
        for platform in content.platforms():
            meant = str(platform.subdir), cuda_of(platform.virtual_packages)
            packages = {package.name: package for package in content.packages(platform)}
            locked[environment, names.get(meant, f"{meant} of no declared platform")] = packages
    return locked


def asked_for(environment, name):
    """What pixi.toml asks for there, package by package, as conda writes it: "pytorch >=2.12,<3 cuda130*"."""
    subdir = PLATFORMS[name]["subdir"]
    family = "win" if subdir.startswith("win") else "unix"
    entry = MANIFEST["environments"][environment]
    features = [MANIFEST["feature"][feature] for feature in entry.get("features", [])]
    for feature in features + ([] if entry.get("no-default-feature") else [MANIFEST]):
        asked = dict(feature.get("dependencies", {}))
        for selector, target in feature.get("target", {}).items():
            if selector in (subdir, family, subdir.partition("-")[0]) or fnmatchcase(name, selector):
                asked |= target.get("dependencies", {})
        for package, value in asked.items():
            spec = value if isinstance(value, dict) else {"version": value}
            yield package, f"{package} {spec.get('version', '*')} {spec.get('build', '')}".strip()


def megabytes(packages):
    return sum(package.package_record.size for package in packages.values()) / 1e6


def needing_a_driver(packages):
    depends = {name: package.package_record.depends for name, package in packages.items()}
    return [name for name, specs in depends.items() if "__cuda" in (spec.split()[0] for spec in specs)]


def rows(pairs, *, cuda):
    return pytest.mark.parametrize(
        ("environment", "platform"), [row for row in pairs if bool(PLATFORMS[row[1]]["cuda"]) is cuda]
    )


def test_every_environment_is_locked_for_each_of_its_platforms_and_no_other():
    assert lock().keys() == set(DECLARED)


@pytest.mark.parametrize(("environment", "platform"), DECLARED)
def test_the_lock_holds_what_the_manifest_asks_for(environment, platform):
    packages = lock()[environment, platform]
    asked = list(asked_for(environment, platform))
    assert asked
    assert [spec for name, spec in asked if name not in packages or not packages[name].satisfies(spec)] == []


@rows(PYTORCH, cuda=True)
def test_a_cuda_platform_gets_pytorch_and_toolkit_of_its_own_cuda(environment, platform):
    major = PLATFORMS[platform]["cuda"].split(".")[0]
    packages = lock()[environment, platform]
    build = str(packages["pytorch"].package_record.build)
    assert re.match(rf"cuda{major}\d_", build)
    assert str(packages["cuda-version"].version).split(".")[0] == major
    assert "pytorch" in needing_a_driver(packages)
    # Build and cuda-version are both named in pixi.toml: what the solver is free to choose, it will change one day.
    asked = dict(asked_for(environment, platform))
    assert asked["pytorch"].endswith(f" {build.partition('_')[0]}*")
    assert asked["cuda-version"] == f"cuda-version {packages['cuda-version'].version}.*"


@rows(PYTORCH, cuda=False)
def test_a_cpu_platform_gets_a_cpu_build(environment, platform):
    packages = lock()[environment, platform]
    assert str(packages["pytorch"].package_record.build).startswith("cpu")
    assert "cuda-version" not in packages


@rows(DECLARED, cuda=False)
def test_nothing_on_a_cpu_platform_needs_a_driver(environment, platform):
    assert needing_a_driver(lock()[environment, platform]) == []


@pytest.mark.parametrize(("environment", "platform"), [row for row in PYTORCH if row[0] != "default"])
def test_a_variant_holds_the_very_packages_that_default_gets_there(environment, platform):
    variant, default = (lock()[name, platform].values() for name in (environment, "default"))
    assert {package.location for package in variant} == {package.location for package in default}


@pytest.mark.parametrize("platform", [name for environment, name in DECLARED if environment == "doctor"])
def test_doctor_is_a_small_download(platform):
    assert 0 < megabytes(lock()["doctor", platform]) <= DOCTOR_MEGABYTES


@pytest.mark.parametrize(("environment", "platform"), DECLARED)
def test_every_package_is_pinned_by_hash_and_comes_from_a_declared_channel(environment, platform):
    channels = tuple(Channel(name).base_url for name in MANIFEST["workspace"]["channels"])
    packages = lock()[environment, platform].values()
    assert [package.location for package in packages if not package.location.startswith(channels)] == []
    assert all(package.hashes.sha256 for package in packages)
