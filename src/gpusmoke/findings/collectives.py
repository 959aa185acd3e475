"""What it means how ranks exchanged data: who is to blame where they could not, and what came out wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gpusmoke.facts import Facts, Json, listed, objects
from gpusmoke.findings import Finding, finding, part, problems
from gpusmoke.findings.driver import driver
from gpusmoke.findings.pytorch import pytorch
from gpusmoke.measuring.formats import size_text
from gpusmoke.measuring.ranks import differing, sharing, without_gpu
from gpusmoke.measuring.ranks import listed as numbers

Row = Mapping[str, Json]

# What one rank's end does to all others: said of it only where there is nothing else to say.
CONSEQUENCE = "peer-lost"
MOST_TOLD = 8
MOST_LINES = 4


def whole(value: Json) -> int:
    """A number of a rank, or of anything else that is counted; 0 where there is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def ranked(facts: Facts, name: str) -> list[dict[str, Json]]:
    """The rows of a fact that are about a rank."""
    return [row for row in facts.rows(name) if isinstance(row.get("rank"), int)]


def kind_of(lines: Sequence[str]) -> tuple[str | None, str]:
    """The finding that lines of NCCL, gloo or PyTorch stand for, if any is known, and the line that matters.

    That is the one below "Last error:", where PyTorch hands on what NCCL itself warned of.
    """
    said = [line.strip() for line in lines]
    last = next((said[at + 1] for at, line in enumerate(said[:-1]) if line == "Last error:"), None)
    for kind, entry in part("collectives").items():
        for words in entry.get("says", ()):
            for line in said:
                if words in line:
                    return kind, last or line
    return None, last or (said[0] if said else "without a word")


def ended(row: Row) -> dict[str, Json]:
    """How a rank ended, if it did."""
    value = row.get("ended")
    return value if isinstance(value, dict) else {}


def lines_of(row: Row) -> list[str]:
    """What a rank said last."""
    return [str(line) for line in listed(ended(row).get("lines"))]


def place(row: Row) -> str:
    """Where a rank ran, as torchrun counts nodes: names of machines don't belong into a record."""
    if row.get("node") is None:
        return "which never said where it is"
    return f"node {row['node']}, local rank {row.get('local_rank')}"


def where(row: Row) -> str:
    """What a rank was doing."""
    return str(ended(row).get("step") or row.get("step") or "before its first step")


def evidence(row: Row) -> list[str]:
    """The last lines of a rank."""
    return [f"rank {row.get('rank')}: {line}" for line in lines_of(row)[-MOST_LINES:]]


def how_ended(exit_code: Json) -> str:
    """An exit code in words."""
    return (
        f"killed by signal {-exit_code}" if isinstance(exit_code, int) and exit_code < 0 else f"exit code {exit_code}"
    )


def roll(facts: Facts) -> Iterator[Finding]:
    """Ranks that can't work together: other versions, one GPU for two, none at all."""
    rows = ranked(facts, "collectives.roll")
    told = differing(rows)
    if told:
        what = "; ".join(
            f"{name} " + ", ".join(f"{version} ({named(ranks)})" for version, ranks in versions.items())
            for name, versions in told.items()
        )
        yield finding("versions-differ", [f"rank {row['rank']}: {place(row)}" for row in rows[:MOST_TOLD]], what=what)
    for uuid, ranks in sharing(rows).items():
        shown = [f"rank {row['rank']}: {row.get('device')} ({place(row)})" for row in rows if row["rank"] in ranks]
        yield finding("ranks-share-gpu", [f"GPU {uuid}", *shown[:MOST_TOLD]], Ranks=named(ranks).capitalize())
    if none := without_gpu(rows):
        shown = [f"rank {row['rank']}: {place(row)}" for row in rows if row["rank"] in none]
        yield finding("collectives-need-gpu", shown[:MOST_TOLD], who=f"PyTorch shows none to {named(none)}")


