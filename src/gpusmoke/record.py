"""The record: one run's facts, findings and measurements as JSON, written atomically and never over another file."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gpusmoke import __version__
from gpusmoke.errors import HEALTHY, INTERRUPTED, PROBLEM, UsageError
from gpusmoke.facts import Fact, Facts, Json
from gpusmoke.findings import Finding, problems
from gpusmoke.schema import mismatch, record_check

SCHEMA = "gpusmoke-record/1"
NODE = "request.node"
# For each device that was measured, each rank, each machine of a fleet, or so many measurements: whichever are most.
LIMIT_BYTES, MEASUREMENTS_EACH = 64 * 1024, 32
SHORTEST_SERIES = 8
# What facts and findings are cut to, in turn, where thinner series are not enough: characters a text, items a list.
CUTS = ((400, 100), (120, 40), (60, 16))


class Record(NamedTuple):
    """One run. `verdict` follows from the rest: an incomplete run is never healthy."""

    command: str
    started: str
    seconds: float = 0.0
    complete: bool = True
    facts: Facts = Facts()
    findings: Sequence[Finding] = ()
    measurements: Sequence[dict[str, Json]] = ()
    version: str = __version__

    @property
    def verdict(self) -> str:
        """Either "healthy" or "problem"."""
        return "healthy" if self.complete and not problems(self.findings) else "problem"

    @property
    def exit_code(self) -> int:
        """The command's exit code."""
        if not self.complete:
            return INTERRUPTED
        return HEALTHY if self.verdict == "healthy" else PROBLEM

    def made_by(self, node: str) -> Record:
        """The same record, with the name of the cluster's node that made it: the user asked for it to be told."""
        return self._replace(facts=self.facts.with_facts({NODE: Fact(node, "command line")}))

    @property
    def stem(self) -> str:
        """What its file is called: after its node where that is told, else after command and start."""
        return self.facts.text(NODE) or f"{self.command}-{self.started.replace('-', '').replace(':', '')}"

    def to_json(self) -> dict[str, Json]:
        """The document that data/record.schema.json describes."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "version": self.version,
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
            "verdict": self.verdict,
            "facts": self.facts.to_json(),
            "findings": [found.to_json() for found in self.findings],
            "measurements": [{**row, "samples": list(row["samples"])} for row in self.measurements],
        }

    def to_text(self) -> str:
        """The document as text, with series thinned to LIMIT_BYTES a device, and if need be long facts cut."""
        document = self.to_json()
        devices = len({row.get("gpu") for row in self.measurements})
        ranks = (row.get("ranks", 1) for row in self.measurements)
        many = len(self.measurements) / MEASUREMENTS_EACH
        limit = LIMIT_BYTES * max(1, many, devices, self.facts.number("fleet.size") or 0, *ranks)
        series = [row["samples"] for row in document["measurements"]]
        cuts = iter(CUTS)
        while len(text := json.dumps(document, indent=1)) >= limit:
            longest = max((len(samples) for samples in series), default=0)
            if longest > SHORTEST_SERIES:
                for samples in series:
                    if len(samples) > longest // 2:
                        del samples[1::2]
            elif (cut_to := next(cuts, None)) is not None:
                for part in ("facts", "findings"):
                    document[part] = cut(document[part], *cut_to)
            else:
                break
        return text + "\n"


def cut(value: Json, characters: int, items: int) -> Json:
    """The value with every text and list in it shortened, which an ellipsis tells."""
    if isinstance(value, str):
        return value if len(value) <= characters else f"{value[: characters - 1]}…"
    if isinstance(value, list):
        return [cut(one, characters, items) for one in value[:items]]
    if isinstance(value, dict):
        return {name: cut(one, characters, items) for name, one in value.items()}
    return value


@contextlib.contextmanager
def told_which(folder: Path) -> Iterator[None]:
    """Turn what the system says of a folder that can't be written into a UsageError that names it."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"results can't be written to {folder}: {error.strerror}; name another folder with --results"
        ) from None


def prepare(folder: Path) -> None:
    """Make sure, before anything is measured, that a record can be written below `folder`; UsageError if not."""
    import tempfile

    with told_which(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def write(record: Record, folder: Path) -> Path:
    """Write the record below `folder` under a name of its own and return the path; UsageError where that fails."""
    prepare(folder)
    with told_which(folder):
        return add(record, folder, record.stem)


def add(record: Record, folder: Path, stem: str) -> Path:
    """Write the record as a new file of that name, or the next that is free; OSError where that fails."""
    path = reserve(folder, stem)
    part = path.with_suffix(".part")
    try:
        part.write_text(record.to_text(), encoding="utf-8")
        part.replace(path)  # in one step, so that nobody ever reads half of it
    except BaseException:
        part.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise
    return path


def reserve(folder: Path, stem: str) -> Path:
    """Make an empty file with a name that nobody has: two runs may end in the same second, on a shared folder too."""
    for number in itertools.count(1):
        path = folder / f"{stem}{'' if number == 1 else f'-{number}'}.json"
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError


def read(path: Path) -> Record:
    """Read a record back. Raises UsageError, naming the file and the reason, where it is none."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} {error}") from None


def parse(content: bytes) -> Record:
    """The record that a file holds. Raises ValueError, which says of the file what it is instead."""
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not a whole record: {error}") from None
    name = document.get("schema", SCHEMA) if isinstance(document, dict) else SCHEMA
    if name != SCHEMA:
        raise ValueError(f"has schema {name!r:.60}; this version reads {SCHEMA!r}")
    if wrong := mismatch(document, record_check()):
        raise ValueError(f"is not a whole record: {wrong}")
    try:
        seconds = float(document["seconds"])
    except OverflowError as error:
        raise ValueError(f"is not a whole record: 'seconds' of it: {error}") from None
    return Record(
        command=document["command"],
        started=document["started"],
        seconds=seconds,
        complete=document["complete"],
        facts=Facts.from_json(document["facts"]),
        findings=[Finding.from_json(found) for found in document["findings"]],
        measurements=document["measurements"],
        version=document["version"],
    )
