"""A finding about nodes of a fleet, which is a line of its table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpusmoke.facts import Json
from gpusmoke.findings import Finding, finding
from gpusmoke.fleet.hostlist import fold, folded, shortened

ROOM = 100  # characters for the nodes in a sentence; the evidence has all of them
MOST_PATHS = 10


class Line(NamedTuple):
    """A finding, the nodes that it is about, none where it is about all, and of a single node the GPUs."""

    finding: Finding
    nodes: tuple[str, ...] = ()
    gpus: tuple[int, ...] = ()

    @property
    def where(self) -> str:
        """The nodes and GPUs as the sentence names them."""
        return whereabouts(self.nodes, self.gpus)

    @property
    def text(self) -> str:
        """The sentence without the nodes."""
        return self.finding.title.removeprefix(f"{self.where}: ") if self.nodes else self.finding.title

    def to_json(self) -> dict[str, Json]:
        """The line as a fact."""
        return {
            "id": self.finding.id,
            "severity": self.finding.severity,
            "nodes": fold(self.nodes),
            "count": len(self.nodes),
            "gpus": numbers(self.gpus),
            "text": self.text,
        }


def numbers(gpus: Iterable[int]) -> str:
    """Ordinals, as in 0-2,7."""
    return folded("", {str(one) for one in gpus}, "").strip("[]") if gpus else ""


def whereabouts(nodes: Sequence[str], gpus: Sequence[int] = ()) -> str:
    """Nodes and GPUs in words; of many nodes the first ones, and how many they are."""
    names = fold(nodes)
    told = names if len(names) <= ROOM else f"{shortened(names, ROOM)} ({len(nodes)} nodes)"
    return told + (f" GPU{'' if len(gpus) == 1 else 's'} {numbers(gpus)}" if gpus else "")


def line(
    kind: str, nodes: Iterable[str], gpus: Iterable[int] = (), evidence: Iterable[str] = (), **words: object
) -> Line:
    """The catalogue's entry `kind` about these nodes; {where} in its title is filled in here."""
    held, ordinals = tuple(nodes), tuple(sorted(gpus))
    where = whereabouts(held, ordinals)
    all_of_them = [f"nodes: {fold(held)}"] if len(fold(held)) > ROOM else []
    return Line(finding(kind, [*evidence, *all_of_them], None, where=where, **words), held, ordinals)


def some(paths: Sequence[str]) -> list[str]:
    """Paths as evidence, of many the first ones."""
    more = [f"and {len(paths) - MOST_PATHS} more"] if len(paths) > MOST_PATHS else []
    return [*paths[:MOST_PATHS], *more]
