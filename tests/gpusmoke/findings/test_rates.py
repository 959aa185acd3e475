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
        "quantity": "matmul",
        "gpu": 0,
        "device": H100,
        "dtype": "bf16",
        "shape": [8192, 8192, 8192],
        "layout": "NT",
        "backend": "cublas",
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


def test_the_summary_is_of_the_first_product_alone():
    copy = moved()
    others = [row("burst", shape=[4096, 4096, 4096]), row("burst", dtype="fp8", value=1300.0)]
    by_others = [row("burst", backend="nvcc-mma", value=400.0), row(backend="nvcc-mma", value=390.0)]
    rows = [row("burst"), *others, *by_others, row(), copy]
    assert found(rows)["rates-measured"].title == f"{H100}: bf16 680 TFLOP/s burst, bf16 680 TFLOP/s settled"
    assert found([copy, *rows])["rates-measured"].title == found(rows)["rates-measured"].title
    assert found([copy])["rates-measured"].title == f"{H100}: memory copy 3000 GB/s settled"


def test_what_a_search_found_is_told():
    best = {"shape": [2048, 8448, 8192], "layout": "TN", "value": 712.3, "rungs": []}
    one = found([row()], bench__0__search=best)["fastest-shape"]
    assert (one.severity, one.gpu) == ("ok", 0)
    assert one.title == "The fastest shape that was found is 2048x8448x8192 TN: 712.3 TFLOP/s settled."
    assert "fastest-shape" not in found([row()])


@pytest.mark.parametrize(
    ("bits", "kind", "named"),
    [
        (0x8, "clock-held-down", "hardware slowdown"),
        (0x20, "clock-held-down", "software thermal slowdown"),
        (0x40, "clock-held-down", "hardware thermal slowdown"),
        (0x80, "clock-held-down", "hardware power brake"),
        (0x4 | 0x40, "clock-held-down", "hardware thermal slowdown"),
        (0x2, "clock-limited", "application clocks setting"),
        (0x4 | 0x10, "clock-limited", "sync boost"),
        (0x100, "clock-limited", "display clock setting"),
        (0x200, "clock-limited", "0x200"),
    ],
)
def test_what_slowed_the_clock_is_told_by_name(bits, kind, named):
    result = found([row(telemetry={"throttle_reasons": 4}), row(telemetry={"throttle_reasons": bits})])
    assert set(result) == {kind, "rates-measured"}
    assert result[kind].severity == {"clock-held-down": "problem", "clock-limited": "warning"}[kind]
    assert result[kind].title.rstrip(".").endswith(f": {named}")


@pytest.mark.parametrize("bits", [0x0, 0x1, 0x4, 0x5])
def test_idling_and_the_power_cap_are_no_throttling(bits):
    assert set(found([row(telemetry={"throttle_reasons": bits})])) == {"rates-measured"}
    assert set(found([row(telemetry={"reason": "NVML: no"})])) == {"rates-measured"}


def capped(limit, default=700.0, telemetry=0x4, **card):
    """The findings where this is the power limit of a GPU that NVML counts otherwise than CUDA."""
    second = {"index": 1, "uuid": "GPU-b", "power_limit_w": limit, "power_limit_default_w": default}
    cards = [{"index": 0, "uuid": "GPU-a", "power_limit_w": 100.0, "power_limit_default_w": 700.0}, second | card]
    return found(
        [row(telemetry={"throttle_reasons": telemetry})],
        cuda__devices=[{"ordinal": 0, "uuid": "GPU-b"}],
        nvml__gpus=cards,
    ).get("held-by-lowered-power-cap")


def test_a_power_limit_below_the_default_that_held_the_clock_is_a_problem():
    one = capped(500.0)
    assert one.severity == "problem"
    assert one.title == "The clock was held down by a power limit of 500 W, and this card's default is 700 W."
    assert one.advice[0].startswith("sudo nvidia-smi -i 1 -pl 700")  # by nvidia-smi's number, not by CUDA's
    assert any("power limit 500 W, default 700 W" in line for line in one.evidence)


@pytest.mark.parametrize(("limit", "lowered"), [(692.0, True), (694.0, False)])
def test_what_drivers_round_is_no_lower_limit(limit, lowered):
    assert (capped(limit) is not None) is lowered


