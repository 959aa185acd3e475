"""Baselines: what is kept, where, and which of them a later run is judged by."""

import json
from pathlib import Path

import pytest

from gpusmoke.baseline import default_folder, judge_against, newest_comparable, save
from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact
from gpusmoke.findings import finding
from gpusmoke.record import read

MODEL = "nvidia-h100-80gb-hbm3"


@pytest.fixture
def run(kit, edited):
    """A real H100's run."""
    return read(kit.cwd / edited("run.json"))


@pytest.fixture
def folder(tmp_path):
    """Where baselines are kept; nothing is there yet, not even the folder."""
    return tmp_path / "kept/baselines"


def at(run, started, **facts):
    """The run as of another time, with other facts."""
    more = {name.replace("__", "."): Fact(value, "a test") for name, value in facts.items()}
    return run._replace(started=started, facts=run.facts.with_facts(more))


def slower(run, share=0.9):
    rows = [row | {"samples": [rate * share for rate in row["samples"]]} for row in run.measurements]
    return run._replace(measurements=rows)


def test_a_run_is_kept_whole_under_its_model_and_time(run, folder, valid):
    path = save(run, folder)
    assert path == folder / MODEL / "20261126T090624Z.json"
    assert read(path).to_json() == run.to_json()
    valid(json.loads(path.read_text()))
    assert list(folder.rglob("*")) == [folder / MODEL, path]


def test_nothing_is_written_over(run, folder):
    first = save(run, folder)
    second = save(slower(run), folder)
    assert second.name == "20261126T090624Z-2.json"
    assert read(first).to_json() == run.to_json()


def on_cpu(run):
    return run._replace(measurements=[row | {"gpu": None, "device": "CPU"} for row in run.measurements])


REFUSED = [
    (lambda run: run._replace(complete=False), "it is not complete"),
    (lambda run: run._replace(findings=[finding("slower", **WORDS), *run.findings]), "it is not healthy (slower)"),
    (lambda run: run._replace(measurements=[]), "no settled matrix product was measured in it"),
    (lambda run: run._replace(command="doctor"), "it is a record of doctor"),
    (on_cpu, "it measured the CPU, and baselines are of GPUs"),
]
WORDS = dict.fromkeys(("what", "change", "tolerance", "spread", "why", "heat"), "")


