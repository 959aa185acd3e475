"""`kernels`: the kit's own CUDA kernels, built by nvcc, verified, and measured beside cuBLAS."""

from __future__ import annotations

import argparse

from gpusmoke.commands.bench import Request, gpus, listed, measure, shapes
from gpusmoke.commands.check import positive
from gpusmoke.commands.crews import recruited
from gpusmoke.commands.session import Session, add_results_argument
from gpusmoke.findings.kernels import failures, judge
from gpusmoke.kernels.plan import FAMILIES
from gpusmoke.record import Record

EXAMPLES = """\
examples:
  pixi run kernels                         all of them, in a minute
  pixi run kernels --models                and 20 layers of models, in three
  pixi run kernels --dtype bf16 --shape 4096,8192x8192x1024
  pixi run bench --backend nvcc            the fastest in place of cuBLAS
"""
SECONDS, MODELS_SECONDS = 40.0, 150.0


def dtypes(text: str) -> list[str]:
    """Number formats."""
    return listed(text, tuple(FAMILIES), "number format")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kernels`."""
    parser.add_argument("--dtype", type=dtypes, metavar="LIST", help=f"of {','.join(FAMILIES)} (default: all)")
    parser.add_argument("--shape", type=shapes, metavar="LIST", help="sizes MxNxK of the products (default: 8192,4096)")
    parser.add_argument("--models", action="store_true", help="the linear layers of models, too")
    parser.add_argument("--gpus", type=gpus, metavar="LIST", help="only these, by CUDA's numbers (default: all)")
    parser.add_argument("--seconds", type=positive, help=f"time to spend measuring (default: {SECONDS:.0f})")
    add_results_argument(parser)


def run(args: argparse.Namespace) -> Record:
    """Build, verify and measure on every visible GPU. Raises UsageError where a size can't fit."""
    request = Request(
        seconds=args.seconds or (MODELS_SECONDS if args.models else SECONDS),
        scope="kernels and models" if args.models else "kernels",
        dtypes=args.dtype or list(FAMILIES),
        shapes=args.shape,
        gpus=args.gpus,
    )
    session = Session("kernels")
    with session.interruptible(), recruited("bench", gpus=request.gpus) as crew:
        measure(session, crew, request, quiet=args.json)
    return session.record(
        lambda facts: judge(facts, session.measurements), lambda facts: failures(facts, session.measurements)
    )