@pytest.mark.parametrize(
    ("limit", "default", "telemetry"),
    [(700.0, 700.0, 4), (699.0, 700.0, 4), (750.0, 700.0, 4), (500.0, 700.0, 0), (None, 700.0, 4), (500.0, None, 4)],
)
def test_a_power_limit_that_held_nothing_or_is_the_default_is_none(limit, default, telemetry):
    assert capped(limit, default, telemetry) is None
    assert capped(500.0, uuid="GPU-c") is None  # another card's


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"processes": 0, "utilisation_percent": 5}, None),
        ({"processes": None, "utilisation_percent": None}, None),
        (None, None),
        ({"processes": 1, "utilisation_percent": 0}, "(1 process)"),
        ({"processes": None, "utilisation_percent": 6}, "(busy 6 % of the time before the run)"),
        ({"processes": 2, "utilisation_percent": 3}, "(2 processes, busy 3 % of the time before the run)"),
    ],
)
def test_another_program_on_the_gpu_is_a_warning(others, told):
    one = found([row()], bench__0__others=others).get("another-process")
    assert (one is not None) is (told is not None)
    if told:
        assert (one.severity, one.gpu) == ("warning", 0)
        assert told in one.title


def test_a_rate_below_what_the_model_reaches_is_a_problem_however_it_explains_itself():
    result = found([row("burst", value=400.0), row(value=500.0)])
    assert set(result) == {"slower-than-its-model", "rates-measured"}
    every = [one for one in judge(facts(), [row("burst", value=400.0), row(value=500.0)]) if one.id != "rates-measured"]
    assert [one.title for one in every] == [
        f"{H100} reached 400 TFLOP/s burst in bf16 at 8192x8192x8192; a healthy one reaches 636 or more (and 1 more)."
    ]
    assert every[0].evidence[1] == "bf16 settled: 500 TFLOP/s, expected 608 or more (docs/performance.md)"
    assert {one.severity for one in every} == {"problem"}


def test_of_several_rates_below_the_models_the_one_that_is_worst_is_told():
    title = found([row("burst", value=600.0), row(value=300.0)])["slower-than-its-model"].title
    assert title.startswith(f"{H100} reached 300 TFLOP/s settled")
    assert "more)" not in found([row("burst"), row(value=300.0)])["slower-than-its-model"].title


def test_a_cpu_is_no_model():
    on_cpu = {"bench__0": {"device": "cpu", "name": H100}}
    unknown = row(value=1.0, gpu=None)
    del unknown["datasheet"]
    assert not {"slower-than-its-model", "peak-unknown"} & set(found([unknown], **on_cpu))


def test_a_gpu_that_pytorch_does_not_see_is_not_said_to_have_measured_nothing():
    assert set(found([row()], bench__worker__1=GOOD)) == {"rates-measured"}
    assert "nothing-measured" in found([row()], bench__1={"device": "cuda:1", "name": H100}, bench__worker__1=GOOD)


@pytest.mark.parametrize("regime", ["burst", "settled"])
def test_a_wrong_result_is_a_problem_in_either_regime(regime):
    result = found([row(), row(regime, verified={"passed": False, "error": 9.000123})])
    assert result["wrong-result"].severity == "problem"
    assert result["wrong-result"].gpu == 0
    assert "largest error 9, allowed 0.2" in result["wrong-result"].title


def test_repeats_that_differ_say_so():
    title = found([row(verified={"passed": False, "repeats_equal": False})])["wrong-result"].title
    assert title == "The bf16 product came out wrong: a repeat of it has other bits."


def moved(**changes):
    checked = {"method": "bitwise", "passed": True, "error": 0.0, "bound": 0.0, "repeats_equal": None}
    copy = {"quantity": "memory-copy", "dtype": None, "layout": None, "shape": [1 << 31], "unit": "GB/s"}
    return row(**copy, value=3000.0, verified=checked | changes)


def test_bytes_that_did_not_arrive_are_a_problem():
    title = found([row(), moved(passed=False)])["wrong-result"].title
    assert title == "The memory copy came out wrong: bytes were changed on the way."


def test_an_unknown_card_gets_a_note_and_no_percentage():
    one = row()
    del one["datasheet"]
    assert found([one])["peak-unknown"].severity == "note"


def test_what_was_left_out_is_told():
    left_out = [{"what": "fp8", "failed": False, "text": "needs compute capability 8.9"}]
    result = judge(facts(bench__0__left_out=left_out), [row()])
    titles = [one.title for one in result if one.id == "dtype-skipped"]
    assert titles == ["fp8 was not measured: needs compute capability 8.9"]


def test_a_device_that_failed_in_one_format_is_a_problem_not_something_left_out():
    left_out = [{"what": "fp8 8192x8192x8192 NT", "failed": True, "text": "CUDA error: an illegal memory access"}]
    result = found([row()], bench__0__left_out=left_out)
    assert result["step-failed"].severity == "problem"
    assert "The fp8 8192x8192x8192 NT benchmark failed: CUDA error: an illegal" in result["step-failed"].title
    assert "dtype-skipped" not in result


def test_a_rate_that_had_not_settled_is_told():
    assert "not-settled" in found([row(settled=False)])
    assert "not-settled" not in found([row(settled=True)])
    on_cpu = {"bench__0": {"device": "cpu", "name": "CPU"}}
    assert "not-settled" not in found([row(settled=False, gpu=None)], **on_cpu)  # nothing there comes to rest


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
