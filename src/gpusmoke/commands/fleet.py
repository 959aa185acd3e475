"""`fleet`: many machines' records as one table, the worst first."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from gpusmoke.commands.report import page_writer
from gpusmoke.commands.session import Session, add_markdown_argument
from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact
from gpusmoke.findings import fleet as rules
from gpusmoke.findings.skew import versions
from gpusmoke.findings.slow import groups
from gpusmoke.fleet import hostlist, tables
from gpusmoke.fleet.files import find, read_all, uncollected
from gpusmoke.fleet.nodes import fleet
from gpusmoke.record import Record

EXAMPLES = """\
examples:
  pixi run fleet results/4711                                 records of a job
  pixi run fleet results/4711 --expect 'node[001-064]'        is a node missing?
  pixi run fleet results/4711 --expect "$SLURM_JOB_NODELIST"  in the job itself
  pixi run fleet results --expect @nodes.txt --html fleet.html
  pixi run fleet results --all                                every line
  pixi run fleet results --json |
    jq -r '.facts."fleet.nodes".value[] | select(.state != "healthy").node'
"""
# A line of the nodes.txt that scripts/htcondor/smoke.sub reads: a node, and how many GPUs it has.
OF_HTCONDOR = re.compile(r"^\s*([^\s,\[\]]+)\s*,\s*[0-9]+\s*$", re.ASCII)


def nodes(text: str) -> list[str]:
    """The nodes that should have left a record. Raises UsageError where that can't be told."""
    try:
        if text.startswith("@"):
            lines = Path(text[1:]).read_text(encoding="utf-8-sig").splitlines()
            text = ",".join(OF_HTCONDOR.sub(r"\1", line.partition("#")[0]) for line in lines)
        names = hostlist.expand(text)
    except OSError as error:
        raise UsageError(f"--expect: {text[1:]} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--expect: {error}") from None
    if not names:
        raise UsageError(f"--expect: {text!r:.40} names no node")
    return names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fleet`."""
    parser.add_argument("records", type=Path, nargs="+", metavar="PATH", help="folders of records, or records")
    parser.add_argument(
        "--expect",
        metavar="NODELIST",
        help="the nodes that should be there, as Slurm writes them (a[01-03,7],b), or @FILE with one on each line, "
        "as in HTCondor's nodes.txt",
    )
    parser.add_argument("--all", action="store_true", help="show every line, and every node that is healthy")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write it as one HTML file")
    add_markdown_argument(parser)


def run(args: argparse.Namespace) -> Record:
    """Read and judge all records. Raises UsageError where there are none, and nobody said of which nodes."""
    write = page_writer() if args.html else None  # what it needs may be missing: known before all is read
    expected = None if args.expect is None else nodes(args.expect)
    session = Session("fleet", all=args.all, expected=expected and hostlist.fold(expected))
    files, unread = find(args.records)
    if not files and not unread and expected is None:
        raise UsageError(f"no record was found in {', '.join(map(str, args.records))}")
    with uncollected():
        read = fleet([*read_all(files), *unread], expected)
        measured = groups(read.nodes)
        lines = rules.judge(read, measured)
        shown = tables.facts(read, lines, rules.states(read, lines), measured, versions(read.nodes))
    counted = {"fleet.size": Fact(max(len(files) + len(unread), len(expected or ())), "files and expected nodes")}
    session.facts = session.facts.with_facts(counted | shown)
    record = session.record(lambda _: [line.finding for line in lines])
    if write is not None:
        write(record, args.html)
        print(f"Report: {args.html}", file=sys.stderr)
    return record
