"""Whether a run of CI proves what it claims: each job has one result with which it has to end."""

from __future__ import annotations

from collections.abc import Iterator

from gpusmoke.facts import Facts, listed
from gpusmoke.findings import Finding, finding

PASSED, SKIPPED = "success", "skipped"


def gpu_jobs(facts: Facts) -> list[str]:
    """The jobs that run on the GPU runner."""
    return [str(job) for job in listed(facts.value("request.gpu_jobs"))]


def expected(facts: Facts, job: str) -> str:
    """How a job has to end. A GPU job is skipped where there is no runner for it, and for a fork, which gets none."""
    if job not in gpu_jobs(facts):
        return PASSED
    return PASSED if facts.flag("ci.gpu_runner") and not facts.flag("ci.fork") else SKIPPED


def judge(facts: Facts) -> list[Finding]:
    """Every finding of `gate`."""
    return [*exercised(facts), *results(facts)]


def exercised(facts: Facts) -> Iterator[Finding]:
    """Whether CUDA was, and if not, whether that will do."""
    jobs, ended = gpu_jobs(facts), facts.row("ci.jobs")
    evidence = facts.evidence("ci.gpu_runner", "ci.gpu_required", "ci.fork")
    if facts.flag("ci.fork"):
        yield finding("fork-without-gpu", evidence)
    elif not facts.flag("ci.gpu_runner"):
        yield finding("gpu-runner-required" if facts.flag("ci.gpu_required") else "no-gpu-runner", evidence)
    elif all(ended.get(job) == PASSED for job in jobs):
        yield finding("gpu-jobs-passed", evidence, jobs=", ".join(jobs))


def results(facts: Facts) -> Iterator[Finding]:
    """Each job that did not end as it had to, and those that passed in one line."""
    ended, run = facts.row("ci.jobs"), facts.text("ci.run")
    for job, result in ended.items():
        if result != (wanted := expected(facts, job)):
            evidence, words = [f"{job}: {result} (NEEDS)"], {"job": job, "result": result, "expected": wanted}
            yield finding("job-not-as-expected", evidence, run=f"{run} " if run else "", **words)
    others = [job for job in ended if job not in gpu_jobs(facts)]
    if passed := [job for job in others if ended[job] == PASSED]:
        yield finding("jobs-passed", [], count=len(passed), total=len(others), jobs=", ".join(passed))
