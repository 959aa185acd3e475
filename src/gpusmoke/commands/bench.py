"""`bench`: the CUDA matmul benchmark, from rest and settled, with every result verified."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gpusmoke.baseline import default_folder
from gpusmoke.commands.check import positive
from gpusmoke.commands.crews import recruited, start
from gpusmoke.commands.peers import links_after
from gpusmoke.commands.session import Session, add_results_argument
from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact, Facts, Json
from gpusmoke.facts.machine import Machine
from gpusmoke.findings.rates import judge, wrong
from gpusmoke.measuring.formats import ELEMENT_BYTES, ON_CPU
from gpusmoke.measuring.shapes import LAYOUTS, Shape
from gpusmoke.presentation.progress import Progress
from gpusmoke.record import Record
from gpusmoke.workers.parent import Crew

EXAMPLES = """\
examples:
  pixi run bench                           every number format, under a minute
  pixi run bench --quick                   two products, in 20 s
  pixi run bench --dtype bf16,fp8          only these
  pixi run bench --shape 8192,4096x8192x1024 --layout NT,NN
  pixi run bench --backend cublas,triton   one beside the other
  pixi run bench --search                  which shape is fastest here?
  pixi run bench --save-baseline           what later runs of smoke compare with
"""
SECONDS = {"default": 46.0, "quick": 13.0, "full": 200.0, "search": 44.0}
# Importing PyTorch, making operands and verifying come on top of the seconds asked for.
OVERHEAD_SECONDS = 180.0
LINKED = ("default", "quick", "full", "smoke")  # what is about a whole machine, and so about copies between its GPUs
# A project that has no use for the kernels deletes their files.
NVCC = ("nvcc", "nvcc-hopper", "nvcc-mma", "nvcc-simt") if find_spec("gpusmoke.kernels.backend") else ()
BACKENDS = ("cublas", "triton", *NVCC)


@dataclass(frozen=True)
class Request:
    """What to measure; None stands for what the kit would choose."""

    seconds: float
    scope: str = "default"
    dtypes: Sequence[str] | None = None
    shapes: Sequence[Shape] | None = None
    layouts: Sequence[str] = ("NT",)
    backends: Sequence[str] | None = None
    gpus: Sequence[int] | None = None

    def options(self) -> dict[str, Json]:
        """The options of each device's child."""
        return {name: value for name, value in vars(self).items() if name != "gpus"}


