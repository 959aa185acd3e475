"""The record: one run's facts, findings and measurements as JSON, written atomically and never over another file."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gpusmoke import __version__
from gpusmoke.errors import HEALTHY, INTERRUPTED, PROBLEM, UsageError
from gpusmoke.facts import Facts, Json
from gpusmoke.findings import Finding, problems

SCHEMA = "gpusmoke-record/1"
LIMIT_BYTES = 64 * 1024


@dataclass
class Record:
    """One run. `verdict` follows from the rest: an incomplete run is never healthy."""

    command: str
    started: str
    seconds: float = 0.0
    complete: bool = True
    facts: Facts = field(default_factory=Facts)
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
            "measurements": list(self.measurements),
        }

    def to_text(self) -> str:
        """The document as text, with the longest series thinned by halves until it is below LIMIT_BYTES."""
        document = self.to_json()
        while len(text := json.dumps(document, indent=1)) > LIMIT_BYTES:
            series = [
                (m, k) for m in document["measurements"] for k, v in m.items() if isinstance(v, list) and len(v) > 8
            ]
            if not series:
                break
            measurement, key = max(series, key=lambda at: len(at[0][at[1]]))
            document["measurements"] = [
                {**m, key: m[key][::2]} if m is measurement else m for m in document["measurements"]
            ]
        return text + "\n"


def now() -> str:
    """The time in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
    with told_which(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def write(record: Record, folder: Path) -> Path:
    """Write the record below `folder` under a name of its own and return the path; UsageError where that fails."""
    stem = f"{record.command}-{record.started.replace('-', '').replace(':', '')}"
    prepare(folder)
    with told_which(folder):
        path = reserve(folder, stem)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, suffix=".part", delete=False) as part:
            part.write(record.to_text())
        Path(part.name).chmod(0o644)
        Path(part.name).replace(path)  # in one step, so that nobody ever reads half of it
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
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise UsageError(f"{path} has schema {document['schema']!r}; this version reads {SCHEMA!r}")
        return Record(
            command=document["command"],
            started=document["started"],
            seconds=float(document["seconds"]),
            complete=document["complete"] is True,
            facts=Facts.from_json(document["facts"]),
            findings=[Finding.from_json(found) for found in document["findings"]],
            measurements=document["measurements"],
            version=document["version"],
        )
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a whole record: {type(error).__name__} {error}") from None
