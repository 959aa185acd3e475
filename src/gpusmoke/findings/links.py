"""What it means how copies from GPU to GPU fared: whether they arrived, by which way, and how fast they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from gpusmoke.facts import Facts, Json, listed
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.topology import Link, card, common, link, rate, way
from gpusmoke.measuring.outliers import slower
from gpusmoke.tables import table

Row = dict[str, Json]
ONE_WAY, BOTH_WAYS = "peer-copy", "peer-copy-both-ways"
HOW = {
    "plain": "bytes were changed on the way, or never arrived",
    "strided": "what a kernel wrote into the other's memory did not all arrive",
    "ordered": "what arrived was not what had been written last, in the order of the streams",
}
MOST_NAMED = 6


class Copied(NamedTuple):
    """How copies from one GPU to another fared: the proofs that failed, None where an error ended them."""

    source: int
    target: int
    access: bool
    failed: list[str] | None
    error_text: str | None


def copied(facts: Facts) -> list[Copied]:
    """Every pair that was tried, in both directions."""
    found = []
    for name in facts:
        number = name.removeprefix("links.")
        for row in facts.rows(name) if number.isdecimal() else ():
            failed, error, target = row.get("failed"), row.get("error_text"), row.get("to")
            if isinstance(target, int):
                names = [str(one) for one in failed] if isinstance(failed, list) else None
                found.append(Copied(int(number), target, row.get("access") is True, names, error and str(error)))
    return found


def named(pairs: Sequence[tuple[int, int]]) -> str:
    """Pairs in words: "1 to 2", and how many more where there are many."""
    names = [f"{a} to {b}" for a, b in pairs]
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def unended(facts: Facts, pairs: Sequence[Copied]) -> Iterator[Finding]:
    """What ended the child before it was through: a copy that hangs, an error, or a crash."""
    outcome = facts.row("links.worker.0")
    if not outcome:
        return
    now = [(one[0], one[1]) for one in listed(facts.value("links.now")) if isinstance(one, list) and len(one) == 2]
    where = f"from GPU {named(now)}" if now else None
    place = where or str(outcome.get("last_step") or "before they began")
    evidence = [f"last step: {outcome.get('last_step')}", f"exit code {outcome.get('exit_code')}"]
    evidence += [f"stderr: {line}" for line in listed(outcome.get("stderr"))[-4:]]
    if text := next((one.error_text for one in pairs if one.error_text), None):
        yield finding("peer-copy-failed", evidence, where=place, text=text)
    elif outcome.get("timed_out") or outcome.get("unkillable"):
        seconds = outcome.get("silent_seconds") or facts.value("request.links_deadline")
        if where:
            yield finding("peer-copy-hung", evidence, where=where, seconds=seconds)
        else:
            yield finding("peer-copy-failed", evidence, where=place, text=f"no end after {seconds} s")
    elif not outcome.get("finished") or outcome.get("exit_code") != 0:
        text = f"the process that makes them ended with exit code {outcome.get('exit_code')}"
        yield finding("peer-copy-failed", evidence, where=place, text=text)


def wrong(pairs: Sequence[Copied], measurements: Sequence[Row]) -> Iterator[Finding]:
    """Copies whose bytes differ: one finding for each way of going wrong."""
    bad = {what: [(one.source, one.target) for one in pairs if what in (one.failed or ())] for what in HOW}
    # What was right once and is wrong at full speed.
    timed = [(row["gpu"], row["peer"]) for row in measurements if row["verified"]["passed"] is not True]
    bad["plain"] = list(dict.fromkeys([*bad["plain"], *timed]))
    told: set[tuple[int, int]] = set()
    for what, ways in bad.items():
        if new := [way for way in ways if way not in told]:
            evidence = [f"{what}: {named(ways)}"]
            yield finding("peer-copy-wrong", evidence, common(new), pairs=named(new), how=HOW[what])
        told |= set(ways)


def without_access(facts: Facts, pairs: Sequence[Copied]) -> Iterator[Finding]:
    """Pairs whose copies go through the host's memory: a problem where there is NVLink between them."""
    closed = sorted({(min(one[:2]), max(one[:2])) for one in pairs if not one.access})
    linked = [pair for pair in closed if (found := link(facts, *pair)) is not None and found.nvlinks]
    for kind, those in (
        ("nvlink-without-peer-access", linked),
        ("no-peer-access", [pair for pair in closed if pair not in linked]),
    ):
        if those:
            names = ", ".join(f"{a} and {b}" for a, b in those[:MOST_NAMED])
            names += f", and {len(those) - MOST_NAMED} more pairs" if len(those) > MOST_NAMED else ""
            yield finding(kind, ["torch.cuda.can_device_access_peer: False"], common(those), pairs=names)


