"""What a lock shows of itself, of a machine that isn't here and of an older lock, through `audit`.

A case alters a copy of this repository's pixi.toml and pixi.lock, beside which old.lock is as the lock was before.
"""

import json

import pytest

from gpusmoke.findings import catalogue

pytest.importorskip("rattler")

STAND_IN = "lock"
LINUX = ("--subdir", "linux-64")
SINCE = ("--diff", "old.lock", *LINUX)
V100 = ("--driver", "580", "--gpu", "7.0", *LINUX)  # the driver is new enough for CUDA 13, and the card is too old

CUDA12 = 'cuda12 = { features = ["cuda12"], solve-group = "pytorch" }\n'
LINT = 'lint = { features = ["lint", "bare", "cpu"], no-default-feature = true }\n'
SPARE = 'spare = ["cuda13"]\n'


def as_it_is(workspace):
    pass


def instead(old, new):
    """A package in the place of another, in every environment that holds that."""
    return lambda workspace: workspace.lock_instead(old, new)


def declared(old, new):
    """The first platform for one CUDA is for another, and was locked so."""

    def alter(workspace):
        workspace.alter("pixi.toml", f'cuda = "{old}" }},', f'cuda = "{new}" }},', 1)
        workspace.alter("pixi.lock", f"__cuda={old}", f"__cuda={new}", 1)

    return alter


def asked_for(old, new):
    """A line of pixi.toml in another's place, of which the lock does not know."""
    return lambda workspace: workspace.alter("pixi.toml", old, new)


def without_cuda12(workspace):
    """Nothing is bound to the CUDA 12 platform any more, which stays for `default` to pick."""
    workspace.alter("pixi.toml", CUDA12, "")
    workspace.unlock("cuda12")


CASES = [
    # By itself.
    ("cpu-build-on-cuda-platform", instead("pytorch cuda130", "pytorch cpu"), (), "pytorch = { version"),
    ("cuda-majors-mixed", instead("libcublas 13", "libcublas 12"), (), "pixi tree -e NAME --platform linux-64-cuda13"),
    ("declared-cuda-differs", declared("13.0", "12.1"), (), 'cuda = "13.0" # in pixi.toml'),
    ("declared-cuda-differs", instead("pytorch cpu", "pytorch cuda130"), (), 'cuda = "13.0" # in pixi.toml'),
    ("environment-missing-from-lock", asked_for(LINT, LINT + SPARE), (), "pixi lock"),
    ("locked-but-not-declared", asked_for(LINT, ""), (), "pixi lock"),
    # A machine that isn't here.
    ("picks-wrong-build", as_it_is, V100, "pixi run -e cuda12 smoke"),
    ("no-environment-bound", without_cuda12, V100, 'cuda12 = ["cuda12"] # in pixi.toml'),
    (
        "no-environment-runs-there",
        instead("pytorch cuda129", "pytorch cpu"),
        ("--driver", "560", *LINUX),
        '{ name = "linux-64-cuda12", platform = "linux-64", cuda = "12.0" }',
    ),
    ("no-driver-there", as_it_is, ("--driver", "470"), "nvidia-smi # there: once its driver is 525.60.13"),
    ("no-cuda-build", as_it_is, ("--driver", "580", "--subdir", "osx-arm64"), "pixi run audit"),
    ("no-build-for-gpu", as_it_is, ("--gpu", "3.5"), "TORCH_CUDA_ARCH_LIST=3.5 pip install"),
    # Two locks.
    ("cuda-no-longer-locked", without_cuda12, SINCE, "pixi run audit --driver VERSION --gpu X.Y"),
    ("driver-floor-raised", declared("12.0", "12.4"), SINCE, "pixi run audit --driver VERSION --gpu X.Y"),
    ("gpus-dropped", instead("pytorch cuda130", "pytorch cpu"), SINCE, "pixi run audit --driver VERSION --gpu X.Y"),
]
NAMED = {kind for kind, *_ in CASES}


@pytest.mark.parametrize(("expected", "alter", "args", "advice"), CASES, ids=[case[0] for case in CASES])
def test_each_failure_of_a_lock_is_named_with_its_cure(workspace, named, expected, alter, args, advice):
    workspace.copy("pixi.lock", "old.lock")
    alter(workspace)
    done = workspace.kit("audit", "--json", *args)
    assert done.stderr == ""
    named(done, expected, advice)
    # Nothing else is wrong, so that the exit code is this one's.
    findings = json.loads(done.stdout)["findings"]
    assert {one["id"] for one in findings if one["severity"] in ("problem", "warning")} == {expected}
    assert done.returncode == (1 if catalogue()[expected]["severity"] == "problem" else 0)
