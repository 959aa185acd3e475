"""What Pixi makes of a machine whose driver works, through `doctor`: a stand-in pixi, a manifest and installations.

A case gives what differs from a machine on which all is well.
"""

import json
import os
import shutil

import pytest

from gpusmoke.findings import catalogue

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux")

STAND_IN = "pixi"
MANIFEST = """
[workspace]
platforms = [
  { name = "linux-64-cuda13", platform = "linux-64", cuda = "13.0" },
  { name = "linux-64-cuda12", platform = "linux-64", cuda = "12.0" },
  { name = "linux-64-cpu", platform = "linux-64" },
]
[environments]
spare = []
"""
BOUND = 'default = ["cuda13"]\n[feature.cuda13]\nplatforms = ["linux-64-cuda13"]\n'
LIMIT = "import gpusmoke.findings.pixi as p; p.SLOW_SECONDS = {}"


def sees(cuda, seconds=0):
    """A pixi that sees that CUDA, or none, and takes its time."""
    packages = [f"__cuda={cuda}=0"] if cuda else []
    answer = {"version": "0.77.0", "virtual_packages": packages, "environments_info": []}
    return f"{shutil.which('sleep')} {seconds}; echo '{json.dumps(answer)}'"


WELL = sees("13.0")
SILENT = "exit 1"  # what Pixi picks is then worked out from nvidia-smi and CONDA_OVERRIDE_CUDA
DRIVER_12 = {"state": {"cuDriverGetVersion.value": 12040}, "pixi": sees("12.4")}

CASES = [
    ("cpu-platform-on-gpu-machine", {"pixi": sees(None)}, "command -v nvidia-smi"),
    ("cpu-platform-on-gpu-machine", {"pixi": SILENT, "nvidia_smi": None}, "command -v nvidia-smi"),
    ("cpu-platform-on-gpu-machine", {"pixi": SILENT, "env": {"CONDA_OVERRIDE_CUDA": ""}}, "command -v nvidia-smi"),
    ("sticky-platform", {"installed": {"default": None}}, "pixi install -e default"),
    ("sticky-platform-elsewhere", {"installed": {"spare": None}}, "pixi install -e spare"),
    ("installed-needs-driver", {"pixi": sees(None), "installed": {"default": "13.0"}}, "pixi info"),
    ("environment-needs-newer-driver", DRIVER_12 | {"installed": {"default": "13.0"}}, "pixi install -e default"),
    ("environment-needs-newer-driver", DRIVER_12 | {"manifest": MANIFEST + BOUND}, "pixi install -e default"),
    ("unsupported-platform", {"pixi": sees(None), "manifest": MANIFEST + BOUND}, "pixi info"),
    ("pixi-driver-disagree", {"pixi": sees("12.4")}, "env | grep CONDA_OVERRIDE"),
    ("nvidia-smi-slow", {"pixi": sees("13.0", seconds=0.3), "limit": 0.2}, "time nvidia-smi"),
    ("cuda-override-too-high", {"env": {"CONDA_OVERRIDE_CUDA": "13.1"}}, "unset CONDA_OVERRIDE_CUDA"),
    ("cuda-override", {"env": {"CONDA_OVERRIDE_CUDA": "13.0"}}, "unset CONDA_OVERRIDE_CUDA"),
]
NAMED = {kind for kind, *_ in CASES}


@pytest.fixture
def doctor(kit, driver, fake_root, tmp_path):
    """Run doctor on a machine on which all is well but for the arguments."""

    def run(state="", pixi=WELL, nvidia_smi="exit 0", manifest=MANIFEST, installed=(), limit=None, env=()):
        (kit.cwd / "pixi.toml").write_text(manifest)
        for name, body in {"pixi": pixi, "nvidia-smi": nvidia_smi}.items():
            if body is not None:
                kit.program(name, body)
        for name, cuda in dict(installed).items():
            kit.install(name, cuda)
        env = driver(state) | {"GPUSMOKE_ROOT": str(fake_root)} | dict(env)
        if limit is not None:
            (tmp_path / "sitecustomize.py").write_text(LIMIT.format(limit))
            env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
        return kit("doctor", "--json", env=env)

    return run


@pytest.mark.parametrize(("expected", "differs", "advice"), CASES, ids=[case[0] for case in CASES])
def test_each_failure_of_pixi_is_named_with_its_cure(doctor, named, expected, differs, advice):
    done = doctor(**differs)
    assert done.stderr == ""
    assert named(done, expected, advice)["evidence"]
    # No other problem, so that the exit code is this one's.
    problems = {one["id"] for one in json.loads(done.stdout)["findings"] if one["severity"] == "problem"}
    assert problems == ({expected} if catalogue()[expected]["severity"] == "problem" else set())
    assert done.returncode == len(problems)


def test_where_nothing_differs_nothing_is_wrong(doctor):
    done = doctor()
    assert {one["severity"] for one in json.loads(done.stdout)["findings"]} == {"ok"}
