"""bench's rules on hand-made measurements."""

import pytest

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.rates import judge

GOOD = {"finished": True, "exit_code": 0, "last_step": "", "stderr": [], "stray_lines": []}
H100 = "NVIDIA H100 80GB HBM3"


def facts(**changes):
    values = {
        "host.nvidia_cards": ["0"],
        "cuda.init": {"code": 0},
        "cuda.devices": [{}],
        "torch.version": "2.12.1",
        "torch.available": True,
        "bench.0": {"device": "cuda:0", "name": H100},
        "bench.worker.0": GOOD,
    } | {name.replace("__", "."): value for name, value in changes.items()}
    return Facts(
        {name: Fact(value, "a test", None if value is not None else "unread") for name, value in values.items()}
    )


def row(regime="settled", **changes):
    checked = {"method": "elementwise", "passed": True, "error": 0.1, "bound": 0.2, "repeats_equal": True}
    return {
        "gpu": 0,
        "dtype": "bf16",
        "regime": regime,
        "unit": "TFLOP/s",
        "value": 680.0,
        "datasheet": 989.4,
        "telemetry": {"throttle_reasons": 4},
        "verified": checked | changes.pop("verified", {}),
    } | changes


def found(measurements, **changes):
    return {one.id: one for one in judge(facts(**changes), measurements)}


def test_full_load_at_the_power_cap_is_healthy():
    result = found([row("burst"), row()])
    assert set(result) == {"rates-measured"}
    assert result["rates-measured"].title == f"{H100}: bf16 680 TFLOP/s burst, bf16 680 TFLOP/s settled"


@pytest.mark.parametrize("bits", [0x8, 0x20, 0x40, 0x80, 0x4 | 0x40])
def test_any_other_throttling_is_a_warning(bits):
    result = found([row(telemetry={"throttle_reasons": bits})])
    assert "clock-held-down" in result
    assert "power cap" not in result["clock-held-down"].title


def test_a_wrong_result_is_a_problem():
    result = found([row(verified={"passed": False, "error": 9.0})])
    assert result["wrong-result"].severity == "problem"
    assert result["wrong-result"].gpu == 0


def test_repeats_that_differ_say_so():
    assert "repeat" in found([row(verified={"passed": False, "repeats_equal": False})])["wrong-result"].title


def test_an_unknown_card_gets_a_note_and_no_percentage():
    one = row()
    del one["datasheet"]
    assert found([one])["peak-unknown"].severity == "note"


def test_what_was_left_out_is_told():
    result = judge(facts(**{"bench.0.fp8": None}), [row()])
    assert [one.title for one in result if one.id == "dtype-skipped"] == ["fp8 was not measured: unread"]


def test_a_device_that_failed_in_one_format_is_a_problem_not_something_left_out():
    failed = facts().with_facts({"bench.0.fp8": Fact("failed", "PyTorch", "CUDA error: an illegal memory access")})
    result = {one.id: one for one in judge(failed, [row()])}
    assert result["step-failed"].severity == "problem"
    assert "illegal memory access" in result["step-failed"].title
    assert "dtype-skipped" not in result


def test_a_rate_that_had_not_settled_is_told():
    assert "not-settled" in found([row(settled=False)])
    assert "not-settled" not in found([row(settled=True)])


def test_nothing_measured_is_a_problem():
    assert found([])["nothing-measured"].severity == "problem"


def test_a_dead_child_is_a_problem_and_what_it_measured_stays():
    result = found([row()], bench__worker__0=GOOD | {"finished": False, "exit_code": -9})
    assert {"worker-crashed", "rates-measured"} <= set(result)


def test_each_gpu_is_told_of_its_own():
    second = {"bench.1": {"device": "cuda:1", "name": H100}, "bench.worker.1": GOOD}
    result = judge(facts(**second), [row(), row(gpu=1, verified={"passed": False})])
    assert [one.gpu for one in result if one.id == "rates-measured"] == [0, 1]
    assert [one.gpu for one in result if one.id == "wrong-result"] == [1]
