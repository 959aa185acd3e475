"""What only minutes of load show, through `soak`: a real PyTorch on a stand-in GPU that flips bits or gives way."""

import json
import signal
import subprocess
import sys
import time

import pytest
from playable import STAND_IN_GPU

pytest.importorskip("torch")
pytestmark = [pytest.mark.long, *STAND_IN_GPU]

STAND_IN = "pytorch"
# A GPU with room for some ten results, as fast as one: what it has multiplied once it knows by heart. It does what
# `fault` says at its 45th product and later; the first forty at most are made before the load begins.
PLAY = """import os, time, standin_gpu; torch = standin_gpu.play({count})
torch.cuda.mem_get_info = lambda: (128 << 20, 80 << 30)
mm, n, outs, known = torch.mm, 0, [], {{}}
def right(a, b, out):
    key = (*a.shape, *a[0, :4].tolist(), *b[0, :4].tolist())
    if key not in known: known[key] = mm(a, b)
    return out.copy_(known[key])
def multiply(a, b, out):
    global n
    n += 1
    time.sleep(0.02)
    {fault}
    right(a, b, out)
    outs[:] = [*outs[-3:], out]
torch.mm = multiply
"""
LOAD = ("soak", "--memory", "0.5", "--dtype", "fp32", "--json", "--minutes")
SHORT, LONG = "0.03", "0.08"  # long enough for what comes later
UNTIL_IT_ENDS = "3"  # where the fault ends it, however slow the machine is
SETTLED = "0.3"
ON_GPU = "__import__('sys').orig_argv[-1] == '{}'"
ELEMENT = (17, 5)
BYTE = 4 * (1024 * ELEMENT[0] + ELEMENT[1])
BIT = 1 << 6
ONE_PRODUCT = f"if n == 45: right(a, b, out).view(torch.int32)[{ELEMENT}] ^= {BIT}; return"
# At most one of the two is overwritten before it is looked at.
IN_MEMORY = f"if n in (45, 50): outs[0].view(torch.int32)[{ELEMENT}] ^= {BIT}"
NEVER_WRITTEN = "if n == 45: return"
ALWAYS_WRONG = "right(a, b, out)[17, 5] += 8; return"
ERROR = "if n == {}: raise RuntimeError('CUDA error: {}')"
SILENT = "if n == 45: time.sleep(600)"
LATER = {"@2500 ecc_uncorrected": 3, "@2500 remapped_pending": 1, "@2500 xid": 79, "@2500 clock_reasons": 0x44}
NVML = {
    "ecc-rose": "nvidia-smi -q -d ECC",
    "memory-row-failed": "nvidia-smi -q -d ROW_REMAPPER",
    "xid-reported": "sudo dmesg",
    "slowed-under-load": "nvidia-smi -q -d PERFORMANCE",
}
CASES = [
    (
        {"bits-differ": "pixi run soak", "step-failed": "pixi run doctor"},
        f"{ERROR.format(90, 'unspecified launch failure')}\n    {NEVER_WRITTEN}",
        {},
    ),
    ({"wrong-result": "pixi run check"}, ALWAYS_WRONG, {}),
    (NVML, "", LATER),
    ({"gpu-lost-under-load": "sudo dmesg"}, "", {"@2500 nvmlDeviceGetClockInfo": 15}),
    ({"gpu-lost-under-load": "sudo dmesg"}, "", {"@2500 nvmlDeviceGetTotalEccErrors": 999}),
    ({"ecc-uncorrectable": "nvidia-smi -q -d ECC"}, ERROR.format(45, "uncorrectable ECC error encountered"), {}),
    ({"worker-silent": "sudo dmesg"}, SILENT, {}),
]
NAMED = {kind for expected, *_ in CASES for kind in expected} | {"slower-than-its-siblings"}


@pytest.fixture
def machine(driver, fake_root, children):
    """The variables that make such a machine."""

    def variables(fault="", state=(), count=1):
        play = PLAY.format(fault=fault or "pass", count=count)
        return driver(dict(state) or "") | children(play) | {"GPUSMOKE_ROOT": str(fake_root)}

    return variables


def found(record):
    return [(one["id"], one["gpu"]) for one in record["findings"] if one["severity"] in ("problem", "warning")]


@pytest.mark.parametrize(("expected", "fault", "state"), CASES)
def test_each_failure_is_named_with_its_cure(kit, machine, named, expected, fault, state):
    patience = ["--timeout", "12"] if fault == SILENT else []
    minutes = LONG if state else UNTIL_IT_ENDS if "CUDA error" in fault or patience else SHORT
    done = kit(*LOAD, minutes, *patience, env=machine(fault, state), timeout=180)
    for kind, advice in expected.items():
        assert named(done, kind, advice)["gpu"] == 0


