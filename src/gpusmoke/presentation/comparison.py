"""Two records side by side, as a table for the terminal and as Markdown for GitHub's step summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpusmoke.facts import Facts, Json
from gpusmoke.presentation.gfm import items

if TYPE_CHECKING:
    from gpusmoke.presentation.terminal import Page
    from gpusmoke.record import Record

Row = dict[str, Json]
TITLES = ("", "A", "B", "change", "spread", "tolerance", "verdict")
ALL_BUT = "tolerance"  # what there is no room for on a terminal; the findings tell it
LEGEND = """\
Rates in TFLOP/s (TOP/s for int8), of copies in GB/s. Slower or faster: by more
than a tolerance and by more than the spread of both runs' rounds explains; a
product beside others has three times the tolerance of all of them together."""


def is_whole(row: Row) -> bool:
    """Whether a row of a stored record is one that compare wrote."""

    def number(name: str) -> bool:
        return isinstance(row.get(name), int | float) and not isinstance(row[name], bool)

    return (
        all(isinstance(row.get(name), str) for name in ("name", "verdict"))
        and all(number(name) for name in ("change_percent", "tolerance_percent"))
        and all(row.get(name, 0) is None or number(name) for name in ("spread_percent", "gpu"))
        and (number("products") or (number("older") and number("newer")))
    )


def cells(row: Row) -> dict[str, str]:
    """One row's cells by the title of their column; what is judged together has no rates."""
    spread, verdict = row["spread_percent"], row["verdict"].replace("-", " ")
    return {
        "": row["name"],
        "A": "" if "products" in row else f"{row['older']:.4g}",
        "B": "" if "products" in row else f"{row['newer']:.4g}",
        "change": f"{row['change_percent']:+.1f} %",
        "spread": "-" if spread is None else f"{spread:.1f} %",
        "tolerance": f"{row['tolerance_percent']:.3g} %",
        "verdict": verdict.upper() if verdict == "slower" else verdict,
    }


def lines(facts: Facts) -> list[dict[str, str]]:
    """Each GPU's rows, and below them what is judged together; with a heading where there are several GPUs."""
    rows = [row for row in facts.rows("compare.rows") if is_whole(row)]
    rows += [row for row in facts.rows("compare.together") if is_whole(row) and row.get("products", 1) > 1]
    gpus = list(dict.fromkeys(row["gpu"] for row in rows))
    found = list[dict[str, str]]()
    for gpu in gpus:
        found += [dict.fromkeys(TITLES, "") | {"": f"GPU {gpu}"}] if len(gpus) > 1 else []
        found += [cells(row) for row in rows if row["gpu"] == gpu]
    return found


def records(facts: Facts) -> Iterator[str]:
    """What A and B are, one line each."""
    for letter in "AB":
        row = facts.row(f"compare.{letter.lower()}")
        told = [row.get("started"), row.get("gpu")]
        told += [f"{name} {row[name]}" for name in ("driver", "torch") if row.get(name)]
        told.append(row.get("path"))  # may be long, and is not broken
        yield f"{letter}: " + ", ".join(str(one) for one in told if one)


def add_comparison(page: Page, facts: Facts) -> None:
    """Add what was compared and the table; names that are too long for it are broken."""
    from rich.table import Table

    for text in records(facts):
        page.add_wrapped(text, style="dim")
    table = Table(box=None, pad_edge=False)
    titles = [title for title in TITLES if title != ALL_BUT]
    for title in titles:
        left = title in ("", "verdict")
        table.add_column(title, justify="left" if left else "right", no_wrap=title != "", overflow="fold")
    for line in lines(facts):
        table.add_row(*(line[title] for title in titles))
    page.add("")
    page.draw(table, page.width)
    for text in LEGEND.splitlines():
        page.add(text, "dim")
    page.add("")


def markdown(record: Record) -> str:
    """The record as GitHub-flavoured Markdown."""
    from gpusmoke.presentation.terminal import closing

    found = [f"### compare: {closing(record)}", "", *(f"- {text}" for text in records(record.facts)), ""]
    found += ["| " + " | ".join(TITLES) + " |", "|---|" + "---:|" * 5 + "---|"]
    found += ["| " + " | ".join(line[title] for title in TITLES) + " |" for line in lines(record.facts)]
    found.append("")
    found += items(record.findings)
    return "\n".join(found) + "\n"
