"""The action's one step, run for real from another project's folder; only the measuring, and Pixi, are stand-ins."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github/actions/gpu-smoke"
STAND_INS = Path(__file__).parent / "stand_ins"
RECORD = ROOT / "tests/gpusmoke/data/h100-smoke.json"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script; GPU runners on Windows have not been run")


class Step:
    """The step, in a folder that is another project's."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "project").mkdir()
        for stand_in in ("python", "setup-pixi/pixi"):
            shutil.copy(STAND_INS / stand_in, folder / "bin")

    def __call__(self, **changes):
        """Run it with these inputs and variables; returns what it ended with."""
        inputs = {"ENVIRONMENT": "cuda13", "PYTHON": "", "REQUIRE_GPU": "true", "RESULTS": "out put"}
        inputs |= dict.fromkeys(("MEASURE_SECONDS", "BASELINE", "TOLERANCE"), "")
        runner = {name: str(self.folder / name) for name in ("CALLS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        runner |= {
            "REAL_PYTHON": sys.executable,
            "RUNNER_TEMP": str(self.folder / "temp"),
            "STAND_IN_RECORD": str(RECORD),
        }
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | inputs | runner | {"PATH": path} | changes
        return subprocess.run(
            [ACTION / "smoke"],
            env=env,
            cwd=self.folder / "project",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def written(self, name):
        """What the runner would find there."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def smoke(self):
        """How smoke was called."""
        return [line for line in self.written("CALLS").splitlines() if "gpusmoke smoke" in line]


@pytest.fixture
def step(tmp_path):
    return Step(tmp_path)


def test_a_healthy_gpu_is_green_with_its_table_in_the_summary_and_its_rate_as_output(step):
    done = step()
    assert done.returncode == 0, done.stderr
    summary = step.written("GITHUB_STEP_SUMMARY")
    assert summary.startswith("### smoke: Healthy.")
    assert "| bf16 8192³ | 779.7 | 681.2 |" in re.sub(" +", " ", summary)
    verdict, record, tflops = step.written("GITHUB_OUTPUT").splitlines()
    assert (verdict, tflops) == ("verdict=healthy", "tflops=681.16")
    path = step.folder / "project" / record.removeprefix("record=")
    assert path.read_text() == RECORD.read_text()
    assert path.parents[1].name == "out put"


def test_it_runs_the_locked_environment_of_its_own_repository_and_asks_for_a_gpu(step):
    step()
    pixi, python = step.smoke()
    assert pixi.startswith(f"pixi run --locked --manifest-path {ROOT}/pixi.toml --environment cuda13 python -P -m ")
    assert re.search(r"smoke --results out put/smoke-\w+ --require-gpu$", python)


def test_every_input_reaches_smoke(step):
    step(REQUIRE_GPU="false", MEASURE_SECONDS="60", BASELINE="base lines", TOLERANCE="3")
    assert re.search(r"smoke-\w+ --seconds 60 --baselines base lines --tolerance 3$", step.smoke()[0])


@pytest.mark.parametrize("text", ["", "no", "False", "0"])
def test_only_the_word_false_lets_a_missing_gpu_pass(step, text):
    step(REQUIRE_GPU=text)
    assert "--require-gpu" in step.smoke()[0]


def test_the_exit_code_is_smokes_own_and_its_record_is_shown_all_the_same(step):
    done = step(STAND_IN_EXIT="1")
    assert done.returncode == 1
    assert "bf16" in step.written("GITHUB_STEP_SUMMARY")
    assert "verdict=" in step.written("GITHUB_OUTPUT")


def test_where_it_could_not_even_start_it_is_red_without_a_summary(step):
    done = step(STAND_IN_RECORD="", STAND_IN_EXIT="2")
    assert done.returncode == 2
    assert step.written("GITHUB_STEP_SUMMARY") == step.written("GITHUB_OUTPUT") == ""


def test_the_callers_python_is_used_without_pixi_and_keeps_its_own_packages(step):
    (step.folder / "bin/pixi").unlink()
    done = step(PYTHON="python", PYTHONPATH="/somewhere")
    assert done.returncode == 0, done.stderr
    assert "pip install" not in step.written("CALLS")
    assert step.written("GITHUB_OUTPUT").startswith("verdict=healthy")


def test_what_the_callers_python_lacks_is_put_beside_it_as_pinned(step):
    step(PYTHON="python", STAND_IN_LACKS="1")
    (install,) = [line for line in step.written("CALLS").splitlines() if "pip install" in line]
    assert f"--target {step.folder}/temp/gpusmoke-packages " in install
    assert re.search(r" nvidia-ml-py==[\d.]+ rich==[\d.]+$", install)


def test_results_of_an_earlier_run_are_not_taken_for_this_ones(step):
    old = step.folder / "project/out put/smoke-20200101T000000Z.json"
    old.parent.mkdir()
    shutil.copy(ROOT / "tests/gpusmoke/data/h100-bench.json", old)
    step()
    assert step.written("GITHUB_STEP_SUMMARY").count("###") == 1
    assert old.exists()


def test_the_steps_variables_are_the_inputs_of_the_action():
    """A renamed input, or one that is forgotten in `env`, would leave its variable empty."""
    text = (ACTION / "action.yml").read_text(encoding="utf-8")
    env = dict(re.findall(r"^        ([A-Z_]+): \$\{\{ inputs\.([\w-]+) \}\}$", text, re.MULTILINE))
    read = set(re.findall(r"\$\{?([A-Z][A-Z_]+)\b", (ACTION / "smoke").read_text(encoding="utf-8")))
    runners = {"RUNNER_TEMP", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "PYTHONPATH", "BASH_SOURCE"}
    assert read - runners == set(env)
    declared = re.findall(r"^  ([\w-]+):\n    description", text[: text.index("\noutputs:")], re.MULTILINE)
    assert set(declared) == {*env.values(), "pixi-version"}
