"""`report`: shows a stored record, on the terminal, as one HTML file, or as Markdown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from gpusmoke.commands.session import add_markdown_argument
from gpusmoke.errors import UsageError
from gpusmoke.findings.comparable import is_product, workload
from gpusmoke.record import Record, read

EXAMPLES = """\
examples:
  pixi run report results/smoke-20261124T101500Z.json         on the terminal
  pixi run report results/bench-20261124T101500Z.json --html  a page beside it
  pixi run report results/bench-20261124T101500Z.json --html page.html
in a job of GitHub Actions:
  pixi run report RECORD --markdown >> "$GITHUB_STEP_SUMMARY"
  pixi run report RECORD --outputs >> "$GITHUB_OUTPUT"
"""
PACKAGES = ("matplotlib", "jinja2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    parser.add_argument(
        "record", type=Path, nargs="?", help="a record that bench or smoke wrote, or that --json printed"
    )
    parser.add_argument(
        "--html",
        type=Path,
        nargs="?",
        default=False,
        metavar="FILE",
        help="write it as one HTML file that needs nothing else (default: the record's name with .html)",
    )
    add_markdown_argument(parser)
    parser.add_argument("--outputs", action="store_true", help="print verdict, record and tflops, for $GITHUB_OUTPUT")


def run(args: argparse.Namespace) -> Record | str:
    """Read the record back and show it. Raises UsageError where that can't be done."""
    path, target = args.record, args.html
    if path is None and target:  # `report --html RECORD`: argparse takes it for the FILE
        path, target = target, None
    if path is None:
        raise UsageError("name a record, as in: pixi run report results/bench-20261124T101500Z.json")
    if args.outputs and (args.json or args.markdown):
        raise UsageError("--outputs wants standard output for itself: leave out --json and --markdown")
    record = read(path)
    if target is not False:
        page = page_path(path, target)
        page_writer()(record, page)
        if args.json or args.markdown or args.outputs:
            print(f"Report: {page}", file=sys.stderr)
        else:
            return f"Report: {page}\n"
    return outputs(record, path) if args.outputs else record


def outputs(record: Record, path: Path) -> str:
    """What a step of CI hands on: verdict, path, and the settled TFLOP/s of the first product on the slowest GPU.

    Raises UsageError for a path that would be read as more than one line.
    """
    if "\n" in str(path):
        raise UsageError("the record's path has a line break: give it another name")
    settled = [row for row in record.measurements if is_product(row)]
    first = [row["value"] for row in settled if workload(row) == workload(settled[0])]
    return f"verdict={record.verdict}\nrecord={path}\ntflops={min(first, default='')}\n"


def page_path(record: Path, target: Path | None) -> Path:
    """Where the page goes: beside the record, into a folder, or where the user says."""
    if target is None:
        return record.with_suffix(".html")
    return target / record.with_suffix(".html").name if target.is_dir() else target


def page_writer() -> Callable[[Record, Path], None]:
    """The function that draws and writes. Raises UsageError where a package is missing that only it needs."""
    try:
        from gpusmoke.presentation.html.page import write
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in PACKAGES:
            raise
        raise UsageError(
            f"--html draws with {' and '.join(PACKAGES)}, and this Python lacks {missing}: "
            f"pip install {' '.join(PACKAGES)}"
        ) from None
    return write
