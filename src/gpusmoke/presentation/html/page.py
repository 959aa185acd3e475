"""The page: puts a record's verdict, plots and tables into the template, and writes it as one file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from gpusmoke.errors import UsageError
from gpusmoke.facts import Json
from gpusmoke.presentation import shown_by
from gpusmoke.presentation.alike import told_once
from gpusmoke.presentation.html import canvas, tables
from gpusmoke.presentation.html.plot import Plot
from gpusmoke.presentation.html.rates import bars, rounds
from gpusmoke.presentation.html.roofline import roofline
from gpusmoke.presentation.html.rows import TIMES, Device, devices, ordered
from gpusmoke.presentation.html.timeline import over_time
from gpusmoke.presentation.terminal import closing
from gpusmoke.record import Record

DATA = Path(__file__).parents[2] / "data"
DOCUMENT = Path(__file__).parents[4] / "docs/measuring.md"
MARK = re.compile(rb'\A\s*<!doctype html>.{0,200}<meta name="generator" content="gpusmoke', re.DOTALL | re.IGNORECASE)
"""How a page of ours begins."""


def plots(device: Device) -> list[Plot]:
    """All plots of one device."""
    return [bars(device), rounds(device), *over_time(device), roofline(device)]


def link(text: Json) -> str | None:
    """The text where it is a link to a web page: a record may say anything, javascript: as well."""
    try:
        parts = urlsplit(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return text if parts is not None and parts.scheme in ("https", "http") and parts.netloc else None


def marked(text: str) -> Markup:
    """The text with what stands between backticks as code, as it is meant in the catalogue of findings."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup().join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


def template(name: str) -> Template:
    """A template of data/, which escapes all text that is put into it."""
    environment = Environment(
        loader=FileSystemLoader(DATA), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"link": link, "marked": marked}
    return environment.get_template(name)


def render(record: Record, folder: Path | None = None) -> str:
    """The page as text; from `folder`, where it will lie, it links to the kit's own documents where they are near."""
    if own := shown_by(record.command, __package__ or ""):
        return str(own.render(record))
    measured = devices(record.facts, record.measurements)
    with canvas.style():
        shown = [(device, tables.rates(device), plots(device)) for device in measured]
    first, rest = ordered(record.findings)
    sources = {row.get("datasheet_source") for row in record.measurements}
    return template("report.html.jinja").render(
        record=record,
        closing=closing(record),
        names=names(record, measured),
        findings=[*told_once(first), *told_once(rest)],
        together=tables.of_several(record),
        devices=shown,
        extra=[*tables.of_command(record), *filter(None, [tables.exercised(record.facts)])],
        machine=tables.machine(record.facts),
        facts=tables.everything(record.facts),
        methods=sorted({row["method"] for row in record.measurements}),
        sources=sorted(source for source in sources if link(source)),
        document=document(folder),
    )


def names(record: Record, measured: list[Device]) -> str:
    """The devices that the record is about, by name."""
    known = [device.name for device in measured]
    known = known or [str(row.get("name")) for row in record.facts.rows("cuda.devices")]
    return ", ".join(
        name if known.count(name) == 1 else f"{known.count(name)} {TIMES} {name}" for name in dict.fromkeys(known)
    )


def document(folder: Path | None) -> str | None:
    """The link from `folder` to how the kit measures, where both lie in the same repository."""
    root = DOCUMENT.parents[1]
    if folder is None or not DOCUMENT.is_file() or not folder.resolve().is_relative_to(root):
        return None
    return Path(os.path.relpath(DOCUMENT, folder.resolve())).as_posix()


def write(record: Record, path: Path) -> None:
    """Write the page in one step. Raises UsageError where that fails, or where another file would be lost."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not is_ours(path):
            raise UsageError(f"{path} exists and is no report of gpusmoke: name another file with --html FILE")
        # A lone half of a surrogate pair, which JSON can hold, has no place in UTF-8.
        part.write_bytes(render(record, path.parent).encode("utf-8", "replace"))
        part.replace(path)
    except OSError as error:
        raise UsageError(f"the report can't be written to {path}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def is_ours(path: Path) -> bool:
    """Whether the file begins like a page that was written here."""
    with path.open("rb") as file:
        return MARK.match(file.read(1024)) is not None
