"""`collectives`: how fast ranks exchange data through NCCL, every result verified, and which rank is to blame if not.

On one machine the command starts torchrun, whose ranks are this command again; under somebody's own torchrun, as across
nodes, it is a rank from the beginning. Each rank has a process that does the work and one that outlives it.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading

from gpusmoke.commands.bench import listed
from gpusmoke.commands.check import positive
from gpusmoke.commands.session import Session, add_markdown_argument, add_results_argument
from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact, Json
from gpusmoke.facts.machine import Machine
from gpusmoke.findings.collectives import judge, wrong
from gpusmoke.measuring.collectives import EXACT, OPERATIONS, largest_value, parse_size, sizes
from gpusmoke.measuring.formats import size_text
from gpusmoke.measuring.ranks import Place
from gpusmoke.presentation.collectives import Progress
from gpusmoke.record import Record
from gpusmoke.workers.attend import RELAY, TORCHRUN_SPARE_SECONDS, attend, crew_for, end_with_parent, follow, relay

EXAMPLES = """\
examples:
  pixi run collectives                           every GPU of this machine
  pixi run collectives --op all-reduce --dtype bf16 -b 8M -e 1G -f 2
  pixi run collectives --backend gloo --ranks 4  on the CPU
across nodes, on each of them (docs/collectives.md):
  torchrun --nnodes=2 --nproc-per-node=gpu --rdzv-backend=c10d \\
    --rdzv-endpoint=HOST:29500 --rdzv-id=JOB -m gpusmoke collectives
"""
SMALLEST, LARGEST, FACTOR = "1K", "1G", 4
ITERATIONS, WARMUP = 20, 5
TIMEOUT_SECONDS = 120.0
BACKENDS = ("nccl", "gloo")
MOST_RANKS = 64  # on one machine


def size(text: str) -> int:
    """Bytes, as 64M."""
    try:
        return parse_size(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no size: give bytes, or as in 64K, 8M, 1G") from None


def operations(text: str) -> list[str]:
    """Operations."""
    return listed(text, OPERATIONS, "operation")


def number(text: str, least: int, most: int) -> int:
    """A whole number between two."""
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no number from {least} to {most}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `collectives`; those of nccl-tests have its letters."""
    every = list(OPERATIONS)
    parser.add_argument(
        "--op", type=operations, default=every, metavar="LIST", help=f"of {','.join(every)} (default: all)"
    )
    # The long names are nccl-tests', too: torchrun's own parser would take a --max for one of its options.
    for letter, name, what, default in (("-b", "min", "smallest", SMALLEST), ("-e", "max", "largest", LARGEST)):
        parser.add_argument(
            letter,
            f"--{name}",
            f"--{name}bytes",
            type=size,
            default=default,
            metavar="SIZE",
            help=f"{what} message (default: {default})",
        )
    parser.add_argument(
        "-f",
        "--factor",
        type=lambda text: number(text, 2, 1 << 20),
        default=FACTOR,
        metavar="N",
        help=f"from one size to the next (default: {FACTOR})",
    )
    parser.add_argument(
        "-d", "--dtype", choices=tuple(EXACT), default="fp32", help="number format that is summed up (default: fp32)"
    )
    parser.add_argument(
        "-n",
        "--iters",
        type=lambda text: number(text, 1, 10000),
        default=ITERATIONS,
        metavar="N",
        help=f"operations in each of five rounds, fewer where they are slow (default: {ITERATIONS})",
    )
    parser.add_argument(
        "-w",
        "--warmup",
        type=lambda text: number(text, 0, 10000),
        default=WARMUP,
        metavar="N",
        help=f"operations before them (default: {WARMUP})",
    )
    parser.add_argument("--backend", choices=BACKENDS, default="nccl", help="gloo: on the CPU (default: nccl)")
    parser.add_argument(
        "--ranks",
        type=lambda text: number(text, 1, MOST_RANKS),
        metavar="N",
        help="processes on this machine, one a GPU (default: as many as CUDA shows; under torchrun: its own)",
    )
    parser.add_argument(
        "--timeout",
        type=positive,
        default=TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"for a rank to come, and for each operation (default: {TIMEOUT_SECONDS:.0f})",
    )
    add_results_argument(parser)
    add_markdown_argument(parser)