@pytest.mark.parametrize(("change", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_is_no_measure_for_others_is_not_kept(run, folder, change, why):
    with pytest.raises(UsageError) as caught:
        save(change(run), folder)
    assert str(caught.value).startswith("this run is not kept as a baseline: ")
    assert why in str(caught.value)
    assert not folder.exists()


def test_a_folder_that_can_not_be_made_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"the baseline can't be written to .*file"):
        save(run, tmp_path / "file")


def test_the_newest_comparable_baseline_is_taken(run, folder):
    for started in ("2026-11-01T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-10T00:00:00Z"):
        save(at(run, started), folder)
    save(at(run, "2026-11-25T00:00:00Z", nvml__driver_version="575.57.08"), folder)
    save(at(run, "2026-11-24T00:00:00Z", torch__version="2.14.0"), folder)
    (folder / MODEL / "damaged.json").write_text("{")
    baseline, passed_over = newest_comparable(run, folder)
    assert baseline.record.started == "2026-11-20T00:00:00Z"
    assert baseline.path == folder / MODEL / "20261120T000000Z.json"
    damaged, driver, torch = passed_over
    assert "damaged.json is not a whole record" in damaged
    assert driver == "20261125T000000Z.json: the driver's major version differs: 575 and 580"
    assert torch == "20261124T000000Z.json: the version of PyTorch differs: 2.14 and 2.11"


def test_the_same_cards_baseline_comes_before_those_of_others(run, folder):
    """Machines of a cluster share the folder."""
    devices = [row | {"uuid": "GPU-1"} for row in run.facts.rows("cuda.devices")]
    other = at(run, "2026-11-20T00:00:00Z", cuda__devices=devices)
    save(other, folder)
    assert newest_comparable(run, folder)[0].record.started == other.started
    save(at(run, "2026-11-10T00:00:00Z"), folder)
    baseline, passed_over = newest_comparable(run, folder)
    assert baseline.record.started == "2026-11-10T00:00:00Z"
    assert passed_over == ["20261120T000000Z.json: it is of another card"]


def test_a_baseline_that_is_not_healthy_is_passed_over(run, folder):
    path = save(run, folder)
    document = json.loads(path.read_text())
    document["findings"].append(finding("slower", **WORDS).to_json())
    path.write_text(json.dumps(document | {"verdict": "problem"}))
    assert newest_comparable(run, folder) == (None, ["20261126T090624Z.json: it is not healthy"])


def test_a_run_like_its_baseline_is_healthy(run, folder):
    path = save(run, folder)
    used, same = judge_against(at(run, "2026-12-01T00:00:00Z"), folder)
    assert (used.id, used.severity, used.title) == (
        "baseline-used",
        "ok",
        f"Compared with the baseline of 2026-11-26T09:06:24Z, {path.parent.name}/{path.name}",
    )
    assert (same.id, same.severity) == ("no-change", "ok")


def test_a_run_that_is_slower_than_its_baseline_is_a_problem(run, folder):
    save(run, folder)
    found = judge_against(slower(run), folder)
    assert {one.id for one in found if one.severity == "problem"} == {"slower"}
    tolerated = judge_against(slower(run, 0.97), folder, tolerance=0.05)
    assert [one.id for one in tolerated if one.severity == "problem"] == []


def test_without_a_baseline_there_is_a_note(run, folder):
    (found,) = judge_against(run, folder)
    assert (found.id, found.severity) == ("no-baseline", "note")
    assert found.title == (
        f"Nothing to compare this NVIDIA H100 80GB HBM3 with in {folder}. "
        "A baseline is kept by: pixi run bench --save-baseline"
    )


def test_the_note_says_why_none_of_many_would_do(run, folder):
    for day in range(1, 6):
        save(at(run, f"2026-11-0{day}T00:00:00Z", nvml__driver_version="575.57.08"), folder)
    (found,) = judge_against(run, folder)
    assert "(20261105T000000Z.json: the driver's major version differs: 575 and 580; " in found.title
    assert "; 2 more)" in found.title
    assert len(found.evidence) == 5


def test_three_baselines_that_would_not_do_are_all_told(run, folder):
    for day in range(1, 4):
        save(at(run, f"2026-11-0{day}T00:00:00Z", nvml__driver_version="575.57.08"), folder)
    (found,) = judge_against(run, folder)
    assert found.title.count("the driver's major version differs") == 3
    assert "more" not in found.title


def test_a_folder_is_named_after_the_letters_and_digits_of_its_model(run, folder):
    odd = [row | {"device": "NVIDIA H100 (engineering sample)"} for row in run.measurements]
    assert save(run._replace(measurements=odd), folder).parent.name == "nvidia-h100-engineering-sample"


@pytest.mark.parametrize("change", [on_cpu, lambda run: run._replace(complete=False)])
def test_a_run_that_measured_no_gpu_is_not_judged(run, folder, change):
    save(run, folder)
    assert judge_against(change(run), folder) == []


def test_baselines_lie_in_the_root_of_the_repository(tmp_path, monkeypatch):
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "pixi.toml").write_text("")
    monkeypatch.delenv("PIXI_PROJECT_ROOT", raising=False)
    monkeypatch.chdir(below)
    assert default_folder() == tmp_path / "baselines"
    monkeypatch.chdir(tmp_path)
    assert default_folder() == Path("baselines")
    monkeypatch.setenv("PIXI_PROJECT_ROOT", str(below))
    assert default_folder() == below / "baselines"