def test_a_gpu_that_is_well_gives_no_alarm(kit, machine, valid):
    # At its power cap, and with an error of somebody's program.
    done = kit(*LOAD, LONG, env=machine(state={"clock_reasons": 4, "power_mw": 699000, "@2500 xid": 31}), timeout=180)
    record = json.loads(done.stdout)
    valid(record)
    assert done.returncode == 0
    assert found(record) == []
    row = record["facts"]["soak.0"]["value"]
    assert row["products"] == row["checked"] > row["buffers"] > 4  # every buffer was overwritten
    assert row["checked_bytes"] == row["checked"] * row["bytes_each"]
    assert row["wrong_results"] == 0
    assert row["temperature_c_max"] == 33
    assert [(event["what"], event["number"]) for event in row["events"]] == [("xid", 31)]
    (measured,) = record["measurements"]
    assert (measured["quantity"], measured["regime"], measured["gpu"]) == ("matmul", "settled", 0)
    assert measured["verified"]["passed"] is measured["verified"]["repeats_equal"] is True
    assert measured["telemetry"]["throttle_reasons"] == 4
    timeline = record["facts"]["soak.0.timeline"]["value"]
    assert len({len(series) for series in timeline.values()}) == 1
    assert [rate for rate in timeline["rate"] if rate]


def only_that_bit(error):
    """Whether the one difference is the bit that flipped."""
    return (error["elements"], error["byte"], int(error["expected"], 16) ^ int(error["found"], 16)) == (1, BYTE, BIT)


def test_a_bit_that_flipped_in_memory_is_told_with_its_place_and_time(kit, machine, named):
    done = kit(*LOAD, LONG, env=machine(IN_MEMORY), timeout=180)
    title = named(done, "bits-differ", "pixi run soak")["title"]
    record = json.loads(done.stdout)
    row = record["facts"]["soak.0"]["value"]
    assert row["wrong_results"] == row["wrong_elements"] == len(row["errors"]) in (1, 2)
    first = row["errors"][0]
    assert 0 <= first["buffer"] < row["buffers"]
    assert only_that_bit(first)
    assert 0 <= first["written_seconds"] <= first["seconds"] <= 120
    assert record["started"] <= first["utc"]
    assert f"in buffer {first['buffer']} at byte {BYTE}" in title
    assert record["measurements"][0]["verified"]["repeats_equal"] is False


def test_a_gpu_that_dies_and_one_that_is_slower_do_not_keep_another_from_reporting(kit, machine, named):
    dies, slow = (
        f"if n == 45 and {ON_GPU.format(1)}: os.kill(os.getpid(), 9)",
        f"if {ON_GPU.format(2)}: time.sleep(0.05)",
    )
    done = kit(*LOAD, SETTLED, env=machine(f"{dies}\n    {slow}", {"devices": 4}, count=4), timeout=180)
    assert "signal 9" in named(done, "worker-crashed", "sudo dmesg")["title"]
    assert named(done, "slower-than-its-siblings", "nvidia-smi -q -d PERF")["gpu"] == 2
    record = json.loads(done.stdout)
    assert sorted(found(record)) == [("slower-than-its-siblings", 2), ("worker-crashed", 1)]
    assert [one["gpu"] for one in record["findings"] if one["id"] == "soaked"] == [0, 2, 3]
    # What it had done before is kept.
    assert {0, 2, 3} <= {row["gpu"] for row in record["measurements"]}
    assert record["facts"]["soak.1"]["value"]["name"] == "NVIDIA H100 80GB HBM3"


def test_an_interruption_keeps_what_was_seen_as_a_bit_of_one_product_that_flipped(kit, machine, valid, tmp_path):
    marker = tmp_path / "later"
    fault = f"{ONE_PRODUCT}\n    if n == 150: open({str(marker)!r}, 'w').close()"
    command = [sys.executable, "-m", "gpusmoke", *LOAD, "20"]
    process = subprocess.Popen(command, env=machine(fault), cwd=kit.cwd, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not marker.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    record = json.loads(out)
    valid(record)
    assert process.returncode == 130
    assert record["complete"] is False
    assert [one["id"] for one in record["findings"]] == ["bits-differ", "interrupted"]
    row = record["facts"]["soak.0"]["value"]
    assert row["checked"] > 0
    assert row["wrong_results"] == 1
    assert only_that_bit(row["errors"][0])
    assert [row["gpu"] for row in record["measurements"]] == [0]
    (kept,) = (kit.cwd / "results").glob("soak-*.json")
    assert json.loads(kept.read_text()) == record