def died(rows: Sequence[Row]) -> Iterator[Finding]:
    """Ranks whose work was killed, crashed, or had to be ended since it hung.

    PyTorch aborts a rank that lost another: such a one counts only where all that died did so.
    """
    dead = [row for row in rows if ended(row).get("how") in ("died", "silent")]
    first = [row for row in dead if kind_of(lines_of(row))[0] != CONSEQUENCE]
    for row in first or dead:
        end = ended(row)
        words = {"rank": row.get("rank"), "place": place(row), "where": where(row)}
        if end["how"] == "died":
            yield finding("rank-died", evidence(row), None, how=how_ended(end.get("exit_code")), **words)
        else:
            # Where it was rank 0, which listens to all, others listen to it only since.
            seconds = end.get("silent_seconds") or row.get("silent_seconds")
            yield finding("rank-silent", evidence(row), None, seconds=seconds, **words)


def named(ranks: Sequence[int]) -> str:
    """Ranks in words, as in "rank 2" and "ranks 0-3"."""
    return f"rank{'' if len(ranks) == 1 else 's'} {numbers(ranks)}"


def errors(rows: Sequence[Row]) -> tuple[list[Finding], list[Finding]]:
    """What errors ended ranks: those that have a cause of their own, and those that only tell of another's end."""
    own: list[Finding] = []
    lost: list[Finding] = []
    known: dict[str, list[tuple[Row, str]]] = {}
    for row in rows:
        if ended(row).get("how") != "error":
            continue
        kind, line = kind_of(lines_of(row))
        words = {"rank": row.get("rank"), "place": place(row), "where": where(row), "line": line}
        if kind is None:
            own.append(finding("rank-failed", evidence(row), None, **words))
        elif kind == CONSEQUENCE:
            lost.append(finding(kind, evidence(row), None, **words))
        else:
            known.setdefault(kind, []).append((row, line))
    for kind, told in known.items():
        seen = [f"rank {row.get('rank')} ({place(row)}) {where(row)}: {line}" for row, line in told]
        ranks = named([whole(row.get("rank")) for row, _ in told])
        words = {"ranks": ranks, "Ranks": ranks.capitalize(), "line": told[0][1], "what": told[0][1]}
        own.append(finding(kind, seen[:MOST_TOLD], None, **words))
    return own, lost


def silent(rows: Sequence[Row]) -> Iterator[Finding]:
    """Ranks of which nothing is heard any more."""
    others = [f"rank {row.get('rank')} ({place(row)}): {where(row)}" for row in rows if row.get("alive")]
    for row in rows:
        if row.get("arrived") and not row.get("alive") and not ended(row):
            words = {"rank": row.get("rank"), "place": place(row), "where": where(row)}
            yield finding("rank-silent", others[:MOST_TOLD], None, seconds=row.get("silent_seconds"), **words)


def missing(rows: Sequence[Row], seconds: Json) -> Iterator[Finding]:
    """Ranks that never came."""
    ranks = [whole(row.get("rank")) for row in rows if not row.get("arrived") and not ended(row)]
    if ranks:
        came = named([whole(row.get("rank")) for row in rows if row.get("arrived")])
        words = {"count": len(rows), "missing": named(ranks)}
        yield finding("rank-missing", [f"came: {came}"], None, seconds=seconds, **words)


def late(rows: Sequence[Row], seconds: Json) -> Iterator[Finding]:
    """An operation in which living ranks wait for ever."""
    furthest = max((whole(row.get("number")) for row in rows), default=0)
    waiting = [row for row in rows if whole(row.get("number")) == furthest]
    absent = [row for row in rows if whole(row.get("number")) < furthest]
    if not waiting:
        return
    who = "all ranks had come"
    if absent:
        who = f"{named([whole(row.get('rank')) for row in absent])} did not come"
    shown = [f"rank {row.get('rank')} ({place(row)}): {where(row)}" for row in (absent or waiting)[:MOST_TOLD]]
    ranks = named([whole(row.get("rank")) for row in waiting]).capitalize()
    yield finding("collective-timeout", shown, Ranks=ranks, seconds=seconds, where=where(waiting[0]), who=who)


