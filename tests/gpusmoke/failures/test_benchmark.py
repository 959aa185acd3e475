"""What only a benchmark shows, through `bench`: a real PyTorch on a stand-in GPU that is slow, wrong or broken."""

import json
import re

import pytest
from playable import STAND_IN_GPU

pytest.importorskip("torch")
pytestmark = STAND_IN_GPU

STAND_IN = "pytorch"
# The GPU; then what is wrong with it.
PLAY = "import standin_gpu; torch = standin_gpu.play_quickly(count={count}); mm = torch.mm\n"
SHORT = ("bench", "--dtype", "bf16", "--shape", "256", "--seconds", "1", "--json")
ONE_WRONG = "def wrong(a, b, out): mm(a, b, out=out)[17, 5] += 8\ntorch.mm = wrong"
# As a card does whose clock is too high for its voltage: right to the eye, and never twice the same.
ANOTHER_EACH_TIME = """n = 0
def flip(a, b, out):
    global n
    n += 1
    mm(a, b, out=out).view(torch.int16)[17, 5] ^= n & 1
torch.mm = flip"""
BROKEN = "def broken(a, b, out): raise RuntimeError('CUDA error: unspecified launch failure')\ntorch.mm = broken"
# The bounds are those of large products, which a CPU would take minutes for.
JUDGE_SMALL_ONES = "from gpusmoke.measuring import expected; expected.SMALLEST = expected.NARROWEST = 1"
SLOWED = {
    "clock-held-down": "nvidia-smi -q -d PERFORMANCE",
    "clock-limited": "nvidia-smi -q -d PERFORMANCE",
    "held-by-lowered-power-cap": "sudo nvidia-smi -i 0 -pl 700",
    "another-process": "nvidia-smi",
    "slower-than-its-model": "nvidia-smi -q -d PERFORMANCE",
}
LOWERED = {"clock_reasons": 0x40 | 0x4 | 0x2, "power_limit_mw": 500000, "power_limit_set_mw": 500000}
CASES = [
    (SLOWED, "", LOWERED | {"processes": "4711:512"}),
    # Warnings alone: exit 0.
    (
        {"clock-limited": "nvidia-smi -q -d PERF", "another-process": "nvidia-smi"},
        "",
        {"clock_reasons": 2, "utilization": 40},
    ),
    # The child itself is one of two; the other came when the run had begun.
    ({"another-process": "nvidia-smi"}, "", {"@300 processes": "4711:512 4712:512"}),
    ({"wrong-result": "pixi run check"}, ONE_WRONG, {}),
    ({"wrong-result": "pixi run check"}, ANOTHER_EACH_TIME, {}),
    ({"nothing-measured": "pixi run check", "step-failed": "pixi run doctor"}, BROKEN, {}),
]
NAMED = {kind for expected, *_ in CASES for kind in expected} | {"gpu-required"}


@pytest.fixture
def machine(driver, fake_root, children):
    """The variables that make such a machine."""

    def variables(code="", state=(), parent="pass", count=1):
        play = PLAY.format(count=count) + code
        return driver(dict(state) or "") | children(play, parent) | {"GPUSMOKE_ROOT": str(fake_root)}

    return variables


def found(record):
    return {one["id"] for one in record["findings"] if one["severity"] in ("problem", "warning")}


@pytest.mark.parametrize(("expected", "code", "state"), CASES, ids=[" ".join(one[0]) for one in CASES])
def test_each_failure_is_named_with_its_cure(kit, machine, named, expected, code, state):
    parent = JUDGE_SMALL_ONES if "slower-than-its-model" in expected else "pass"
    done = kit(*SHORT, env=machine(code, state, parent), timeout=180)
    for kind, advice in expected.items():
        assert named(done, kind, advice)["gpu"] == 0
    assert found(json.loads(done.stdout)) == set(expected)


def test_a_gpu_at_its_power_cap_is_well_and_has_every_rate(kit, machine, valid):
    """The whole of `bench`, as it runs without options."""
    state = {"clock_reasons": 4, "power_mw": 699000}
    done = kit("bench", "--seconds", "1", env=machine(state=state), timeout=180)
    (path,) = (kit.cwd / "results").iterdir()
    record = json.loads(path.read_text())
    valid(record)
    assert (done.returncode, found(record)) == (0, set())
    rows = record["measurements"]
    products = [(row["dtype"], row["regime"]) for row in rows if row["quantity"] == "matmul"]
    for name in ("fp16", "fp8", "int8", "tf32", "fp32", "fp64"):
        assert [regime for dtype, regime in products if dtype == name] == ["burst", "settled"]
    assert products.count(("bf16", "burst")) == products.count(("bf16", "settled")) == 2
    assert [row["quantity"] for row in rows if row["unit"] == "GB/s"] == [
        "memory-copy",
        "host-to-device",
        "device-to-host",
    ]
    for row in rows:
        assert row["verified"]["passed"] is True
        assert row["telemetry"].get("throttle_reasons", 4) == 4
        assert row["gpu"] == 0
    facts = {name: fact["value"] for name, fact in record["facts"].items() if name.startswith("bench.0")}
    assert facts["bench.0.others"] == {"processes": 0, "utilisation_percent": 0}
    assert facts["bench.0.left_out"] == []
    timeline = facts["bench.0.timeline"]
    assert len({len(series) for series in timeline.values()}) == 1
    assert {"bf16", "fp64"} <= set(timeline["dtype"])
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(r"^memory copy [\d.]+ GB/s \(.*\); host to device", done.stdout, re.MULTILINE)
    assert re.search(r"^ +\d+ s  GPU 0: host-to-device [\d.]+ GB/s$", done.stderr, re.MULTILINE)


def test_no_gpu_where_one_was_asked_for(kit, named, driver, fake_root, children):
    for path in fake_root.rglob("*"):
        if path.is_file():
            path.unlink()
    env = driver(None) | children("sys.modules['torch'] = None") | {"GPUSMOKE_ROOT": str(fake_root)}
    assert named(kit(*SHORT, "--require-gpu", env=env), "gpu-required", "pixi run doctor")
