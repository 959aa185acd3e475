"""`soak`: full load on every GPU for minutes or hours, every result compared bit for bit, health watched."""

from __future__ import annotations

import argparse

from gpusmoke.commands.check import TIMEOUT_SECONDS, positive
from gpusmoke.commands.crews import recruited, start
from gpusmoke.commands.session import Session, add_results_argument
from gpusmoke.facts.machine import Machine
from gpusmoke.findings.soak import judge, seen
from gpusmoke.measuring.formats import ELEMENT_BYTES
from gpusmoke.presentation.progress import Progress
from gpusmoke.record import Record

EXAMPLES = """\
examples:
  pixi run soak                            every GPU at once, for ten minutes
  pixi run soak --minutes 480 --require-gpu
  pixi run soak --minutes 0.5 --memory 0.2 --dtype fp64
  pixi run soak --json > soak.json         the record alone on standard output
Ctrl-C ends it; what was seen until then is kept.
"""
MINUTES = 10.0
MEMORY, MOST_MEMORY = 0.9, 0.95
# Importing PyTorch, filling the memory and comparing what is left in the end come on top of the time asked for.
OVERHEAD_SECONDS = 300.0


def share(text: str) -> float:
    """A part of the memory, of which the driver and the libraries need some."""
    value = float(text)
    if not 0 < value <= MOST_MEMORY:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of the memory: give 0.9, say; {MOST_MEMORY} at most")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `soak`."""
    parser.add_argument(
        "--minutes", type=positive, default=MINUTES, metavar="N", help=f"how long, 0.5 too (default: {MINUTES:.0f})"
    )
    parser.add_argument(
        "--memory",
        type=share,
        default=MEMORY,
        metavar="SHARE",
        help=f"of the free memory, to be filled, {MOST_MEMORY} at most (default: {MEMORY})",
    )
    parser.add_argument("--dtype", choices=tuple(ELEMENT_BYTES), help="number format (default: bf16, else fp16)")
    parser.add_argument("--require-gpu", action="store_true", help="exit 1 unless a GPU was soaked")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"a GPU that says nothing for so long has hung (default: {TIMEOUT_SECONDS})",
    )
    add_results_argument(parser)


def load(session: Session, args: argparse.Namespace) -> None:
    """Run one child per visible GPU, all at once; without a GPU one child, on the CPU."""
    options = {"seconds": 60 * args.minutes, "memory": args.memory, "dtype": args.dtype}
    with recruited("soak", 60 * args.minutes + OVERHEAD_SECONDS, args.timeout) as crew:
        session.facts = session.facts.with_facts(Machine().facts())
        start(crew, session.facts, options)
        session.wait_for(crew, Progress(args.json, session.since))


def run(args: argparse.Namespace) -> Record:
    """Load every visible GPU and judge what was seen."""
    session = Session(
        "soak",
        require_gpu=args.require_gpu,
        minutes=args.minutes,
        memory=args.memory,
        dtype=args.dtype,
        soak_deadline=60 * args.minutes + OVERHEAD_SECONDS,
    )
    with session.interruptible():
        load(session, args)
    return session.record(
        lambda facts: judge(facts, session.measurements), lambda facts: seen(facts, session.measurements)
    )