def trouble(facts: Facts) -> list[Finding]:
    """Why the ranks could not go on: the first of these that explains the rest."""
    rows, told = ranked(facts, "collectives.ranks"), facts.row("collectives.trouble")
    seconds = told.get("timeout")
    own, lost = errors(rows)
    found = [*died(rows), *own] or [*silent(rows), *missing(rows, seconds)] or lost
    if not found and told:
        found = [*late(rows, seconds)]
    return found


def processes(facts: Facts) -> Iterator[Finding]:
    """What torchrun and the process of rank 0 show where the ranks themselves told nothing."""
    lead, launched, outcome = (
        facts.row(name) for name in ("collectives.lead", "collectives.torchrun", "torchrun.worker.0")
    )
    failures = objects(launched.get("failures"))
    first = next((one for one in failures if one.get("rank") == launched.get("first")), None)
    if lead:
        yield from died([{"rank": 0, "ended": lead, **lead}])
    elif first is not None:
        how = how_ended(first.get("exit_code"))
        shown = [f"torchrun: rank {one.get('rank')}, {how_ended(one.get('exit_code'))}" for one in failures[:MOST_TOLD]]
        words = {"rank": first.get("rank"), "place": f"node 0, local rank {first.get('rank')}"}
        yield finding("rank-died", shown, None, how=how, where=str(outcome.get("last_step") or "at its start"), **words)
    elif outcome and not outcome.get("finished"):
        said = [f"stderr: {line}" for line in listed(outcome.get("stderr"))[-MOST_LINES:]]
        how = "by our deadline" if outcome.get("timed_out") else f"with {how_ended(outcome.get('exit_code'))}"
        yield finding("torchrun-failed", said, how=how, where=str(outcome.get("last_step") or "at its start"))


def wrong(facts: Facts) -> Iterator[Finding]:
    """Results that were not what they should be: the first of each rank."""
    places = {row["rank"]: place(row) for row in ranked(facts, "collectives.roll")}
    by_rank: dict[int, list[Row]] = {}
    for one in ranked(facts, "collectives.wrong"):
        by_rank.setdefault(one["rank"], []).append(one)
    for rank, rows in by_rank.items():
        row = rows[0]
        same = [
            f"rank {rank}: {one.get('operation')} of {size_text(whole(one.get('size')))}, element {one.get('index')}"
            for one in rows
        ]
        words = {name: row.get(name) for name in ("index", "found", "expected")}
        words |= {"operation": row.get("operation"), "size": size_text(whole(row.get("size"))), "rank": rank}
        yield finding("collective-wrong", same[:MOST_TOLD], None, place=places.get(rank, "node unknown"), **words)


def summary(measurements: Sequence[dict[str, Json]]) -> Finding:
    """One line for what went well."""
    ranks, largest = measurements[0].get("ranks"), max(row["shape"][0] for row in measurements)
    words = {"ranks": ranks, "largest": size_text(largest), "count": len(measurements)}
    return finding("collectives-alone" if ranks == 1 else "collectives-right", [], None, **words)


def judge(facts: Facts, measurements: Sequence[dict[str, Json]]) -> list[Finding]:
    """Every finding of `collectives`."""
    found = [*driver(facts), *pytorch(facts)]
    on_cpu = facts.text("request.backend") == "gloo"
    if on_cpu and measurements:
        found.append(finding("cuda-not-exercised", facts.evidence("request.backend")))
    bad = [*roll(facts), *(trouble(facts) or processes(facts)), *wrong(facts)]
    if not on_cpu and not facts.rows("cuda.devices") and not bad and not measurements:
        bad.append(finding("collectives-need-gpu", facts.evidence("cuda.init"), who="CUDA shows none here"))
    if measurements and not bad:
        bad.append(summary(measurements))
    if not measurements and not problems([*found, *bad]):
        bad.append(finding("nothing-measured", [], None, name="the ranks"))
    return [*found, *bad]
