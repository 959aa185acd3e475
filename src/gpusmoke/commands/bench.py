"""`bench`: the CUDA matmul benchmark, from rest and settled, with every result verified."""

from __future__ import annotations

import argparse
import re

from gpusmoke.commands.check import positive
from gpusmoke.commands.session import Session, add_results_argument
from gpusmoke.errors import UsageError
from gpusmoke.facts import Facts
from gpusmoke.facts.machine import Machine
from gpusmoke.findings.rates import judge
from gpusmoke.measuring.formats import ELEMENT_BYTES, ON_CPU
from gpusmoke.presentation.progress import Progress
from gpusmoke.record import Record
from gpusmoke.workers.parent import Crew

EXAMPLES = """\
examples:
  pixi run bench                           every number format, under a minute
  pixi run bench --dtype bf16,fp8          only these
  pixi run bench --shape 4096x8192x1024    M x N x K; or one number for a cube
  pixi run bench --seconds 20 --json       shorter; the record on standard output
"""
SECONDS = 46.0
# Importing PyTorch, making operands and verifying come on top of the seconds asked for.
OVERHEAD_SECONDS = 180.0


def dtypes(text: str) -> list[str]:
    """A comma-separated list of number formats; each once, in the order given."""
    chosen = list(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in ELEMENT_BYTES:
            raise argparse.ArgumentTypeError(f"unknown number format {name!r}; choose from {', '.join(ELEMENT_BYTES)}")
    return chosen


def shape(text: str) -> list[int]:
    """A size, 8192 or 4096x8192x1024, as [M, N, K]."""
    if not re.fullmatch(r"[1-9]\d{0,6}(x[1-9]\d{0,6}){2}|[1-9]\d{0,6}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size: give M x N x K as in 4096x8192x1024, each 1 to 9999999"
        )
    sizes = [int(part) for part in text.split("x")]
    return sizes * 3 if len(sizes) == 1 else sizes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    parser.add_argument(
        "--dtype",
        type=dtypes,
        metavar="LIST",
        help=f"of {','.join(ELEMENT_BYTES)} (default: all that the device has)",
    )
    parser.add_argument(
        "--shape", type=shape, metavar="MxNxK", help="size of the product (default: 8192, or what fits)"
    )
    parser.add_argument(
        "--seconds", type=positive, default=SECONDS, help=f"time to spend measuring (default: {SECONDS:.0f})"
    )
    parser.add_argument("--require-gpu", action="store_true", help="exit 1 unless a GPU was measured")
    add_results_argument(parser)


def refuse_what_does_not_fit(facts: Facts, sizes: list[int], names: list[str] | None) -> None:
    """Raise UsageError where two sets of operands, in the smallest format asked for, fit no device here."""
    m, n, k = sizes
    gpus = [row.get("memory_mib") or 0 for row in facts.rows("cuda.devices")]
    device = "the largest GPU here" if gpus else "this machine"
    largest = max(gpus, default=facts.number("host.memory_mib") or 0)
    smallest = min(ELEMENT_BYTES[name] for name in names or (ELEMENT_BYTES if gpus else ON_CPU))
    needed = 2 * smallest * (m * k + n * k + m * n) >> 20
    if largest and needed > largest:
        raise UsageError(
            f"--shape {m}x{n}x{k} needs {needed / 1024:.0f} GB, and {device} has {largest / 1024:.0f} GB of memory"
        )


def measure(session: Session, names: list[str] | None, sizes: list[int] | None, seconds: float, quiet: bool) -> None:
    """Run one child per visible GPU, all at once; without a GPU one child, on the CPU."""
    if "cuda.init" not in session.facts:
        session.facts = session.facts.with_facts(Machine().facts())
    if sizes is not None:
        refuse_what_does_not_fit(session.facts, sizes, names)
    with Crew("bench", seconds + OVERHEAD_SECONDS) as crew:
        for ordinal in range(max(1, len(session.facts.rows("cuda.devices")))):
            crew.start(ordinal, {"ordinal": ordinal, "dtypes": names, "shape": sizes, "seconds": seconds})
        session.wait_for(crew, Progress(quiet))


def run(args: argparse.Namespace) -> Record:
    """Measure every visible GPU. Raises UsageError where the size can't fit."""
    session = Session("bench", require_gpu=args.require_gpu, bench_deadline=args.seconds + OVERHEAD_SECONDS)
    with session.interruptible():
        measure(session, args.dtype, args.shape, args.seconds, quiet=args.json)
    return session.record(lambda facts: judge(facts, session.measurements))
