"""What changed between two locks, in words that matter to those who use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gpusmoke.facts import Facts, Json, listed
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.builds import is_cpu, runs_on
from gpusmoke.findings.lock import built_with, cuda_packages, needs, place, pytorch, text
from gpusmoke.findings.platforms import version

Row = dict[str, Json]


class Pair(NamedTuple):
    """What environments had on a platform, and what they have there now; None where there is nothing."""

    environments: list[str]
    old: Row | None
    new: Row | None

    @property
    def about(self) -> dict[str, Json]:
        """The fields of every finding about it."""
        return {"platform": place(self.new or self.old or {}), "environments": " and ".join(self.environments)}


def by_place(rows: list[Row]) -> dict[tuple[str, str], Row]:
    """The rows by environment and platform."""
    return {(str(name), place(row)): row for row in rows for name in listed(row.get("environments"))}


def pairs(facts: Facts) -> list[Pair]:
    """Old and new, one pair for all environments that had the same and have the same."""
    old, new = by_place(facts.rows("lock.before")), by_place(facts.rows("lock.solves"))
    found: dict[tuple[int, int], Pair] = {}
    for key in [*new, *(key for key in old if key not in new)]:
        one, other = old.get(key), new.get(key)
        found.setdefault((id(one), id(other)), Pair([], one, other)).environments.append(key[0])
    return list(found.values())


def megabytes(row: Row) -> int:
    """What a row downloads."""
    size = row.get("bytes")
    return round(size / 1e6) if isinstance(size, int) else 0


def same(row: Row) -> tuple[Json, Json]:
    """What is equal where nothing changed."""
    return row.get("digest"), row.get("declared")


def summary(row: Row) -> str:
    """What a row holds, in a few words."""
    held = pytorch(row)
    torch = f"PyTorch {held['version']} {held['build'].split('_')[0]}, " if held["version"] else ""
    return f"{torch}{megabytes(row)} MB"


def words(old: Row, new: Row) -> Iterator[str]:
    """Each difference that matters, as "PyTorch 2.11.0 -> 2.12.1"."""
    (before, after), size = (pytorch(old), pytorch(new)), megabytes(new) - megabytes(old)
    for what, one, other in (
        ("PyTorch", before["version"], after["version"]),
        ("build", before["build"].split("_")[0], after["build"].split("_")[0]),
        ("CUDA", cuda_packages(old).get("cuda-version"), cuda_packages(new).get("cuda-version")),
        ("declared cuda", text(old, "declared"), text(new, "declared")),
    ):
        if one != other:
            yield f"{what} {one or 'none'} -> {other or 'none'}"
    if size:
        yield f"download {megabytes(old)} -> {megabytes(new)} MB ({size:+})"


def lost(old: Row, new: Row) -> list[str]:
    """The compute capabilities that the old build names and the new one does not run on."""
    before, after = needs(old)["architectures"], [] if is_cpu(pytorch(new)["build"]) else needs(new)["architectures"]
    cards = [str(entry).removesuffix("+PTX") for entry in listed(before)]
    return [] if after is None else [card for card in cards if runs_on(card, after, jit=True) is False]


def support(pair: Pair, old: Row, new: Row) -> Iterator[Finding]:
    """Drivers and cards that ran it and do no more."""
    before, after = text(needs(old), "driver"), text(needs(new), "driver")
    if before and after and version(before) < version(after):
        yield finding(
            "driver-floor-raised", [f"lowest driver: {before}, now {after}"], **pair.about, old=before, new=after
        )
    if cards := lost(old, new):
        evidence = [
            f"build {pytorch(row)['build']}: {' '.join(listed(needs(row)['architectures']))}" for row in (old, new)
        ]
        yield finding("gpus-dropped", evidence, **pair.about, cards=", ".join(cards))


def compared(pair: Pair) -> Iterator[Finding]:
    """The findings about one pair; none where nothing changed."""
    if pair.old is None and pair.new is not None:
        yield finding("locked-anew", **pair.about, summary=summary(pair.new))
    elif pair.new is None and pair.old is not None:
        kind = "cuda-no-longer-locked" if built_with(pair.old) else "no-longer-locked"
        yield finding(kind, [f"before: {summary(pair.old)}"], **pair.about, summary=summary(pair.old))
    elif pair.old is not None and pair.new is not None and same(pair.old) != same(pair.new):
        changes = ", ".join(words(pair.old, pair.new)) or "only packages other than PyTorch and CUDA"
        yield finding("lock-changed", **pair.about, changes=changes)
        yield from support(pair, pair.old, pair.new)


def judge(facts: Facts) -> list[Finding]:
    """Every finding of `audit --diff`."""
    found = [one for pair in pairs(facts) for one in compared(pair)]
    return found or [finding("lock-unchanged")]
