"""soak's rules on hand-made facts."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd import nested

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings import catalogue
from gpusmoke.findings.soak import judge, seen

GOOD = {"finished": True, "exit_code": 0, "last_step": "", "stderr": [], "stray_lines": []}
H100 = "NVIDIA H100 80GB HBM3"
REFERENCE = {"method": "elementwise", "passed": True, "error": 0.1, "bound": 0.2, "repeats_equal": None}
ROW = {
    "device": "cuda:0",
    "name": H100,
    "seconds": 120.3,
    "products": 73300,
    "checked": 73300,
    "wrong_results": 0,
    "wrong_elements": 0,
    "errors": [],
    "failed": None,
    "reference": REFERENCE,
    "unwatched": None,
    "temperature_c_max": 71,
    "slowed_percent": 0.0,
    "events": [],
}
WRONG = {"buffer": 17, "elements": 1, "byte": 4096, "expected": "0x3f80", "found": "0x3f81"}
WRONG |= {"written_seconds": 12.3, "seconds": 13.4, "utc": "2026-11-26T04:00:13Z"}
EVENT = {"seconds": 13.4, "utc": "2026-11-26T04:00:13Z"}
HEALTHY = {
    "host.nvidia_cards": ["0"],
    "cuda.init": {"code": 0},
    "cuda.devices": [{}],
    "torch.version": "2.12.1",
    "torch.available": True,
    "soak.0": ROW,
    "soak.worker.0": GOOD,
}
MEASURED = [{"gpu": 0, "value": 680.1, "unit": "TFLOP/s"}]


def facts(row=ROW, **changes):
    values = HEALTHY | {"soak.0": row} | {name.replace("__", "."): value for name, value in changes.items()}
    return Facts(
        {name: Fact(value, "a test", None if value is not None else "unread") for name, value in values.items()}
    )


def found(row=ROW, **changes):
    return {one.id: one for one in judge(facts(row, **changes), MEASURED)}


def event(what, **more):
    return ROW | {"events": [{"what": what, **EVENT, **more}]}


def test_a_gpu_that_held_out_gets_one_line():
    result = found()
    assert set(result) == {"soaked"}
    assert result["soaked"].title.startswith(f"{H100}: 73300 products in 120.3 s")
    assert "71 C at most" in result["soaked"].title


@pytest.mark.parametrize(
    ("row", "expected", "words"),
    [
        (ROW | {"wrong_results": 1, "errors": [WRONG]}, "bits-differ", "1 of 73300 results"),
        (ROW | {"wrong_results": 3, "errors": [WRONG]}, "bits-differ", "buffer 17 at byte 4096"),
        (ROW | {"wrong_results": 1, "errors": [WRONG | {"elements": 0, "byte": None}]}, "bits-differ", "13.4 s"),
        (ROW | {"checked": 0, "reference": REFERENCE | {"passed": False}}, "wrong-result", "The first product"),
        (event("ecc", before=1, now=4), "ecc-rose", "3 errors"),
        (event("row", uncorrected=0, pending=1, failure=0), "memory-row-failed", "13.4 s"),
        (event("xid", number=79), "xid-reported", "Xid 79"),
        (event("lost", code=15, text="GPU is lost"), "gpu-lost-under-load", "NVML error 15, GPU is lost"),
        (
            event("slowed", reasons=0x48, names=["hardware slowdown", "hardware thermal slowdown"]),
            "slowed-under-load",
            "by hardware slowdown, hardware thermal slowdown, 0.0 % of the time",
        ),
        (ROW | {"failed": {"text": "CUDA error: x", "code": 214, "seconds": 9.0}}, "ecc-uncorrectable", "memory"),
        (ROW | {"failed": {"text": "CUDA error: x", "code": 719, "seconds": 9.0}}, "step-failed", "9.0 s into the run"),
    ],
)
def test_each_fault_is_a_problem_and_nothing_is_called_right_beside_it(row, expected, words):
    result = found(row)
    assert set(result) == {expected}
    assert result[expected].severity == "problem"
    assert result[expected].gpu == 0
    assert words in result[expected].title
    assert result[expected].evidence


@pytest.mark.parametrize("number", [13, 31, 43, 45, 68, 109])
def test_errors_of_programs_are_kept_and_no_finding(number):
    assert set(found(event("xid", number=number))) == {"soaked"}
    assert set(found(event("xid", number=number + 1))) == {"xid-reported"}
    assert set(found(event("ecc", number=number, before=1, now=2))) == {"ecc-rose"}


def test_a_kind_of_event_that_is_not_known_hides_no_other():
    row = ROW | {"events": [{"what": "new", **EVENT}, {"what": "xid", "number": 79, **EVENT}]}
    assert set(found(row)) == {"xid-reported"}


def test_a_wrong_result_is_told_with_its_place_and_of_many_the_first_five():
    result = found(ROW | {"wrong_results": 7, "wrong_elements": 9, "errors": [WRONG] * 7})["bits-differ"]
    assert result.evidence[0] == (
        "buffer 17, written 12.3 s, seen 13.4 s into the run: 0x3f81 instead of 0x3f80 at byte 4096, 1 elements in all"
    )
    assert result.evidence[-1] == "9 elements in 7 results"
    assert len(result.evidence) == 6
    once = found(ROW | {"wrong_results": 1, "errors": [WRONG | {"elements": 0}]})["bits-differ"]
    assert once.evidence[0].endswith("into the run: different at the first look, right at the second")


def test_the_line_of_a_gpu_that_held_out_has_its_own_rate_and_heat_where_they_are_known():
    (one,) = [one for one in judge(facts(), [{"gpu": 1, "value": 1.0, "unit": "x"}, *MEASURED]) if one.id == "soaked"]
    assert one.evidence == ("rate: 680.1 TFLOP/s",)
    (one,) = [one for one in judge(facts(ROW | {"temperature_c_max": None}), []) if one.id == "soaked"]
    assert one.evidence == ()
    assert "at most" not in one.title


def test_several_events_of_a_kind_are_one_finding_that_begins_with_the_first():
    row = ROW | {"events": [{"what": "ecc", **EVENT, "before": n, "now": n + 1} for n in range(9)]}
    (one,) = [one for one in judge(facts(row), []) if one.id == "ecc-rose"]
    assert "9 errors" in one.title
    assert len(one.evidence) == 5


def test_what_could_not_be_watched_is_told_and_no_fault():
    result = found(ROW | {"unwatched": {"ecc": "Not Supported"}})
    assert {one.severity for one in result.values()} == {"note", "ok"}
    assert "ecc Not Supported" in result["soak-unwatched"].title
    assert "NVML: no driver" in found(ROW | {"unwatched": "NVML: no driver"})["soak-unwatched"].title


def test_a_child_that_did_nothing_is_a_problem():
    assert "nothing-measured" in found(ROW | {"checked": 0})
    unknown = found({"device": "cuda:0", "name": H100, "left_out": "fp8: needs compute capability 8.9"})
    assert set(unknown) == {"dtype-skipped", "nothing-measured"}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (GOOD | {"finished": False, "exit_code": -9}, "worker-crashed"),
        (GOOD | {"finished": False, "timed_out": True, "silent_seconds": 180.0}, "worker-silent"),
        (GOOD | {"finished": False, "timed_out": True}, "worker-hung"),
    ],
)
def test_a_dead_child_is_a_problem_and_the_other_gpu_reports(outcome, expected):
    second = {"soak.1": ROW | {"device": "cuda:1"}, "soak.worker.1": GOOD}
    result = judge(facts(**{"soak.worker.0": outcome} | second), [])
    assert [(one.id, one.gpu) for one in result if one.severity == "problem"] == [(expected, 0)]
    assert 1 in [one.gpu for one in result if one.id == "soaked"]


@pytest.mark.parametrize(
    ("values", "settled", "finished", "expected"),
    [
        ((680.0, 660.0, 637.0), True, True, []),
        ((680.0, 678.0, 612.0), True, True, [("slower-than-its-siblings", 2)]),
        ((680.0, 680.0, 300.0), False, True, []),
        ((680.0, 680.0, 300.0), True, False, []),
        ((680.0, 600.0, 300.0), True, False, [("siblings-differ", None)]),  # of two nobody knows which one is off
    ],
)
def test_a_gpu_is_judged_by_others_of_its_kind_that_came_to_rest(values, settled, finished, expected):
    product = {"quantity": "matmul", "dtype": "bf16", "shape": [8192] * 3, "layout": "NT", "backend": "cublas"}
    row = product | {"regime": "settled", "unit": "TFLOP/s", "settled": settled, "telemetry": {}}
    rows = [row | {"gpu": at, "device": H100, "value": value} for at, value in enumerate(values)]
    rows.append(row | {"gpu": 3, "device": "NVIDIA L4", "value": 60.0})
    children = {f"soak.worker.{at}": GOOD for at in (0, 1, 3)} | {"soak.worker.2": GOOD | {"finished": finished}}
    result = [(one.id, one.gpu) for one in judge(facts(**children), rows) if "sibling" in one.id]
    assert result == expected


def test_health_from_before_the_run_counts():
    gpu = {"index": 0, "ecc_uncorrected": 2}
    assert "ecc-errors" in found(nvml__gpus=[gpu])


def test_without_a_gpu_it_is_told_first_and_required_ones_are_missed():
    on_cpu = {"cuda.devices": None, "cuda.init": None, "host.nvidia_cards": [], "torch.available": False}
    result = judge(facts(ROW | {"device": "cpu", "name": "CPU", "unwatched": "not a GPU"}, **on_cpu), [])
    assert [(one.id, one.gpu) for one in result] == [("cuda-not-exercised", None), ("soaked", None)]
    required = judge(facts(ROW | {"device": "cpu"}, **on_cpu, request__require_gpu=True), [])
    assert "gpu-required" in [one.id for one in required]


def test_an_interrupted_run_tells_what_the_devices_showed_and_no_more():
    assert [one.id for one in seen(facts(ROW | {"checked": 0}), [])] == []
    assert [one.id for one in seen(facts(ROW | {"wrong_results": 1}), [])] == ["bits-differ"]
    crashed = facts(soak__worker__0=GOOD | {"finished": False})
    assert [one.id for one in seen(crashed, [])] == ["soaked"]


ODD = nested([*GOOD, *ROW, *WRONG, "what", "names"])


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from([*HEALTHY, "nvml.gpus", "request.require_gpu"]), ODD),
    st.dictionaries(st.sampled_from(list(ROW)), ODD),
)
def test_no_facts_whatever_make_a_rule_raise(values, row):
    values = {"soak.0": ROW | row, "soak.worker.0": GOOD} | values
    result = judge(Facts({name: Fact(value, "a test") for name, value in values.items()}), [])
    assert {one.id for one in result} <= set(catalogue())


def test_two_real_gpus_are_well():
    record = json.loads(Path(__file__).parents[1].joinpath("data/h100-x2-soak.json").read_text())
    found = judge(Facts.from_json(record["facts"]), record["measurements"])
    assert [one.id for one in found if one.severity in ("problem", "warning")] == []
    assert {one.id for one in found} == {one["id"] for one in record["findings"]}
    record["facts"]["soak.1"]["value"]["wrong_results"] = 1
    wrong = judge(Facts.from_json(record["facts"]), record["measurements"])
    assert [(one.id, one.gpu) for one in wrong if one.severity == "problem"] == [("bits-differ", 1)]
