"""`doctor`: facts and findings without PyTorch."""

from __future__ import annotations

import argparse

from gpusmoke.commands.session import Session
from gpusmoke.errors import UsageError
from gpusmoke.facts import Facts
from gpusmoke.facts.driver import DriverProbes
from gpusmoke.facts.host import host_facts
from gpusmoke.facts.workspace import PixiInfo, project_root, read_manifest, workspace_facts
from gpusmoke.findings.machine import diagnose
from gpusmoke.findings.platforms import version
from gpusmoke.record import Record

EXAMPLES = """\
examples:
  pixi run doctor                    which CUDA this driver runs, what Pixi will pick
  pixi run doctor --json             the same as a record
  pixi run doctor --build-cuda 13.0  can this driver run a CUDA 13.0 build?
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `doctor`."""
    parser.add_argument(
        "--build-cuda",
        metavar="X.Y",
        help="the CUDA version of a PyTorch build that is to run here (default: the workspace's)",
    )


def machine_facts() -> Facts:
    """All facts that need no PyTorch; the driver's libraries and Pixi are asked at the same time.

    Raises UsageError where the workspace's manifest or lock can't be read.
    """
    probes, project = DriverProbes(), project_root()
    info = PixiInfo(project)
    manifest = read_manifest(project)
    return Facts({**host_facts(), **workspace_facts(project, manifest, info), **probes.facts()})


def run(args: argparse.Namespace) -> Record:
    """Read the machine and judge it. Raises UsageError where the options or the workspace's files are unreadable."""
    if args.build_cuda is not None and not version(args.build_cuda):
        raise UsageError(f"--build-cuda takes a version such as 13.0, not {args.build_cuda!r}")
    session = Session("doctor", build_cuda=args.build_cuda)
    with session.interruptible():
        session.facts = session.facts.with_facts(machine_facts())
    return session.record(diagnose)
