"""`smoke`: doctor, check and a short bench in one run: the one command for people and CI."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpusmoke.baseline import default_folder, judge_against
from gpusmoke.commands.bench import Request, measure
from gpusmoke.commands.check import add_exercise_arguments, exercise, positive
from gpusmoke.commands.compare import add_tolerance_argument
from gpusmoke.commands.crews import recruited
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
  pixi run -e cuda12 smoke --json    one environment; the record alone
  pixi run smoke --quick             for health checks: it ends within 55 s
  pixi run smoke --node gpu07 --results results/today   results/today/gpu07.json
"""
DTYPES = ["bf16", "fp32"]
SECONDS = 18.0
SECONDS_ON_CPU = 6.0  # nothing there takes seconds to settle
# With --quick, all that loads a GPU takes QUICK_SECONDS, and children that hang are ended after these many more. Slurm
# kills a health check after 60 s: there are ten left, of which the parent gives five to the children that even SIGKILL
# can't end, however many, and five to those that have no part in the record.
QUICK_SECONDS = 20.0
CHECK_PATIENCE, QUICK_PATIENCE = 15.0, 25.0
LEAST_SECONDS = 5.0  # for measuring, as for starting PyTorch a second time and verifying


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `smoke`."""
    add_exercise_arguments(parser)
    parser.add_argument("--seconds", type=positive, help=f"time to spend measuring (default: {SECONDS:.0f})")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one number format, and --seconds is for all (default: {QUICK_SECONDS:.0f}); what hangs gets 25 more",
    )
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
    quick = (args.seconds or QUICK_SECONDS) if args.quick else None
    timeout = args.timeout if quick is None else min(args.timeout, quick + CHECK_PATIENCE)
    session = Session("smoke", require_gpu=args.require_gpu, check_deadline=timeout)

    def judge(facts: Facts) -> list[Finding]:
        found = machine_rules.diagnose(facts) + exercise_rules.judge(facts)
        if "bench.worker.0" in facts:
            found += rate_rules.judge(facts, session.measurements)
        return found

    # What will measure imports PyTorch meanwhile, where there are cores enough.
    with session.interruptible(), recruited("bench", least=0) as crew:
        exercise(session, timeout, quiet=args.json, links=False)  # bench makes them, too
        if problems(judge(session.facts)):
            pass
        elif quick is not None:
            seconds = max(LEAST_SECONDS, quick - session.elapsed - LEAST_SECONDS)
            patience = quick + QUICK_PATIENCE - session.elapsed - seconds
            measure(session, crew, Request(seconds, "quick"), quiet=args.json, patience=patience)
        else:
            seconds = args.seconds or (SECONDS if session.facts.rows("cuda.devices") else SECONDS_ON_CPU)
            measure(session, crew, Request(seconds, "smoke", DTYPES), quiet=args.json)
    record = session.record(
        judge, lambda facts: [*exercise_rules.failures(facts), *rate_rules.wrong(session.measurements)]
    )
    # Interrupted, or without a GPU, it is compared with nothing.
    return record._replace(findings=[*record.findings, *judge_against(record, args.baselines, args.tolerance / 100)])
