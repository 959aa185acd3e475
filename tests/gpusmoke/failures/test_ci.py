"""Runs of CI that must not be green, through `gate`: the results of their jobs, as GitHub hands them to it."""

import json

import pytest

STAND_IN = "needs"
NAMED = {"job-not-as-expected", "gpu-runner-required"}


@pytest.fixture
def gate(kit):
    """`gate(*args, test="success", …)`: the command after jobs with such results; capitals are variables."""

    def run(*args, **told):
        needs = {job: {"result": result, "outputs": {}} for job, result in told.items() if job.islower()}
        variables = {name: value for name, value in told.items() if name.isupper()}
        return kit("gate", *args, env={"NEEDS": json.dumps(needs)} | variables)

    return run


def ids(done):
    return [one["id"] for one in json.loads(done.stdout)["findings"]]


@pytest.mark.parametrize("result", ["failure", "cancelled", "skipped", "neutral", ""])
@pytest.mark.parametrize("job", ["lint", "gpu"])
def test_a_job_that_did_not_pass_is_red_whatever_github_thinks_of_it(gate, named, job, result):
    done = gate("--json", **({"lint": "success", "gpu": "success"} | {job: result}), GPU_RUNNER="a-gpu")
    found = named(done, "job-not-as-expected", "gh run view --log-failed")
    assert found["title"] == f"Job '{job}' ended with '{result}', and had to end with 'success'."
    assert ("gpu-jobs-passed" in ids(done)) is (job == "lint")


def test_a_gpu_job_skipped_by_a_failed_one_before_it_is_red_twice(gate):
    done = gate("--json", lock="failure", gpu="skipped", GPU_RUNNER="a-gpu")
    assert (done.returncode, ids(done)) == (1, ["job-not-as-expected", "job-not-as-expected"])


def test_without_a_runner_it_is_green_and_says_that_cuda_was_not_exercised(gate, valid):
    done = gate("--json", lint="success", gpu="skipped")
    record = json.loads(done.stdout)
    valid(record)
    assert (done.returncode, ids(done)) == (0, ["no-gpu-runner", "jobs-passed"])
    assert (
        gate("--markdown", lint="success", gpu="skipped").stdout.splitlines()[2].startswith("- CUDA was NOT exercised")
    )


def test_without_a_runner_a_gpu_job_that_ran_all_the_same_is_red(gate, named):
    done = gate("--json", lint="success", gpu="success")
    assert named(done, "job-not-as-expected", "gh run view")["title"].endswith("had to end with 'skipped'.")


def test_where_a_gpu_is_required_a_missing_runner_is_red(gate, named):
    done = gate("--json", lint="success", gpu="skipped", GPU_REQUIRED="true")
    assert named(done, "gpu-runner-required", "gh variable set GPU_RUNNER")["evidence"]


@pytest.mark.parametrize("required", ["true", "false"])
@pytest.mark.parametrize("runner", ["", "a-gpu"])
def test_a_fork_is_green_without_a_gpu_and_only_without(gate, required, runner):
    variables = {"FORK": "true", "GPU_REQUIRED": required, "GPU_RUNNER": runner}
    done = gate("--json", lint="success", gpu="skipped", **variables)
    assert (done.returncode, ids(done)) == (0, ["fork-without-gpu", "jobs-passed"])
    assert "merge queue" in done.stdout
    assert gate("--json", lint="success", gpu="success", **variables).returncode == 1
    assert gate("--json", lint="failure", gpu="skipped", **variables).returncode == 1


def test_with_a_runner_every_gpu_job_has_to_pass(gate):
    done = gate("--json", "--gpu-jobs", "gpu,soak", lint="success", gpu="success", soak="success", GPU_RUNNER="a-gpu")
    assert (done.returncode, ids(done)) == (0, ["gpu-jobs-passed", "jobs-passed"])
    assert "gpu, soak" in done.stdout
    half = gate("--json", "--gpu-jobs", "gpu,soak", lint="success", gpu="success", soak="skipped", GPU_RUNNER="a-gpu")
    assert (half.returncode, ids(half)) == (1, ["job-not-as-expected", "jobs-passed"])


@pytest.mark.parametrize(("variable", "value"), [("GPU_REQUIRED", " True "), ("FORK", "FALSE"), ("GPU_RUNNER", "  ")])
def test_variables_are_read_as_people_write_them(gate, variable, value):
    done = gate("--json", lint="success", gpu="skipped", **{variable: value})
    assert ids(done)[0] == ("gpu-runner-required" if variable == "GPU_REQUIRED" else "no-gpu-runner")


def test_a_problem_is_an_annotation_of_the_run(gate):
    done = gate(lint="failure", gpu="skipped", GITHUB_ACTIONS="true", GITHUB_RUN_ID="4711")
    assert "::error title=gate%3A job-not-as-expected::Job 'lint' ended with 'failure'" in done.stderr
    assert "gh run view 4711 --log-failed" in done.stderr


@pytest.mark.parametrize(
    ("variables", "args", "culprit"),
    [
        ({"NEEDS": ""}, (), "NEEDS does not hold"),
        ({"NEEDS": "{"}, (), "NEEDS does not hold"),
        ({"NEEDS": "[]"}, (), "NEEDS does not hold"),
        ({"NEEDS": '{"gpu": "success"}'}, (), "NEEDS does not hold"),
        ({"NEEDS": "{}"}, (), "NEEDS has no job 'gpu'"),
        ({}, ("--gpu-jobs", "gpu,nosuch"), "NEEDS has no job 'nosuch'"),
        ({}, ("--gpu-jobs", ","), "--gpu-jobs names no job"),
        ({"GPU_REQUIRED": "yes"}, (), "GPU_REQUIRED is 'yes'"),
        ({"FORK": "no"}, (), "FORK is 'no'"),
    ],
)
def test_a_gate_that_does_not_know_stays_shut(gate, variables, args, culprit):
    done = gate(*args, lint="success", gpu="skipped", **variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert culprit in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
