"""`report`: shows a stored record."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpusmoke.record import Record, read

EXAMPLES = """\
examples:
  pixi run report results/smoke-20261124T101500Z.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    parser.add_argument("record", type=Path, help="a record that bench or smoke wrote, or that --json printed")


def run(args: argparse.Namespace) -> Record:
    """Read the record back. Raises UsageError where it is none."""
    return read(args.record)
