"""Records: written whole and never over another file, read back as they were, refused where damaged."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd import ODD, places

from gpusmoke.cli import main
from gpusmoke.errors import INTERRUPTED, UsageError
from gpusmoke.facts import Fact, Facts
from gpusmoke.findings import finding
from gpusmoke.record import LIMIT_BYTES, Record, read, write
from gpusmoke.schema import compiled, mismatch, record_check, record_schema

REAL = sorted((Path(__file__).parent / "data").glob("*.json"))


def record(**changes):
    facts = Facts({"host.wsl": Fact(False, "/proc/version"), "cuda.init": Fact(None, "cuInit", "no library")})
    values = {"command": "doctor", "started": "2026-11-24T10:15:00Z", "facts": facts, "findings": [finding("no-gpu")]}
    return Record(**(values | changes))


def measurement(samples):
    return {
        "quantity": "matmul",
        "gpu": 0,
        "device": "a GPU",
        "dtype": "bf16",
        "shape": [64, 64, 64],
        "layout": "NT",
        "regime": "settled",
        "backend": "cublas",
        "method": 1,
        "unit": "TFLOP/s",
        "value": 1.0,
        "statistic": "mean",
        "p10": 1.0,
        "p90": 1.0,
        "samples": samples,
        "telemetry": {},
        "verified": {"method": "freivalds", "passed": True, "error": 0.0, "bound": 1.0, "repeats_equal": True},
    }


def test_a_record_is_read_back_as_it_was(tmp_path):
    original = record(measurements=[measurement([1.0, 2.0])])
    assert read(write(original, tmp_path)).to_json() == original.to_json()


def test_each_rank_has_the_room_of_a_device():
    facts = Facts({"host.cpu": Fact("x" * 1000, "a test")})
    rows = [measurement([1.0] * 5) | {"gpu": None, "ranks": 2}] * 150
    text = record(measurements=rows, facts=facts).to_text()
    assert LIMIT_BYTES < len(text) < 2 * LIMIT_BYTES
    assert json.loads(text)["facts"]["host.cpu"]["value"] == "x" * 1000


def test_the_schema_describes_it(valid):
    valid(record(measurements=[measurement([1.0])]).to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "gpusmoke-record/2"},
        {"verdict": "fine"},
        {"complete": False, "verdict": "healthy"},
        {"findings": [finding("no-driver", why="x").to_json()], "verdict": "healthy"},
        {"findings": [{"id": "x"}]},
        {"facts": {"a": {"value": 1}}},
        {"surplus": 1},
    ],
)
def test_the_schema_refuses_what_is_none(change, valid):
    with pytest.raises(jsonschema.ValidationError):
        valid(record().to_json() | change)


def test_two_records_of_one_second_are_both_kept(tmp_path):
    first, second = write(record(), tmp_path), write(record(seconds=2.0), tmp_path)
    assert first != second
    assert read(first).seconds == 0
    assert read(second).seconds == 2


def test_nothing_but_records_is_left_behind(tmp_path):
    write(record(), tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_a_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file.*--results"):
        write(record(), tmp_path / "file")


def test_an_incomplete_run_is_never_healthy():
    unfinished = record(complete=False)
    assert unfinished.verdict == "problem"
    assert unfinished.exit_code == INTERRUPTED


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(1, 4000))
def test_long_series_are_thinned_below_the_limit_and_figures_kept(count, length):
    long = record(measurements=[measurement([i / 7 for i in range(length)]) for _ in range(count)])
    text = long.to_text()
    assert len(text.encode()) <= LIMIT_BYTES
    rows = json.loads(text)["measurements"]
    assert [row["value"] for row in rows] == [1.0] * count
    assert all(row["samples"][0] == 0 for row in rows)
    assert [len(row["samples"]) for row in long.measurements] == [length] * count  # the record itself is as it was


def test_a_machine_with_eight_gpus_has_room_for_every_format_and_for_what_went_wrong(valid):
    garbage = {"finished": False, "stray_lines": ["x" * 200] * 12, "stderr": ["é" * 200] * 12}
    facts = {f"bench.worker.{gpu}": Fact(garbage, "a child") for gpu in range(8)}
    facts["env.LD_LIBRARY_PATH"] = Fact("/some/folder:" * 50000, "environment")
    rows = [measurement([1.0] * 500) | {"gpu": gpu} for gpu in range(8) for _ in range(14)]
    found = [finding("worker-garbled", ["stdout: " + "x" * 200] * 4, gpu) for gpu in range(8)]
    text = record(facts=Facts(facts), measurements=rows, findings=found).to_text()
    document = json.loads(text)
    valid(document)
    assert len(text.encode()) <= 8 * LIMIT_BYTES
    assert len(document["measurements"]) == 112
    assert document["facts"]["env.LD_LIBRARY_PATH"]["value"].endswith("…")


def test_many_products_on_one_gpu_cost_no_word_of_what_was_found():
    rows = [measurement([1.0] * 8) | {"shape": [4096, 4096, size], "telemetry": {"x": "x" * 500}} for size in range(98)]
    title, fact = "All 300 random products are right: " + "x" * 500, Fact("x" * 20000, "a file")
    found = [finding("worker-garbled", [title], 0)]
    text = record(facts=Facts({"fact": fact}), measurements=rows, findings=found).to_text()
    document = json.loads(text)
    assert document["findings"][0]["evidence"] == [title]
    assert document["facts"]["fact"]["value"] == fact.value
    assert document["measurements"] == rows
    assert LIMIT_BYTES < len(text) < 4 * LIMIT_BYTES


def test_a_record_without_measurements_is_small_whatever_was_read(valid):
    lines = {f"fact.{n}": Fact([{"text": "x" * 5000}] * 300, "a program") for n in range(20)}
    text = record(facts=Facts(lines)).to_text()
    valid(json.loads(text))
    assert len(text.encode()) <= LIMIT_BYTES


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a whole record"),
        ("{", "not a whole record"),
        ("[]", "not a whole record"),
        ('{"schema": "other/1"}', "other/1"),
        ('{"schema": "gpusmoke-record/1"}', "it has no 'command'"),
        ("\x00\x01", "not a whole record"),
    ],
)
def test_a_damaged_record_is_refused_by_name(tmp_path, text, reason):
    path = tmp_path / "damaged.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"damaged\.json") as caught:
        read(path)
    assert reason in str(caught.value)


REAL_DOCUMENT = json.loads((Path(__file__).parent / "data/h100-smoke.json").read_text())


def changed(place, odd, remove):
    """A real record with one place in it removed, or replaced by something odd."""
    document = copy.deepcopy(REAL_DOCUMENT)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    if remove:
        del inner[place[-1]]
    else:
        inner[place[-1]] = odd
    return document


PLACES = [place for place in places(REAL_DOCUMENT) if place]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(PLACES), ODD, st.booleans())
def test_a_record_changed_anywhere_is_shown_or_refused_in_one_sentence(tmp_path, capsys, place, odd, remove):
    document = changed(place, odd, remove)
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(document))
    code, printed = main(["report", str(path)]), capsys.readouterr()
    follows = not mismatch(json.loads(path.read_text()), record_check())
    assert code == (0 if follows else 2), printed.err
    assert follows or len(printed.err.strip().splitlines()) == 1


@settings(max_examples=100)
@given(st.sampled_from(PLACES), ODD | st.sampled_from(["problem", "bf16", -1, 2.0, True]), st.booleans())
def test_the_schema_means_to_us_what_it_means_to_jsonschema(place, odd, remove):
    document = changed(place, odd, remove)
    schema = {name: rule for name, rule in record_schema().items() if name != "allOf"}  # the verdict is not read
    assert (mismatch(document, compiled(schema)) is None) == jsonschema.Draft202012Validator(schema).is_valid(document)


def test_a_document_nested_without_end_is_refused(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100000)
    with pytest.raises(UsageError, match=r"deep\.json"):
        read(path)


def test_fields_of_a_later_version_are_passed_over(tmp_path):
    document = record(measurements=[measurement([1.0])]).to_json()
    for part in (document, document["findings"][0], document["measurements"][0]):
        part["added_later"] = 1
    path = tmp_path / "later.json"
    path.write_text(json.dumps(document))
    assert read(path).findings[0].id == "no-gpu"


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_records_follow_the_schema_and_are_small(path, valid):
    valid(json.loads(path.read_text()))
    record = read(path)
    assert path.stat().st_size <= LIMIT_BYTES * max(1, len(record.facts.rows("cuda.devices")))
    assert record.to_json() == json.loads(path.read_text())