def options_of(args: argparse.Namespace) -> dict[str, Json]:
    """What each rank's worker is told. Raises UsageError where no sizes are left."""
    if args.min > args.max:
        raise UsageError(f"--min {size_text(args.min)} is more than --max {size_text(args.max)}")
    return {
        "backend": args.backend,
        "operations": args.op,
        "sizes": sizes(args.min, args.max, args.factor),
        "dtype": args.dtype,
        "iterations": args.iters,
        "warmup": args.warmup,
        "timeout": args.timeout,
    }


def arguments_of(args: argparse.Namespace) -> list[str]:
    """The command line that gives a rank the same options."""
    named = {"--minbytes": args.min, "--maxbytes": args.max, "--factor": args.factor, "--dtype": args.dtype}
    named |= {"--iters": args.iters, "--warmup": args.warmup, "--backend": args.backend, "--timeout": args.timeout}
    named |= {"--op": ",".join(args.op), "--results": args.results}
    return [f"{name}={value}" for name, value in named.items()]


def refuse_inexact_sums(args: argparse.Namespace, ranks: int) -> None:
    """Raise UsageError where so many ranks can't add up in this format without rounding."""
    if largest_value(args.dtype, ranks) < 1:
        raise UsageError(
            f"{args.dtype} is exact up to {EXACT[args.dtype]}, too little for sums of {ranks} ranks: take --dtype fp32"
        )


def run(args: argparse.Namespace) -> Record:
    """Be the rank that torchrun has started, or start torchrun. Raises UsageError where options don't go together."""
    place, options = Place.told_by(os.environ), options_of(args)
    if place is not None:
        if args.ranks is not None:
            raise UsageError("--ranks is torchrun's to say, which started this process: leave it out")
        refuse_inexact_sums(args, place.ranks)
        if RELAY in os.environ:
            sys.exit(relay(place, options))
        threading.Thread(target=end_with_parent, daemon=True).start()
        if place.rank != 0:
            sys.exit(follow(place, options))
    session = Session("collectives", **options)
    with session.interruptible():
        session.facts = session.facts.with_facts(Machine().facts())
        progress = Progress(args.json, session.since)
        if place is not None:
            lead(session, place, options, progress)
        else:
            start_torchrun(session, args, progress)
    return session.record(lambda facts: judge(facts, session.measurements), wrong)


def lead(session: Session, place: Place, options: dict[str, Json], progress: Progress) -> None:
    """Be rank 0 under somebody's torchrun: the one that makes the record."""
    ended = attend(place, options, lambda crew: session.wait_for(crew, progress))
    if ended is not None:
        session.facts = session.facts.with_facts({"collectives.lead": Fact(ended, "the process of rank 0")})


def start_torchrun(session: Session, args: argparse.Namespace, progress: Progress) -> None:
    """Have torchrun start a rank for each GPU of this machine; rank 0 speaks to us. Raises UsageError."""
    gpus = len(session.facts.rows("cuda.devices"))
    if args.backend == "nccl" and gpus == 0:
        return  # and that is the finding
    ranks = args.ranks or gpus
    if ranks == 0:
        raise UsageError("how many ranks? There is no GPU to count: give --ranks 4, say")
    refuse_inexact_sums(args, ranks)
    with crew_for("torchrun", args.timeout, TORCHRUN_SPARE_SECONDS) as crew:
        crew.start(0, {"ordinal": 0, "ranks": ranks, "arguments": arguments_of(args)})
        session.wait_for(crew, progress)
