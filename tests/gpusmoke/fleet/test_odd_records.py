"""Records that follow the schema and hold what can't be: each is told as damaged, and takes no other's report away."""

import contextlib
import io
import json

import hypothesis.strategies as st
import pytest
from fleets import DATA, L40S, Fleet
from hypothesis import HealthCheck, given, settings
from odd import ODD, places

from gpusmoke.findings import fleet as rules
from gpusmoke.findings.skew import versions
from gpusmoke.findings.slow import groups
from gpusmoke.fleet import tables
from gpusmoke.fleet.files import File, Unread, read
from gpusmoke.fleet.nodes import fleet
from gpusmoke.presentation.terminal import show
from gpusmoke.record import Record

WELL = 5
HUGE = 10**400
MADE = Fleet(WELL + 1, faults=0, models=[L40S])
TEXTS = [MADE.text(at) for at in range(WELL + 1)]


# One of our own making, and a real one with NVLink.
BASES = [TEXTS[WELL], (DATA / "h100-x4-smoke.json").read_text()]
PLACES = {text: [way for way in places(json.loads(text)) if way] for text in BASES}


def value(number):
    """All rates of the first GPU are this number."""

    def change(document):
        for row in document["measurements"]:
            if row["gpu"] == 0:
                row["value"] = number

    return change


def at(number, *way):
    """What stands there is this number, and the GPU is slow, so that somebody asks why."""

    def change(document):
        held = document
        for step in way[:-1]:
            held = held[step]
        held[way[-1]] = number
        for row in document["measurements"]:
            row["value"] *= 0.5

    return change


GPU = ("facts", "nvml.gpus", "value", 0)
TELEMETRY = ("measurements", 1, "telemetry")
CASES = {
    "value of 400 digits": (value(HUGE), "value 1000"),
    "value without end": (value(float("inf")), "value inf"),
    "value near the end": (value(1e308), "value 1e+308"),
    "value NaN": (value(float("nan")), "value nan"),
    "value 0": (value(0), "value 0"),
    "value below 0": (value(-1.5), "value -1.5"),
    "value near 0": (value(5e-324), "value 5e-324"),
    "power limit": (at(HUGE, *GPU, "power_limit_w"), "power_limit_w 1000"),
    "memory": (at(float("inf"), *GPU, "memory_mib"), "memory_mib inf"),
    "power": (at(HUGE, *TELEMETRY, "power_w"), "power_w 1000"),
    "throttle reasons": (at(HUGE, *TELEMETRY, "throttle_reasons"), "throttle_reasons 1000"),
    "link": (at(HUGE, "facts", "check.0", "value", "link", "width"), "width 1000"),
    "processes": (at(float("inf"), "facts", "bench.0.others", "value", "processes"), "processes inf"),
    "ordinal": (at(True, "facts", "cuda.devices", "value", 0, "ordinal"), "GPU with number True"),
    "half an ordinal": (at(0.5, "facts", "cuda.devices", "value", 0, "ordinal"), "GPU with number 0.5"),
    "GPU": (at(HUGE, "measurements", 1, "gpu"), "GPU 1000"),
    "shape": (at([HUGE], "measurements", 1, "shape"), "shape 1000"),
    "seconds": (at(HUGE, "seconds"), "'seconds' of it: int too large"),
}


def changed(change):
    document = json.loads(TEXTS[WELL])
    change(document)
    return document


def test_a_record_that_holds_what_can_not_be_is_told_and_the_others_are_judged(kit):
    folder = kit.cwd / "results"
    folder.mkdir()
    for number, text in enumerate(TEXTS[:WELL]):
        (folder / f"well{number}.json").write_text(text)
    for name, (change, _) in CASES.items():
        document = changed(change)
        document["facts"]["request.node"]["value"] = name
        (folder / f"{name}.json").write_text(json.dumps(document))
    done = kit("fleet", "results", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    record = json.loads(done.stdout)
    told = {
        row["nodes"]: row["text"] for row in record["facts"]["fleet.lines"]["value"] if row["id"] != "fleet-healthy"
    }
    assert told.keys() == CASES.keys()
    assert {name: text for name, text in told.items() if CASES[name][1] not in text} == {}
    assert record["findings"][-1]["title"].startswith(f"{WELL} of {WELL + len(CASES)} nodes are healthy")


def test_a_number_of_a_gpu_may_be_written_as_json_writes_any(kit):
    folder = kit.cwd / "results"
    folder.mkdir()
    document = changed(at(1.0, "facts", "cuda.devices", "value", 1, "ordinal"))
    found = {"id": "wrong-result", "severity": "problem", "gpu": 1.0, "title": "The product is wrong."}
    document["findings"].append(found | {"evidence": [], "advice": [], "link": None})
    (folder / "a.json").write_text(json.dumps(document))
    done = kit("fleet", "results")
    assert (done.returncode, done.stderr) == (1, "")
    assert "BROKEN       node00006 GPU 1" in done.stdout


WICKED = st.sampled_from([HUGE, -HUGE, 1e308, 5e-324, 1e-300, 2.0**64, "n[1-", "a,b", "\x1b[31m", "\ud800"])


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """What was read of nodes that are well, and a folder."""
    folder = tmp_path_factory.mktemp("odd")
    found = []
    for number, text in enumerate(TEXTS[:WELL]):
        path = folder / f"well{number}.json"
        path.write_text(text)
        found.append(read(File(path, path.stem)))
    return found, folder


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.sampled_from(BASES), st.data(), st.booleans())
def test_whatever_stands_in_one_record_there_is_a_report(others, text, data, slow):
    document = json.loads(text)
    changes = data.draw(st.lists(st.tuples(st.sampled_from(PLACES[text]), ODD | WICKED), min_size=1, max_size=3))
    if slow:
        value(1.0)(document)
    for way, odd in changes:
        held = document
        with contextlib.suppress(KeyError, IndexError, TypeError):  # an earlier change took the place away
            for step in way[:-1]:
                held = held[step]
            held[way[-1]] = odd
    well, folder = others
    path = folder / "odd.json"
    path.write_text(json.dumps(document))
    one = read(File(path, "odd"))
    known = fleet([*well, one])
    measured = groups(known.nodes)
    lines = rules.judge(known, measured)
    facts = tables.facts(known, lines, rules.states(known, lines), measured, versions(known.nodes))
    record = Record("fleet", "2026-11-27T10:00:00Z", findings=[line.finding for line in lines])
    record = record._replace(facts=record.facts.with_facts(facts))
    json.loads(record.to_text())
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace")) as shown:
        show(record)
        shown.seek(0)
        assert "are healthy" in shown.read()
    if isinstance(one, Unread):
        assert "record-damaged" in {line.finding.id for line in lines}
