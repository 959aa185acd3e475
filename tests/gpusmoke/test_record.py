"""Records: written whole and never over another file, read back as they were, refused where damaged."""

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusmoke.errors import INTERRUPTED, UsageError
from gpusmoke.facts import Fact, Facts
from gpusmoke.findings import finding
from gpusmoke.record import LIMIT_BYTES, Record, read, write

SCHEMA = jsonschema.Draft202012Validator(json.loads((files("gpusmoke") / "data/record.schema.json").read_text()))
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


def test_the_schema_describes_it():
    SCHEMA.validate(record(measurements=[measurement([1.0])]).to_json())


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
def test_the_schema_refuses_what_is_none(change):
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(record().to_json() | change)


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


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.integers(1, 4000))
def test_long_series_are_thinned_below_the_limit_and_figures_kept(count, length):
    long = record(measurements=[measurement([i / 7 for i in range(length)]) for _ in range(count)])
    text = long.to_text()
    assert len(text.encode()) <= LIMIT_BYTES + 1
    rows = json.loads(text)["measurements"]
    assert [row["value"] for row in rows] == [1.0] * count
    assert all(row["samples"][0] == 0 for row in rows)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a whole record"),
        ("{", "not a whole record"),
        ("[]", "not a whole record"),
        ('{"schema": "other/1"}', "other/1"),
        ('{"schema": "gpusmoke-record/1"}', "KeyError 'command'"),
        ("\x00\x01", "not a whole record"),
    ],
)
def test_a_damaged_record_is_refused_by_name(tmp_path, text, reason):
    path = tmp_path / "damaged.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"damaged\.json") as caught:
        read(path)
    assert reason in str(caught.value)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_record_cut_or_changed_anywhere_is_read_or_refused_but_never_a_traceback(tmp_path_factory, data):
    text = record(measurements=[measurement([1.0])]).to_text()
    at = data.draw(st.integers(0, len(text)))
    damaged = (
        text[:at]
        + data.draw(st.sampled_from(["", "null", '"', "[1]", "}"]))
        + text[at + data.draw(st.integers(0, 9)) :]
    )
    path = tmp_path_factory.mktemp("cut") / "r.json"
    path.write_text(damaged)
    try:
        read(path)
    except UsageError as error:
        assert "r.json" in str(error)


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_records_follow_the_schema_and_are_small(path):
    SCHEMA.validate(json.loads(path.read_text()))
    assert path.stat().st_size <= LIMIT_BYTES + 1
    assert read(path).to_json() == json.loads(path.read_text())
