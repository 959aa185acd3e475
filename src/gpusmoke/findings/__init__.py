"""Findings: what facts mean. Ids, severities, sentences and advice lie in data/findings.toml; rules only pick them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.resources import files

from gpusmoke.facts import Json


@dataclass(frozen=True)
class Finding:
    """One thing the facts mean: `gpu` is the ordinal of the GPU it is about, or None for the machine."""

    id: str
    severity: str
    gpu: int | None
    title: str
    evidence: tuple[str, ...]
    advice: tuple[str, ...]
    link: str | None

    def to_json(self) -> dict[str, Json]:
        """The finding as it stands in a record."""
        return {**asdict(self), "evidence": list(self.evidence), "advice": list(self.advice)}

    @classmethod
    def from_json(cls, document: dict[str, Json]) -> Finding:
        """The finding of a record that was read back."""
        known = {field.name: document[field.name] for field in fields(cls)}
        return cls(**{**known, "evidence": tuple(known["evidence"]), "advice": tuple(known["advice"])})


@cache
def catalogue() -> dict[str, dict[str, Json]]:
    """Every kind of finding by id: severity, title, advice, link."""
    return tomllib.loads((files("gpusmoke") / "data/findings.toml").read_text(encoding="utf-8"))


def finding(kind: str, evidence: Sequence[str] = (), gpu: int | None = None, **words: object) -> Finding:
    """The catalogue's entry `kind` with its {words} filled in, about `gpu`, with the evidence it rests on."""
    entry = catalogue()[kind]
    return Finding(
        id=kind,
        severity=entry["severity"],
        gpu=gpu,
        title=entry["title"].format(**words),
        evidence=tuple(evidence),
        advice=tuple(step.format(**words) for step in entry.get("advice", [])),
        link=entry.get("link"),
    )


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Those that make a verdict unhealthy."""
    return [found for found in findings if found.severity == "problem"]
