"""What a lock holds, as a table for the terminal and as Markdown for GitHub's step summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gpusmoke.facts import Facts, Json, listed
from gpusmoke.presentation.gfm import items
from gpusmoke.presentation.terminal import counted

if TYPE_CHECKING:
    from gpusmoke.presentation.terminal import Page
    from gpusmoke.record import Record

Row = dict[str, Json]
TITLES = ("", "PyTorch", "build", "CUDA", "driver >=", "MB", "GPUs")
RIGHT = ("MB",)
NONE = "-"


def megabytes(count: int) -> str:
    """A size in MB."""
    return f"{count / 1e6:.0f}"


def cells(row: Row) -> dict[str, str]:
    """One row's cells by the title of their column. A plus says that PyPI's packages come on top, of unknown size."""
    torch, held = row["pytorch"] or {}, listed(row["architectures"])
    return {
        "": row["platform"] or f"{row['subdir']} (undeclared)",
        "PyTorch": torch.get("version", NONE),
        "build": torch.get("build", "").split("_")[0] or NONE,
        "CUDA": row["cuda"].get("cuda-version", NONE),
        "driver >=": row["driver"] or NONE,
        "MB": megabytes(row["bytes"]) + ("+" if row["unsized"] else ""),
        "GPUs": f"{held[0]} to {held[-1]}" if held else NONE,
    }


def groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows that hold PyTorch by the environments that share them."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["pytorch"]:
            found.setdefault(", ".join(row["environments"]), []).append(row)
    return found


def without_pytorch(rows: Sequence[Row]) -> Iterator[str]:
    """One line for each environment that has no PyTorch."""
    sizes: dict[str, list[int]] = {}
    for row in rows:
        for name in [] if row["pytorch"] else row["environments"]:
            sizes.setdefault(name, []).append(row["bytes"])
    for name, own in sizes.items():
        span = megabytes(min(own)) + (f" to {megabytes(max(own))}" if len(own) > 1 else "")
        yield f"{name}: no PyTorch, {span} MB on {counted(len(own), 'platform')}"


def arch_lists(rows: Sequence[Row]) -> Iterator[str]:
    """What the builds hold code for, spelled out; one line for those that hold the same."""
    found: dict[str, list[str]] = {}
    for row in rows:
        sharing = found.setdefault(" ".join(listed(row["architectures"])), [])
        sharing += [build for build in [cells(row)["build"]] if build not in sharing]
    for held, sharing in found.items():
        if held:
            yield f"{', '.join(sharing)}: {held}"


def largest(row: Row) -> str:
    """The row's largest packages."""
    return ", ".join(f"{name} {megabytes(size)}" for name, size in row["largest"].items())


def columns(lines: Sequence[dict[str, str]]) -> Iterator[str]:
    """The titles and each line's cells, in columns."""
    table = [{title: title for title in TITLES}, *lines]
    widths = {title: max(len(line[title]) for line in table) for title in TITLES}
    for line in table:
        fitted = [line[t].rjust(widths[t]) if t in RIGHT else line[t].ljust(widths[t]) for t in TITLES]
        yield "  ".join(fitted).rstrip()


def is_overview(facts: Facts) -> bool:
    """Whether the lock itself was asked about, not a machine and not an older lock."""
    return not any(f"request.{name}" in facts for name in ("driver", "gpu", "diff"))


def is_whole(row: Row) -> bool:
    """Whether a row of a stored record is one that audit wrote."""
    texts = [row.get("subdir"), *listed(row.get("environments")), *listed(row.get("architectures"))]
    tables = [row.get("cuda"), row.get("largest"), row.get("pytorch") or {}]
    return (
        {"platform", "environments", "pytorch", "architectures", "driver", "unsized"} <= set(row)
        and isinstance(row["environments"], list)
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(table, dict) for table in tables)
        and all(isinstance(size, int) for size in [row.get("bytes"), *row["largest"].values()])
        and all(isinstance(text, str) for table in (row["cuda"], row["pytorch"] or {}) for text in table.values())
        and all(row[name] is None or isinstance(row[name], str) for name in ("platform", "driver"))
    )


def add_overview(page: Page, rows: Sequence[Row]) -> None:
    """Add the table, and what there is no room for in it."""
    rows = [row for row in rows if is_whole(row)]
    shared = [(names, row) for names, own in groups(rows).items() for row in own]
    title, *lines = columns([{**cells(row), "": f"  {cells(row)['']}"} for _, row in shared])
    if lines:
        page.add(title, "dim")
    heading = ""
    for (names, _), line in zip(shared, lines, strict=True):
        if names != heading:
            page.add(names)
            heading = names
        page.add(line)
    for text in without_pytorch(rows):
        page.add(text)
    page.add("")
    for text in arch_lists(rows):
        page.add(f"GPUs of {text}", "dim")
    page.add("Largest downloads in MB:", "dim")
    width = max((len(cells(row)[""]) for _, row in shared), default=0)
    for _, row in shared:
        page.add(f"  {cells(row)[''].ljust(width)}  {largest(row)}", "dim")
    page.add("")


def markdown(record: Record) -> str:
    """The record as GitHub-flavoured Markdown."""
    from gpusmoke.presentation.terminal import closing

    lines = [f"### pixi.lock: {closing(record)}", ""]
    if is_overview(record.facts):
        lines += markdown_table(record.facts.rows("lock.solves"))
    lines += items(record.findings)
    return "\n".join(lines) + "\n"


def markdown_table(rows: Sequence[Row]) -> list[str]:
    """All rows, the ones without PyTorch too: a page has the room."""
    rows = [row for row in rows if is_whole(row)]
    titles = ["platform", "environments", *TITLES[1:-1], "GPUs", "largest (MB)"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row in rows:
        line = cells(row)
        held = " ".join(listed(row["architectures"])) or NONE
        values = [
            line[""],
            ", ".join(row["environments"]),
            *(line[title] for title in TITLES[1:-1]),
            held,
            largest(row),
        ]
        lines.append("| " + " | ".join(values) + " |")
    return [*lines, ""]
