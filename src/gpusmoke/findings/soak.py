"""What it means how devices fared under minutes or hours of load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gpusmoke.facts import Facts, Json, listed, objects, shown
from gpusmoke.findings import Finding, finding, ids_for, problems, siblings
from gpusmoke.findings.driver import driver
from gpusmoke.findings.exercise import children, coverage, gpu_of, ordinals, wrong_result
from gpusmoke.findings.health import health
from gpusmoke.findings.pytorch import pytorch

MOST_TOLD = 5
# Errors of programs, which NVIDIA's own health check passes over as well:
# https://github.com/NVIDIA/k8s-device-plugin/blob/main/internal/rm/health.go
XIDS_OF_PROGRAMS = (13, 31, 43, 45, 68, 109)
EVENTS = {
    "ecc": "ecc-rose",
    "row": "memory-row-failed",
    "xid": "xid-reported",
    "lost": "gpu-lost-under-load",
    "slowed": "slowed-under-load",
}


def whole(value: Json) -> int:
    """A count; 0 where there is none."""
    return value if isinstance(value, int) else 0


def results(row: Mapping[str, Json], gpu: int | None) -> Iterator[Finding]:
    """Results that were not what they should be."""
    reference = row.get("reference")
    if isinstance(reference, dict) and reference.get("passed") is False:
        yield wrong_result("The first product", reference, gpu)
    if wrong := whole(row.get("wrong_results")):
        errors = objects(row.get("errors")) or [{}]
        evidence = [place(error) for error in errors[:MOST_TOLD]]
        evidence.append(f"{row.get('wrong_elements')} elements in {wrong} results")
        first = {name: errors[0].get(name) for name in ("seconds", "utc", "buffer", "byte")}
        yield finding("bits-differ", evidence, gpu, wrong=wrong, checked=row.get("checked"), **first)


def place(error: Mapping[str, Json]) -> str:
    """One wrong result in words."""
    where = f"buffer {error.get('buffer')}, written {error.get('written_seconds')} s, seen {error.get('seconds')} s"
    if not error.get("elements"):
        return f"{where} into the run: different at the first look, right at the second"
    change = f"{error.get('found')} instead of {error.get('expected')}"
    return f"{where} into the run: {change} at byte {error.get('byte')}, {error.get('elements')} elements in all"


def events(row: Mapping[str, Json], gpu: int | None) -> Iterator[Finding]:
    """What NVML told while the device worked: each kind once, with the time of the first and the rest as evidence."""
    kinds: dict[str, list[dict[str, Json]]] = {}
    for event in objects(row.get("events")):
        if event.get("what") != "xid" or event.get("number") not in XIDS_OF_PROGRAMS:
            kinds.setdefault(str(event.get("what")), []).append(event)
    for what, seen_events in kinds.items():
        if (kind := EVENTS.get(what)) is None:
            continue
        first, last = seen_events[0], seen_events[-1]
        words = {name: first.get(name) for name in ("seconds", "utc", "number", "code", "text")}
        words["count"] = whole(last.get("now")) - whole(first.get("before"))
        names = [name for event in seen_events for name in listed(event.get("names"))]
        words |= {"reasons": ", ".join(map(str, dict.fromkeys(names))), "percent": row.get("slowed_percent")}
        yield finding(kind, [shown(event) for event in seen_events[:MOST_TOLD]], gpu, **words)


def failure(row: Mapping[str, Json], gpu: int | None) -> Iterator[Finding]:
    """An error of PyTorch or CUDA that ended the load."""
    failed = row.get("failed")
    if isinstance(failed, dict):
        code, text = failed.get("code"), failed.get("text")
        kind = next(iter(ids_for("kernel", code)), "step-failed")
        what = f"The soak, {failed.get('seconds')} s into the run,"
        words = {"text": text, "code": code, "capability": row.get("capability"), "count": ""}
        yield finding(kind, [f"{what} {text}"], gpu, what=what, **words)


def device(facts: Facts, measurements: Sequence[dict[str, Json]], ordinal: int) -> Iterator[Finding]:
    """What one device showed: all that was wrong, else one line that says that nothing was."""
    row, gpu = facts.row(f"soak.{ordinal}"), gpu_of(facts, "soak", ordinal)
    wrong = [*results(row, gpu), *events(row, gpu), *failure(row, gpu)]
    yield from wrong
    if left_out := row.get("left_out"):
        dtype, _, text = str(left_out).partition(": ")
        yield finding("dtype-skipped", [], gpu, dtype=dtype, text=text)
    unwatched = row.get("unwatched")
    if gpu is not None and unwatched:
        what = unwatched if isinstance(unwatched, str) else shown(unwatched)
        yield finding("soak-unwatched", [], gpu, what=what)
    if whole(row.get("checked")) and not wrong:
        hottest = row.get("temperature_c_max")
        words: dict[str, object] = {"heat": "" if hottest is None else f"; {hottest} C at most"}
        rate = next((f"{m['value']} {m['unit']}" for m in measurements if m.get("gpu") == gpu), None)
        words |= {"products": row["checked"], "seconds": row.get("seconds")}
        yield finding("soaked", [f"rate: {rate}"] if rate else [], gpu, name=row.get("name"), **words)


def settled(facts: Facts, measurements: Sequence[dict[str, Json]]) -> list[dict[str, Json]]:
    """The rates of devices that were loaded to the end and had come to rest: those that can be compared."""
    return [
        row
        for row in measurements
        if row.get("settled") is True and facts.row(f"soak.worker.{row.get('gpu')}").get("finished")
    ]


def seen(facts: Facts, measurements: Sequence[dict[str, Json]]) -> list[Finding]:
    """What the devices themselves showed, however the run ended."""
    return [one for ordinal in ordinals(facts, "soak") for one in device(facts, measurements, ordinal)]


def judge(facts: Facts, measurements: Sequence[dict[str, Json]]) -> list[Finding]:
    """Every finding of `soak`."""
    found = [*coverage(facts), *driver(facts), *pytorch(facts), *health(facts), *children(facts, "soak")]
    for ordinal in ordinals(facts, "soak"):
        shows = [*device(facts, measurements, ordinal)]
        row, finished = facts.row(f"soak.{ordinal}"), facts.row(f"soak.worker.{ordinal}").get("finished")
        # Without a row PyTorch does not see this GPU, and another child had the CPU.
        if row and finished and not whole(row.get("checked")) and not problems(shows):
            gpu = gpu_of(facts, "soak", ordinal)
            shows.append(finding("nothing-measured", [], gpu, name=row.get("name") or "the device"))
        found += shows
    return [*found, *siblings.judge(facts, settled(facts, measurements))]
