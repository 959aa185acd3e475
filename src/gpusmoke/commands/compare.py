"""`compare`: whether a newer record is slower than an older one, and what explains it; without a GPU."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpusmoke.commands.session import Session, add_markdown_argument
from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact, Json
from gpusmoke.findings import comparable, comparison
from gpusmoke.record import Record, read

EXAMPLES = """\
examples:
  pixi run compare OLD.json NEW.json                is NEW slower? Then exit 1
  pixi run compare OLD.json NEW.json --tolerance 3  only by more than 3 %
  pixi run compare OLD.json NEW.json --markdown >> "$GITHUB_STEP_SUMMARY"
"""


def percent(text: str) -> float:
    """A tolerance in per cent."""
    value = float(text)
    if not 0 < value < 50:
        raise argparse.ArgumentTypeError(f"{text!r} is no tolerance: give per cent, above 0 and below 50")
    return value


def add_tolerance_argument(parser: argparse.ArgumentParser) -> None:
    """The option of commands that compare two runs."""
    parser.add_argument(
        "--tolerance",
        type=percent,
        default=100 * comparison.TOLERANCE,
        metavar="PERCENT",
        help=f"how much slower all settled products together may be (default: {100 * comparison.TOLERANCE})",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.add_argument("older", type=Path, metavar="A", help="the older record, of bench or smoke: the baseline")
    parser.add_argument("newer", type=Path, metavar="B", help="the newer record")
    add_tolerance_argument(parser)
    add_markdown_argument(parser)


def about(record: Record, path: Path) -> dict[str, Json]:
    """What a reader wants to know of a record that was compared."""
    return {
        "path": str(path),
        "command": record.command,
        "started": record.started,
        "gpu": ", ".join(dict.fromkeys(card.name for card in comparable.cards(record))),
        "driver": comparable.driver_version(record.facts),
        "torch": record.facts.text("torch.version"),
    }


def tables(older: Record, newer: Record, tolerance: float) -> dict[str, Fact]:
    """What was compared with what, GPU by GPU and row by row."""
    devices = comparison.devices(older, newer, tolerance)
    together = [
        {"gpu": one.pair.newer.gpu, "older_gpu": one.pair.older.gpu, "name": part.name, "products": len(part.lines)}
        | part.verdict.to_json()
        for one in devices
        for part in (*one.formats, one.whole)
    ]
    rows = [
        {"gpu": one.pair.newer.gpu, "name": line.name, "unit": line.newer["unit"]}
        | {"older": line.older["value"], "newer": line.newer["value"]}
        | line.verdict.to_json()
        for one in devices
        for line in one.lines
    ]
    source = "the rounds of both records"
    return {"compare.together": Fact(together, source), "compare.rows": Fact(rows, source)}


def run(args: argparse.Namespace) -> Record:
    """Compare two records. Raises UsageError where one is damaged, or where the two are not comparable."""
    session = Session("compare", tolerance_percent=args.tolerance)
    older, newer = read(args.older), read(args.newer)
    for path, record in ((args.older, older), (args.newer, newer)):
        if why := comparable.unfit(record):
            raise UsageError(f"{path} can't be compared: {why}")
    if why := comparable.difference(older, newer):
        raise UsageError(f"{args.older} and {args.newer} can't be compared: {why}")
    tolerance = args.tolerance / 100
    session.facts = session.facts.with_facts(
        {
            "compare.a": Fact(about(older, args.older), "the older record"),
            "compare.b": Fact(about(newer, args.newer), "the newer record"),
            **tables(older, newer, tolerance),
        }
    )
    return session.record(lambda _: comparison.judge(older, newer, tolerance))
