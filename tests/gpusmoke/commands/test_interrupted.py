"""What a run had found when somebody ended it."""

import json

import pytest

from gpusmoke.cli import main
from gpusmoke.commands import bench, check, smoke
from gpusmoke.facts import Fact

RESULT = {"method": "elementwise", "passed": False, "error": 0.5, "bound": 0.25}
ROW = {"quantity": "matmul", "gpu": 0, "dtype": "bf16", "regime": "burst", "backend": "cublas", "method": 2}
ROW |= {"device": "a GPU", "shape": [64, 64, 64], "layout": "NT", "unit": "TFLOP/s", "value": 1.0, "samples": [1.0]}
ROW |= {"statistic": "median", "p10": 1.0, "p90": 1.0, "telemetry": {}, "verified": RESULT | {"repeats_equal": True}}
STEPS = [{"step": "copies both ways", "passed": True}, {"step": "fp32 product", **RESULT}]


def measured(session, *_, **__):
    """Ctrl-C, after a wrong result."""
    session.measurements = [ROW]
    raise KeyboardInterrupt


def exercised(session, *_, **__):
    """The same, in check."""
    row = {"device": "cuda:0", "name": "a GPU", "steps": STEPS}
    session.facts = session.facts.with_facts({"check.0": Fact(row, "PyTorch"), "check.worker.0": Fact({}, "a child")})
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("command", "module", "function", "what"),
    [
        ("bench", bench, measured, "The bf16 product"),
        ("smoke", smoke, measured, "The bf16 product"),
        ("smoke", smoke, exercised, "fp32 product"),
        ("check", check, exercised, "fp32 product"),
    ],
)
def test_what_was_wrong_before_an_interruption_is_told(command, module, function, what, monkeypatch, capsys, tmp_path):
    name = "exercise" if function is exercised else "measure"
    monkeypatch.setattr(module, name, function)
    if command == "smoke" and name == "measure":
        monkeypatch.setattr(smoke, "exercise", lambda *_, **__: None)
        monkeypatch.setattr(smoke, "problems", lambda _: [])
    kept = [] if command == "check" else ["--results", str(tmp_path)]
    assert main([command, "--json", *kept]) == 130
    record = json.loads(capsys.readouterr().out)
    assert record["complete"] is False
    assert [one["id"] for one in record["findings"]] == ["wrong-result", "interrupted"]
    assert what in record["findings"][0]["title"]
