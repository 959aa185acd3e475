"""Facts: things read off the machine, each with where it was read. Nothing here judges them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Json = Any  # whatever json.dumps accepts; narrowed by the readers below


# This, Finding and Record are no dataclasses, whose module takes doctor a tenth of its time to import.
class Fact(NamedTuple):
    """One thing read off the machine; `value` is None where it could not be read, and `reason` then says why."""

    value: Json
    source: str
    reason: str | None = None

    def to_json(self) -> dict[str, Json]:
        """The fact as it stands in a record."""
        document = {"value": self.value, "source": self.source}
        return document if self.reason is None else {**document, "reason": self.reason}


class Facts(Mapping[str, Fact]):
    """All facts of a run by name, with readers that never raise: an unread, missing or odd value reads as nothing."""

    def __init__(self, facts: Mapping[str, Fact] | None = None) -> None:
        self._facts = dict(facts or {})

    def __getitem__(self, name: str) -> Fact:
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def with_facts(self, more: Mapping[str, Fact]) -> Facts:
        """These facts and `more`, which win where a name is in both."""
        return Facts({**self._facts, **more})

    def value(self, name: str) -> Json:
        """The value, or None."""
        fact = self._facts.get(name)
        return None if fact is None else fact.value

    def text(self, name: str) -> str | None:
        """The value where it is a string."""
        value = self.value(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        """The value where it is a whole number."""
        value = self.value(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def flag(self, name: str) -> bool:
        """Whether the value is True."""
        return self.value(name) is True

    def rows(self, name: str) -> list[dict[str, Json]]:
        """The value where it is a list of objects; anything else in it is left out."""
        return objects(self.value(name))

    def row(self, name: str) -> dict[str, Json]:
        """The value where it is an object."""
        value = self.value(name)
        return value if isinstance(value, dict) else {}

    def evidence(self, *names: str) -> list[str]:
        """What was read and where, one line per name that exists: the evidence of a finding."""
        lines = []
        for name in names:
            fact = self._facts.get(name)
            if fact is not None:
                lines.append(f"{name}: {fact.reason if fact.value is None else shown(fact.value)} ({fact.source})")
        return lines

    def to_json(self) -> dict[str, Json]:
        """The facts as they stand in a record."""
        return {name: fact.to_json() for name, fact in self._facts.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Mapping[str, Json]]) -> Facts:
        """The facts of a record that was read back."""
        return cls({n: Fact(d["value"], d["source"], d.get("reason")) for n, d in document.items()})


def shown(value: Json) -> str:
    """The value in words, without Python's brackets and quotes."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value) or "none"
    return f"'{value}'" if value == "" else str(value)


def objects(value: Json) -> list[dict[str, Json]]:
    """The objects of a list, without whatever else is in it; none where the value is no list."""
    return [one for one in listed(value) if isinstance(one, dict)]


def listed(value: Json) -> list[Json]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def root() -> Path:
    """The folder below which /dev, /proc and /sys are read; GPUSMOKE_ROOT lets tests stand in another machine."""
    return Path(os.environ.get("GPUSMOKE_ROOT", "/"))