def proved(facts: Facts, pairs: Sequence[Copied]) -> Iterator[Finding]:
    """The one line that says that all is right, where nothing else was said."""
    if pairs:
        kinds = dict.fromkeys(way_of(facts, one) for one in pairs)
        yield finding("peers-work", count=len({one.source for one in pairs}), links=", ".join(kinds))


def way_of(facts: Facts, one: Copied) -> str:
    """By what way a copy goes, in words."""
    found = link(facts, one.source, one.target)
    if not one.access:
        return "through the host"
    if found is None:
        return "directly"
    return way(facts, one.source, found)


def limit(facts: Facts, row: Row, found: Link) -> float | None:
    """What the NVLinks between two GPUs can carry, in GB/s, both ways where the copies went both ways."""
    each = rate(card(facts, row["gpu"]))
    ways = 2 if row["quantity"] == BOTH_WAYS else 1
    return None if each is None else ways * each * found.nvlinks


def slow(facts: Facts, measurements: Sequence[Row], busy: Collection[int | None]) -> Iterator[Finding]:
    """Pairs on NVLink that are below a share of what the links carry, or below the others of their kind.

    Other programs use the `busy` GPUs, which may be why.
    """
    for quantity in (ONE_WAY, BOTH_WAYS):
        kinds: dict[Link, list[Row]] = {}
        for row in measurements:
            found = link(facts, row["gpu"], row["peer"]) if row["quantity"] == quantity else None
            if found is not None and found.nvlinks and not found.refused and row["value"] > 0:
                kinds.setdefault(found._replace(ancestor=None), []).append(row)
        for found, rows in kinds.items():
            most = limit(facts, rows[0], found)
            bound = None if most is None else table("links")["low"]["share"] * most
            below = {
                at: f"{found.name} carries {most:g}" for at, row in enumerate(rows) if bound and row["value"] < bound
            }
            odd = {at: f"other pairs do {usual.median:.4g}" for at, usual in slower([row["value"] for row in rows])}
            if reasons := odd | below:
                worst = min(reasons, key=lambda at: float(rows[at]["value"]))
                pairs = [(rows[at]["gpu"], rows[at]["peer"]) for at in sorted(reasons)]
                shared = sorted({gpu for pair in pairs for gpu in pair if gpu in busy})
                why = f"; another program is using GPU {', '.join(map(str, shared))}" if shared else ""
                words = {
                    "pairs": named(pairs),
                    "value": f"{rows[worst]['value']:.4g}",
                    "direction": " both ways at once" if quantity == BOTH_WAYS else "",
                    "reference": reasons[worst] + why,
                }
                evidence = [
                    f"{named([pair])}: {rows[at]['value']:.4g} GB/s, {reasons[at]}"
                    for at, pair in zip(sorted(reasons), pairs, strict=True)
                ]
                yield finding("peer-link-slow", evidence, common(pairs), **words)


def measured(measurements: Sequence[Row]) -> Iterator[Finding]:
    """The rates in one line."""
    spans = {}
    for quantity in (ONE_WAY, BOTH_WAYS):
        values = [float(row["value"]) for row in measurements if row["quantity"] == quantity]
        if not values:
            return
        low, high = (f"{value:.3g}" for value in (min(values), max(values)))
        spans[quantity] = low if low == high else f"{low} to {high}"
    yield finding("peer-copies-measured", one_way=spans[ONE_WAY], both_ways=spans[BOTH_WAYS])


def apart(facts: Facts, gpus: Sequence[int]) -> bool:
    """Whether copies between two of these GPUs are in the way of no other two's: all are linked by NVLink.

    Those from card to card are the pair's own, and a switch passes on what comes from all of them at full rate. Where
    paths of PCIe meet, each pair would have a part of what it has alone.
    """
    found = [link(facts, *pair) for pair in combinations(gpus, 2)]
    return all(one is not None and one.nvlinks and not one.refused for one in found)


def judge(facts: Facts, measurements: Sequence[Row] = (), busy: Collection[int | None] = ()) -> list[Finding]:
    """Every finding about copies between GPUs; none where there were none to be made.

    Other programs use the `busy` GPUs.
    """
    pairs, rows = copied(facts), [row for row in measurements if "peer" in row]
    bad = [*unended(facts, pairs), *wrong(pairs, rows)]
    right = [] if bad else [*proved(facts, pairs)]
    return [*bad, *without_access(facts, pairs), *slow(facts, rows, busy), *right, *measured(rows)]
