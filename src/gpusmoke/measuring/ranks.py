"""The ranks of a run of torch.distributed: where one stands, and what must not differ between them, or agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from gpusmoke.facts import Json
from gpusmoke.measuring.formats import runs

SAME = ("gpusmoke", "torch", "nccl")
"""What all ranks must have in one version."""


class Place(NamedTuple):
    """Where torchrun has put this process: rank of how many, and which one of the node's it is."""

    rank: int
    ranks: int
    local_rank: int
    node: int

    @classmethod
    def told_by(cls, environment: Mapping[str, str]) -> Self | None:
        """As torchrun tells its ranks, or None where it did not start this process."""
        if "TORCHELASTIC_RUN_ID" not in environment:
            return None
        return cls(*(int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK")))


def listed(ranks: Sequence[int]) -> str:
    """Numbers of ranks as people write them: 0, 1-3, 7."""
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs(ranks))


def differing(rows: Sequence[Mapping[str, Json]]) -> dict[str, dict[str, list[int]]]:
    """Of what should be the same: the versions there are, each with its ranks; only what differs."""
    found: dict[str, dict[str, list[int]]] = {}
    for name in SAME:
        versions: dict[str, list[int]] = {}
        for row in rows:
            versions.setdefault(str(row.get(name)), []).append(row["rank"])
        if len(versions) > 1:
            found[name] = versions
    return found


def sharing(rows: Sequence[Mapping[str, Json]]) -> dict[str, list[int]]:
    """GPUs, by their UUID, that more than one rank has."""
    found: dict[str, list[int]] = {}
    for row in rows:
        if row.get("uuid"):
            found.setdefault(str(row["uuid"]), []).append(row["rank"])
    return {uuid: ranks for uuid, ranks in found.items() if len(ranks) > 1}


def without_gpu(rows: Sequence[Mapping[str, Json]]) -> list[int]:
    """The ranks that were to use a GPU and see none."""
    return [row["rank"] for row in rows if row.get("device") is None]


def fit(rows: Sequence[Mapping[str, Json]]) -> bool:
    """Whether these ranks can work together at all."""
    return not (differing(rows) or sharing(rows) or without_gpu(rows))
