"""`doctor`: facts and findings without PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpusmoke.commands.session import Session
from gpusmoke.errors import UsageError
from gpusmoke.facts import Facts
from gpusmoke.facts.driver import DriverProbes
from gpusmoke.facts.host import host_facts
from gpusmoke.facts.workspace import PixiInfo, project_root, read_manifest, workspace_facts
from gpusmoke.findings import catalogue
from gpusmoke.findings.machine import diagnose
from gpusmoke.findings.platforms import version
from gpusmoke.record import Record

EXAMPLES = """\
examples:
  pixi run doctor                    which CUDA this driver runs, what Pixi will pick
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
    parser.add_argument("--explain", metavar="ID", help="tell what a finding means, and what to do about it")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="also write a record with what a bug report needs; host, user and home folder are taken out",
    )


def machine_facts() -> Facts:
    """All facts that need no PyTorch; the driver's libraries and Pixi are asked at the same time.

    Raises UsageError where the workspace's manifest or lock can't be read.
    """
    probes, project = DriverProbes(), project_root()
    info = PixiInfo(project)
    manifest = read_manifest(project)
    return Facts({**host_facts(), **workspace_facts(project, manifest, info), **probes.facts()})


def told(kind: str | None, as_json: bool) -> str:
    """The catalogue as text, or one entry of it. Raises UsageError where there is no such finding."""
    import difflib
    import json

    from gpusmoke.presentation.catalogue import add_entry, add_list, to_json
    from gpusmoke.presentation.terminal import Page

    page, entries = Page(), [entry for entry in to_json() if kind in (None, entry["id"])]
    if kind is not None and not entries:
        near = difflib.get_close_matches(kind, catalogue(), n=1) or [one for one in catalogue() if kind in one]
        hint = f"did you mean {near[0]}?" if near else "doctor --list has them all"
        raise UsageError(f"there is no finding {kind!r}; {hint}")
    if as_json:
        return json.dumps(entries if kind is None else entries[0], indent=1) + "\n"
    if kind is None:
        add_list(page)
    else:
        add_entry(page, kind)
    return page.text()


def run(args: argparse.Namespace) -> Record | str:
    """Read the machine and judge it. Raises UsageError where the options or the workspace's files are unreadable."""
    if args.list or args.explain is not None:
        return told(args.explain, args.json)
    if args.bundle is not None:
        from gpusmoke.commands.bundle import refuse_to_overwrite

        refuse_to_overwrite(args.bundle)
    if args.build_cuda is not None and not version(args.build_cuda):
        raise UsageError(f"--build-cuda takes a version such as 13.0, not {args.build_cuda!r}")
    session = Session("doctor", build_cuda=args.build_cuda)
    with session.interruptible():
        session.facts = session.facts.with_facts(machine_facts())
    record = session.record(diagnose)
    if args.bundle is not None:
        from gpusmoke.commands.bundle import write

        write(record, args.bundle)
    return record
