"""`audit`: what pixi.lock holds, and where it runs; without a GPU and without a network."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from gpusmoke.commands.session import Session, add_markdown_argument
from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact, Facts
from gpusmoke.facts.lock import lock_facts
from gpusmoke.facts.workspace import project_root, read_manifest
from gpusmoke.findings import changes, elsewhere, lock
from gpusmoke.record import Record

EXAMPLES = """\
examples:
  pixi run audit                            what it holds, and what is wrong
  pixi run audit --driver 560.35 --gpu 8.6  which environments run there?
  pixi run audit --gpu 11.0 --subdir linux-aarch64
  git show main:pixi.lock > old.lock && pixi run audit --diff old.lock
  pixi run audit --markdown >> "$GITHUB_STEP_SUMMARY"
"""


def driver(text: str) -> str:
    """A driver's version, or its branch alone."""
    if not re.fullmatch(r"[1-9][0-9]{2}(\.[0-9]{1,3}){0,2}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no NVIDIA driver: give one such as 560.35.03, or 560")
    return text


def capability(text: str) -> str:
    """A compute capability."""
    if not re.fullmatch(r"[1-9][0-9]?\.[0-9]", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no compute capability: give one such as 8.6")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `audit`."""
    parser.add_argument(
        "--driver",
        type=driver,
        metavar="VERSION",
        help="answer for a machine with this driver: which environments run?",
    )
    parser.add_argument("--gpu", type=capability, metavar="X.Y", help="… with a GPU of this compute capability")
    parser.add_argument("--subdir", metavar="NAME", help="only the platforms of this kind of machine, as in linux-64")
    parser.add_argument("--diff", type=Path, metavar="OLD.lock", help="say what changed since that lock")
    add_markdown_argument(parser)


def read(subdir: str | None, old: Path | None) -> Facts:
    """What manifest and locks hold, each row with what it needs. Raises UsageError where they can't be read."""
    project = project_root()
    facts = lock_facts(project, read_manifest(project), subdir, old)
    rows = [{**row, **lock.needs(row)} for row in facts["lock.solves"].value]
    facts["lock.solves"] = Fact(rows, "pixi.lock; driver and architectures: data/builds.toml")
    return Facts(facts)


def run(args: argparse.Namespace) -> Record:
    """Read manifest and lock and judge them. Raises UsageError where they, or the options, make no sense."""
    asked = args.driver or args.gpu
    if args.diff and asked:
        raise UsageError("--diff compares two locks, --driver and --gpu ask about one: give them one at a time")
    request = {"driver": args.driver, "gpu": args.gpu, "subdir": args.subdir, "diff": args.diff and str(args.diff)}
    session = Session("audit", **{name: value for name, value in request.items() if value})
    with session.interruptible():
        session.facts = session.facts.with_facts(read(args.subdir, args.diff))
    return session.record(changes.judge if args.diff else elsewhere.judge if asked else lock.judge)
