"""`check`: torch.cuda.is_available(), and real work with a verified result on every GPU."""

from __future__ import annotations

import argparse
import contextlib

from gpusmoke.commands.crews import recruited, start
from gpusmoke.commands.peers import links_after
from gpusmoke.commands.session import Session
from gpusmoke.facts.machine import Machine
from gpusmoke.findings.exercise import failures, judge
from gpusmoke.presentation.progress import Progress
from gpusmoke.record import Record

EXAMPLES = """\
examples:
  pixi run check                 every visible GPU, or the CPU if there is none
  pixi run check --require-gpu   for CI: no usable GPU is a problem
  pixi run check --nvcc          the CUDA compiler too: what it builds must run
  CUDA_VISIBLE_DEVICES=1 pixi run check
  pixi run check --json          the record alone on standard output
"""
TIMEOUT_SECONDS = 180
MOST = 1_000_000  # of whatever is given as a number


def positive(text: str) -> float:
    """An argument that must be a number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and below {MOST}")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `check`."""
    add_exercise_arguments(parser)
    parser.add_argument(
        "--nvcc", action="store_true", help="also compile a kernel with nvcc, and multiply with it on every GPU"
    )


def add_exercise_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of whatever exercises GPUs as `check` does."""
    parser.add_argument("--require-gpu", action="store_true", help="exit 1 unless a GPU was exercised")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"deadline for all GPUs together, import of PyTorch included (default: {TIMEOUT_SECONDS})",
    )


def exercise(session: Session, timeout: float, quiet: bool, nvcc: bool = False, links: bool = True) -> None:
    """Run one child per visible GPU, all at once; without a GPU one child, on the CPU.

    With `links`, one more makes copies between GPUs, once the others have ended.
    """
    options, progress = {"nvcc": True} if nvcc else {}, Progress(quiet, session.since)
    with recruited("check", timeout) as crew:
        session.facts = session.facts.with_facts(Machine().facts())
        start(crew, session.facts, options)
        with links_after(session, crew, progress, measure=False) if links else contextlib.nullcontext():
            session.wait_for(crew, progress)


def run(args: argparse.Namespace) -> Record:
    """Exercise every visible GPU and judge the outcome."""
    session = Session("check", require_gpu=args.require_gpu, nvcc=args.nvcc, check_deadline=args.timeout)
    with session.interruptible():
        exercise(session, args.timeout, quiet=args.json, nvcc=args.nvcc)
    return session.record(judge, failures)
