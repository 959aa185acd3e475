"""Real records judged anew: a healthy machine must stay healthy, and the same machine with one fault must not."""

import copy
import json
from pathlib import Path

import pytest

from gpusmoke.facts import Facts
from gpusmoke.findings import exercise, machine, rates
from gpusmoke.findings.comparable import is_product

DATA = Path(__file__).parents[1] / "data"


def load(name):
    return json.loads((DATA / f"{name}.json").read_text())


# Those of commands that a project may have dropped are judged beside their rules.
JUDGES = {
    "doctor": lambda facts, _: machine.diagnose(facts),
    "check": lambda facts, _: exercise.judge(facts),
    "bench": rates.judge,
    "smoke": lambda facts, rows: [*machine.diagnose(facts), *exercise.judge(facts), *rates.judge(facts, rows)],
}


def judge(record):
    return JUDGES[record["command"]](Facts.from_json(record["facts"]), record["measurements"])


@pytest.mark.parametrize(
    "name", [name for name in sorted(path.stem for path in DATA.glob("*.json")) if load(name)["command"] in JUDGES]
)
def test_a_healthy_machine_has_neither_problem_nor_warning(name):
    record = load(name)
    found = judge(record)
    assert [one.id for one in found if one.severity in ("problem", "warning")] == []
    elsewhere = {"no-baseline"}  # said by the command, which looks for one
    assert {one.id for one in found} == {one["id"] for one in record["findings"]} - elsewhere


def test_the_settled_rows_were_at_the_power_cap():
    settled = [row for row in load("h100-bench")["measurements"] if is_product(row)]
    assert len(settled) == 11
    assert all(row["telemetry"]["throttle_reasons"] == 4 for row in settled)


@pytest.mark.parametrize(
    ("name", "fact", "value", "expected"),
    [
        (
            "h100-doctor",
            "cuda.init",
            {"code": 802, "name": "CUDA_ERROR_SYSTEM_NOT_READY", "text": ""},
            "fabric-manager-down",
        ),
        ("h100-doctor", "cuda.init", None, "libcuda-missing"),
        ("h100-doctor", "cuda.driver_version", "11.8", "driver-too-old"),
        ("h100-check", "torch.available", False, "gpu-unused"),
    ],
)
def test_one_changed_fact_is_noticed(name, fact, value, expected):
    record = copy.deepcopy(load(name))
    record["facts"][fact]["value"] = value
    assert expected in {one.id for one in judge(record) if one.severity == "problem"}


def test_one_wrong_result_is_noticed():
    record = load("h100-bench")
    record["measurements"][-1]["verified"]["passed"] = False
    assert "wrong-result" in {one.id for one in judge(record)}
