"""`smoke`: doctor, check and a short bench in one run: the one command for people and CI."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpusmoke.baseline import default_folder, judge_against
from gpusmoke.commands.bench import OVERHEAD_SECONDS, Request, measure
from gpusmoke.commands.check import add_arguments as add_check_arguments
from gpusmoke.commands.check import exercise, positive
from gpusmoke.commands.compare import add_tolerance_argument
from gpusmoke.commands.session import Session, add_results_argument
from gpusmoke.facts import Facts
from gpusmoke.findings import Finding, problems
from gpusmoke.findings import exercise as exercise_rules
from gpusmoke.findings import machine as machine_rules
from gpusmoke.findings import rates as rate_rules
from gpusmoke.record import Record

EXAMPLES = """\
examples:
  pixi run smoke                     is this GPU there, right and fast?
  pixi run smoke --require-gpu       in CI: never green without a GPU
  pixi run -e cuda12 smoke --json    one environment; the record on standard output
"""
DTYPES = ["bf16", "fp32"]
SECONDS = 18.0
SECONDS_ON_CPU = 6.0  # nothing there takes seconds to settle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `smoke`."""
    add_check_arguments(parser)
    parser.add_argument("--seconds", type=positive, help=f"time to spend measuring (default: {SECONDS:.0f})")
    add_results_argument(parser)
    add_tolerance_argument(parser)
    parser.add_argument(
        "--baselines",
        type=Path,
        default=default_folder(),
        metavar="FOLDER",
        help="where bench --save-baseline keeps them (default: baselines, in the repository)",
    )


def run(args: argparse.Namespace) -> Record:
    """Check first; measure only what works."""
    deadline = (args.seconds or SECONDS) + OVERHEAD_SECONDS
    session = Session("smoke", require_gpu=args.require_gpu, check_deadline=args.timeout, bench_deadline=deadline)

    def judge(facts: Facts) -> list[Finding]:
        found = machine_rules.diagnose(facts) + exercise_rules.judge(facts)
        if "bench.worker.0" in facts:
            found += rate_rules.judge(facts, session.measurements)
        return found

    with session.interruptible():
        exercise(session, args.timeout, quiet=args.json, links=False)  # bench makes them, too
        if not problems(judge(session.facts)):
            seconds = args.seconds or (SECONDS if session.facts.rows("cuda.devices") else SECONDS_ON_CPU)
            measure(session, Request(seconds, "smoke", DTYPES), quiet=args.json)
    record = session.record(judge)
    # Interrupted, or without a GPU, it is compared with nothing.
    return record._replace(findings=[*record.findings, *judge_against(record, args.baselines, args.tolerance / 100)])
