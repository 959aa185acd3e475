"""Whether a run of CI proves what it claims: each job has one result with which it has to end."""

from __future__ import annotations

from collections.abc import Iterator

from gpusmoke.facts import Facts, listed
from gpusmoke.findings import Finding, finding

PASSED, SKIPPED = "success", "skipped"


def expected(facts: Facts, job: str) -> str:
    """How a job has to end. A GPU job is skipped where there is no runner for it, and for a fork, which gets none."""
    if job not in listed(facts.value("ci.gpu_jobs")):
        return PASSED
    return PASSED if facts.flag("ci.gpu_runner") and not facts.flag("ci.fork") else SKIPPED


def judge(facts: Facts) -> list[Finding]:
    """Every finding of `gate`."""
    return [*exercised(facts), *results(facts)]


def exercised(facts: Facts) -> Iterator[Finding]:
    """Whether CUDA was, and if not, whether that will do."""
    jobs = listed(facts.value("ci.gpu_jobs"))
    evidence = facts.evidence("ci.gpu_runner", "ci.gpu_required", "ci.fork")
    ended = facts.row("ci.jobs")
    if facts.flag("ci.fork"):
        yield finding("fork-without-gpu", evidence)
    elif not facts.flag("ci.gpu_runner"):
        yield finding("gpu-runner-required" if facts.flag("ci.gpu_required") else "no-gpu-runner", evidence)
    elif all(ended.get(job) == PASSED for job in jobs):
        yield finding("gpu-jobs-passed", evidence, jobs=", ".join(map(str, jobs)))


def results(facts: Facts) -> Iterator[Finding]:
    """Each job that did not end as it had to, and those that passed in one line."""
    gpu_jobs, run = listed(facts.value("ci.gpu_jobs")), facts.text("ci.run")
    passed, others = [], 0
    for job, result in facts.row("ci.jobs").items():
        wanted = expected(facts, job)
        if result != wanted:
            evidence = [f"{job}: {result} (NEEDS)"]
            yield finding(
                "job-not-as-expected", evidence, job=job, result=result, expected=wanted, run=f"{run} " if run else ""
            )
        if job not in gpu_jobs:
            others += 1
            passed += [job] if result == PASSED else []
    if passed:
        yield finding("jobs-passed", [], count=len(passed), total=others, jobs=", ".join(passed))
