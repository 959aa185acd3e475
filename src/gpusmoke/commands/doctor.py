"""`doctor`: facts and findings without PyTorch."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gpusmoke.errors import UsageError
from gpusmoke.facts.machine import Machine

if TYPE_CHECKING:
    from gpusmoke.record import Record

EXAMPLES = """\
examples:
  pixi run doctor                    what this driver runs, what Pixi picks
  pixi run doctor --json             the same as a record
  pixi run doctor --build-cuda 13.0  can this driver run a CUDA 13.0 build?
  pixi run doctor --list             every failure that is known by name
  pixi run doctor --explain uvm-missing
  pixi run doctor --bundle bug.json  all that a bug report needs, without names
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `doctor`."""
    parser.add_argument(
        "--build-cuda",
        metavar="X.Y",
        help="the CUDA version of a PyTorch build that is to run here (default: the workspace's)",
    )
    parser.add_argument("--list", action="store_true", help="list every finding there is")
    parser.add_argument("--markdown", action="store_true", help="with --list: problems and warnings at length")
    parser.add_argument("--explain", metavar="ID", help="tell what a finding means, and what to do about it")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="also write a record with what a bug report needs; host, user and home folder are taken out",
    )


def run(args: argparse.Namespace) -> Record | str:
    """Read the machine and judge it. Raises UsageError where the options or the workspace's files are unreadable."""
    if args.build_cuda is not None and not re.fullmatch(r"\d+(\.\d+)*", args.build_cuda):
        raise UsageError(f"--build-cuda takes a version such as 13.0, not {args.build_cuda!r}")
    if args.markdown and not args.list:
        raise UsageError("--markdown goes with --list")
    if sum((args.list, args.explain is not None, args.bundle is not None)) > 1:
        raise UsageError("--list, --explain and --bundle are asked for one at a time")
    if args.list or args.explain is not None:
        from gpusmoke.presentation.catalogue import told

        return told(args.explain, args.json, args.markdown)
    if args.bundle is not None:
        from gpusmoke.commands.bundle import refuse_to_overwrite

        refuse_to_overwrite(args.bundle)
    return diagnosed(args.build_cuda, args.bundle)


def diagnosed(build_cuda: str | None, bundle: Path | None) -> Record:
    """The record of this machine, which is also written to `bundle`."""
    machine = Machine()
    # While the driver answers: these take as long as everything else that doctor does itself.
    from gpusmoke.commands.session import Session
    from gpusmoke.findings import part
    from gpusmoke.findings.machine import diagnose

    for name in ("driver", "pixi"):
        part(name)
    session = Session("doctor", build_cuda=build_cuda)
    with session.interruptible():
        session.facts = session.facts.with_facts(machine.facts())
    record = session.record(diagnose)
    if bundle is not None:
        from gpusmoke.commands.bundle import write

        write(record, bundle)
        print(f"gpusmoke: wrote {bundle}", file=sys.stderr)
    return record
