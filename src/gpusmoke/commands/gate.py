"""`gate`: the one required status of CI: whether every job ended as it had to, and whether CUDA was exercised.

It needs nothing but Python, so that the job that runs it has next to nothing that can break.
"""

from __future__ import annotations

import argparse
import json
import os

from gpusmoke.commands.session import Session, add_markdown_argument
from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact
from gpusmoke.findings.ci import judge
from gpusmoke.record import Record

EXAMPLES = """\
environment:
  NEEDS         every job that the gate waits for: ${{ toJSON(needs) }}
  GPU_RUNNER    the runner with a GPU, or empty: ${{ vars.GPU_RUNNER }}
  GPU_REQUIRED  true: a run in which CUDA was not exercised is red
  FORK          true: this is a fork's pull request, which gets no GPU runner

examples:
  NEEDS='{"test": {"result": "success"}, "gpu": {"result": "skipped"}}' \\
    python -m gpusmoke gate
  python -m gpusmoke gate --gpu-jobs gpu,soak --markdown
"""
YES, NO = "true", ("false", "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gate`."""
    parser.add_argument(
        "--gpu-jobs", default="gpu", metavar="LIST", help="the jobs that run on the GPU runner (default: gpu)"
    )
    add_markdown_argument(parser)


def flag(name: str) -> bool:
    """A variable that is true, false or not set. Raises UsageError for anything else: a typo must not open the gate."""
    value = os.environ.get(name, "").strip().lower()
    if value != YES and value not in NO:
        raise UsageError(f"{name} is {value!r}: it has to be true or false")
    return value == YES


def jobs(gpu_jobs: list[str]) -> dict[str, str]:
    """The result of each job in NEEDS. Raises UsageError where it is no such thing, or lacks a GPU job."""
    text = os.environ.get("NEEDS", "")
    try:
        needs = json.loads(text)
        found = {str(name): str(entry["result"]) for name, entry in needs.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError("NEEDS does not hold the jobs and their results: set it to ${{ toJSON(needs) }}") from None
    if missing := [name for name in gpu_jobs if name not in found]:
        raise UsageError(f"NEEDS has no job {missing[0]!r}: name it among the needs of the gate, or see --gpu-jobs")
    return found


def run(args: argparse.Namespace) -> Record:
    """Judge the jobs. Raises UsageError where the environment does not say how they ended."""
    gpu_jobs = [name for name in args.gpu_jobs.split(",") if name]
    if not gpu_jobs:
        raise UsageError("--gpu-jobs names no job")
    session = Session("gate", gpu_jobs=gpu_jobs)
    session.facts = session.facts.with_facts(
        {
            "ci.jobs": Fact(jobs(gpu_jobs), "NEEDS"),
            "ci.gpu_runner": Fact(bool(os.environ.get("GPU_RUNNER", "").strip()), "whether GPU_RUNNER is set"),
            "ci.gpu_required": Fact(flag("GPU_REQUIRED"), "GPU_REQUIRED"),
            "ci.fork": Fact(flag("FORK"), "FORK"),
            "ci.run": Fact(os.environ.get("GITHUB_RUN_ID"), "GITHUB_RUN_ID"),
        }
    )
    return session.record(judge)