def listed(text: str, known: Sequence[str], what: str) -> list[str]:
    """A comma-separated list; each once, in the order given."""
    chosen = list(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown {what} {name!r}; choose from {', '.join(known)}")
    return chosen


def dtypes(text: str) -> list[str]:
    """Number formats."""
    return listed(text, tuple(ELEMENT_BYTES), "number format")


def layouts(text: str) -> list[str]:
    """How A and then B are stored."""
    return listed(text.upper(), LAYOUTS, "layout")


def shapes(text: str) -> list[Shape]:
    """Sizes, 8192 or 4096x8192x1024, as (M, N, K)."""
    found = []
    for one in dict.fromkeys(text.split(",")):
        if not re.fullmatch(r"[1-9]\d{0,6}(x[1-9]\d{0,6}){2}|[1-9]\d{0,6}", one):
            raise argparse.ArgumentTypeError(
                f"{one!r} is not a size: give M x N x K as in 4096x8192x1024, each 1 to 9999999"
            )
        sizes = [int(part) for part in one.split("x")]
        found.append((sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 else (sizes[0],) * 3)
    return found


def backends(text: str) -> list[str]:
    """What multiplies."""
    return listed(text, BACKENDS, "backend")


def gpus(text: str) -> list[int]:
    """Numbers of visible GPUs."""
    if not re.fullmatch(r"\d{1,3}(,\d{1,3})*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of GPUs: give their numbers, as in 0,2")
    return sorted({int(one) for one in text.split(",")})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    parser.add_argument(
        "--dtype",
        type=dtypes,
        metavar="LIST",
        help=f"of {','.join(ELEMENT_BYTES)} (default: all that the device has)",
    )
    parser.add_argument("--shape", type=shapes, metavar="LIST", help="sizes MxNxK of the products (default: by device)")
    parser.add_argument(
        "--layout",
        type=layouts,
        default=["NT"],
        metavar="LIST",
        help=f"of {','.join(LAYOUTS)} (default: NT, a linear layer)",
    )
    parser.add_argument("--gpus", type=gpus, metavar="LIST", help="only these, by CUDA's numbers (default: all)")
    parser.add_argument(
        "--backend",
        dest="backends",
        type=backends,
        metavar="LIST",
        help=f"what multiplies, of {','.join(BACKENDS)} (default: cublas, through PyTorch)",
    )
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--quick", action="store_const", dest="scope", const="quick", help="two products, in 20 s")
    scope.add_argument(
        "--full", action="store_const", dest="scope", const="full", help="layouts and models' shapes too"
    )
    scope.add_argument("--search", action="store_const", dest="scope", const="search", help="find the fastest shape")
    parser.set_defaults(scope="default")
    parser.add_argument("--seconds", type=positive, help=f"time to spend measuring (default: {SECONDS['default']:.0f})")
    parser.add_argument("--require-gpu", action="store_true", help="exit 1 unless a GPU was measured")
    parser.add_argument(
        "--save-baseline",
        nargs="?",
        type=Path,
        const=default_folder(),
        metavar="FOLDER",
        help="keep the record as a baseline for smoke (default folder: baselines, in the repository)",
    )
    add_results_argument(parser)


def refuse_what_does_not_fit(facts: Facts, request: Request) -> None:
    """Raise UsageError where two sets of operands, in the smallest format asked for, fit no device here."""
    rows = facts.rows("cuda.devices")
    if request.gpus is not None and (missing := [n for n in request.gpus if n >= len(rows)]):
        there = f"CUDA shows {len(rows)}" if rows else "there is none here"
        raise UsageError(f"--gpus names GPU {missing[0]}, and {there}; pixi run doctor lists them")
    device = "the largest GPU here" if rows else "this machine"
    largest = max((row.get("memory_mib") or 0 for row in rows), default=facts.number("host.memory_mib") or 0)
    smallest = min(ELEMENT_BYTES[name] for name in request.dtypes or (ELEMENT_BYTES if rows else ON_CPU))
    for m, n, k in request.shapes or ():
        needed = 2 * smallest * (m * k + n * k + m * n) >> 20
        if largest and needed > largest:
            raise UsageError(
                f"--shape {m}x{n}x{k} needs {needed / 1024:.0f} GB, and {device} has {largest / 1024:.0f} GB of memory"
            )


def refuse_what_a_search_ignores(args: argparse.Namespace) -> None:
    """Raise UsageError where a search is given the shapes, or several formats or backends."""
    if args.scope == "search" and args.shape:
        raise UsageError("--search chooses the shapes itself: leave out --shape, or --search")
    if args.scope == "search" and args.dtype and len(args.dtype) > 1:
        raise UsageError("--search finds the fastest shape of one format: name one with --dtype")
    if args.scope == "search" and args.backends and len(args.backends) > 1:
        raise UsageError("--search finds the fastest shape of one backend: name one with --backend")


def measure(session: Session, crew: Crew, request: Request, quiet: bool, patience: float = OVERHEAD_SECONDS) -> None:
    """Run one child per visible GPU, all at once, then one for copies between them; without a GPU one, on the CPU.

    `crew` holds those that were recruited; they may take `patience` seconds more than the request asks for.
    """
    if "cuda.init" not in session.facts:
        session.facts = session.facts.with_facts(Machine().facts())
    refuse_what_does_not_fit(session.facts, request)
    asked = {"request.bench": vars(request), "request.bench_deadline": request.seconds + patience}
    session.facts = session.facts.with_facts({name: Fact(value, "command line") for name, value in asked.items()})
    progress = Progress(quiet, session.since)
    crew.allow(request.seconds + patience)
    start(crew, session.facts, request.options(), request.gpus)
    hurried = patience < OVERHEAD_SECONDS
    linked = request.scope in LINKED
    with links_after(session, crew, progress, measure=True, hurried=hurried) if linked else nullcontext():
        session.wait_for(crew, progress)


def run(args: argparse.Namespace) -> Record:
    """Measure every visible GPU. Raises UsageError where the size can't fit, or the options don't go together."""
    refuse_what_a_search_ignores(args)
    request = Request(
        seconds=args.seconds or SECONDS[args.scope],
        scope=args.scope,
        dtypes=args.dtype,
        shapes=args.shape,
        layouts=args.layout,
        backends=args.backends,
        gpus=args.gpus,
    )
    session = Session("bench", require_gpu=args.require_gpu)
    with session.interruptible(), recruited("bench", gpus=request.gpus) as crew:
        measure(session, crew, request, quiet=args.json)
    return session.record(lambda facts: judge(facts, session.measurements), lambda _: wrong(session.measurements))
