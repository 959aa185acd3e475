"""What NVML's samples say of a span of time: made by hand, and read from the stand-in driver."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring.telemetry import POINTS, TIMELINE, Rate, Sample, Telemetry

UUID = "GPU-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f0"
READ = f"""
import json, sys, time
from gpusmoke.measuring.telemetry import Telemetry, others
idle, telemetry, begun = others({UUID!r}), Telemetry({UUID!r}), time.monotonic()
while telemetry.reason is None and len(telemetry.samples) < 5 and time.monotonic() < begun + 20:
    time.sleep(0.01)
telemetry.stop()
spans = [(begun, time.monotonic())]
print(json.dumps([telemetry.reason, idle, telemetry.summary(spans), telemetry.watts(*spans[0])]))
"""


def sampled(*samples):
    telemetry = Telemetry(None)
    telemetry.samples = list(samples)
    return telemetry


def each_second(count, **changes):
    """One sample a second from 0 on; a change is the value, or a function of the time."""
    values = {"sm_clock_mhz": 1980, "power_w": 100.0, "temperature_c": 40, "reasons": 0} | changes
    return [
        Sample(float(at), **{name: one(at) if callable(one) else one for name, one in values.items()})
        for at in range(count)
    ]


def test_only_what_lies_in_the_spans_counts_its_ends_included():
    telemetry = sampled(*each_second(10))
    assert [one.at for one in telemetry.during([(1.0, 2.5), (4.5, 4.9), (6.0, 6.0), (8.5, 99.0)])] == [1, 2, 6, 9]
    assert telemetry.during([]) == []
    assert telemetry.during([(20.0, 30.0)]) == []


@given(st.lists(st.integers(0, 100), min_size=2, max_size=12, unique=True), st.sets(st.integers(0, 100)))
def test_several_spans_give_what_each_of_them_gives(edges, moments):
    edges = sorted(edges)
    spans = [(float(start), float(end)) for start, end in zip(edges[::2], edges[1::2], strict=False)]
    telemetry = sampled(*(Sample(float(at), 1, 1.0, 1, 0) for at in sorted(moments)))
    expected = [at for at in sorted(moments) if any(start <= at <= end for start, end in spans)]
    assert [one.at for one in telemetry.during(spans)] == expected


def test_a_summary_is_medians_and_every_reason_seen():
    clocks, reasons = [1980, 1400, 1380, 1360, 1340], [0, 4, 0x44, 4, 0x100]
    telemetry = sampled(
        *each_second(
            5,
            sm_clock_mhz=lambda at: clocks[at],
            reasons=lambda at: reasons[at],
            power_w=lambda at: 690.0 + at,
            utilisation_percent=lambda at: None if at == 0 else 100,
        )
    )
    assert telemetry.summary([(0.0, 3.0)]) == {
        "samples": 4,
        "sm_clock_mhz": 1390,
        "power_w": 691.5,
        "temperature_c": 40,
        "throttle_reasons": 0x44,
        "throttle_reason_names": ["power cap", "hardware thermal slowdown"],
        "utilisation_percent": 100,
    }
    assert telemetry.between(0.0, 3.0) == telemetry.summary([(0.0, 3.0)])
    assert telemetry.clock(1.0, 3.0) == 1380


def test_no_sample_says_why():
    assert Telemetry(None).summary([(0.0, 1.0)]) == {"reason": "not a GPU"}
    telemetry = sampled(*each_second(3))
    telemetry.reason = None
    assert telemetry.summary([(7.0, 8.0)]) == {"reason": "no sample in that time"}
    assert telemetry.clock(7.0, 8.0) is None
    assert telemetry.watts(7.0, 8.0) is None


def test_power_is_that_of_the_energy_counter_where_there_is_one():
    """NVML's power is an average over a second on some cards, the counter is exact: here 250 W."""
    counted = each_second(9, energy_j=lambda at: 1e6 + 250.0 * at)
    assert sampled(*counted).watts(2.0, 6.0) == pytest.approx(250)
    assert sampled(*each_second(9, power_w=lambda at: 100.0 * at)).watts(2.0, 6.0) == pytest.approx(400)
    stuck = each_second(9, energy_j=lambda at: 1e6)
    assert sampled(*stuck).watts(2.0, 6.0) == pytest.approx(100)
    assert sampled(*counted).watts(2.0, 2.5) is None  # one sample spans no time


def test_a_timeline_has_a_rate_exactly_where_something_was_measured():
    telemetry = sampled(*each_second(481, sm_clock_mhz=lambda at: 2000 - at))
    lines = telemetry.timeline([Rate(100.0, 200.0, "bf16", 712.3456), Rate(300.0, 310.0, "fp8", 1300.0)])
    assert tuple(lines) == TIMELINE
    assert {len(values) for values in lines.values()} == {POINTS}
    points = list(zip(*(lines[name] for name in ("seconds", "rate", "dtype")), strict=True))
    for seconds, rate, dtype in points:
        if 101 < seconds < 199:
            assert (rate, dtype) == (712.3, "bf16")
        elif 301 < seconds < 309:
            assert (rate, dtype) == (1300.0, "fp8")
        elif not 98 < seconds < 202 and not 298 < seconds < 312:
            assert (rate, dtype) == (None, None)
    assert lines["sm_clock_mhz"] == sorted(lines["sm_clock_mhz"], reverse=True)


@given(
    st.lists(st.floats(0, 1000), min_size=2, max_size=400),
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 20)), max_size=5),
)
def test_no_run_has_more_points_than_a_record_can_hold(moments, measured):
    telemetry = sampled(*(Sample(at, 1500, 300.0, 50, 1 << (n % 4)) for n, at in enumerate(sorted(moments))))
    lines = telemetry.timeline([Rate(start, start + length, "bf16", 1.0) for start, length in measured])
    sizes = {len(values) for values in lines.values()}
    assert len(sizes) == 1
    assert 1 <= max(sizes) <= POINTS
    assert lines["seconds"] == sorted(lines["seconds"])
    assert [(rate is None) for rate in lines["rate"]] == [(name is None) for name in lines["dtype"]]
    assert {mask for mask in lines["throttle_reasons"] if mask} <= set(range(1, 16))


def test_less_than_two_samples_make_no_timeline():
    assert Telemetry(None).timeline([]) is None
    assert sampled(*each_second(1)).timeline([]) is None


def read(env):
    done = subprocess.run([sys.executable, "-c", READ], env=env, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_a_gpu_is_read_through_nvml_and_who_else_uses_it(driver):
    state = {"sm_clock_mhz": 1365, "power_mw": 698100, "temperature_c": 61, "clock_reasons": 4}
    reason, idle, seen, watts = read(driver({**state, "processes": "4711:512 4712:16", "utilization": 37}))
    assert reason is None
    assert idle == {"processes": 2, "utilisation_percent": 37}
    assert seen.pop("samples") >= 5
    assert seen == {
        "sm_clock_mhz": 1365,
        "power_w": 698.1,
        "temperature_c": 61,
        "throttle_reasons": 4,
        "throttle_reason_names": ["power cap"],
        "memory_clock_mhz": 2619,
        "utilisation_percent": 37,
    }
    assert watts == pytest.approx(698.1)  # the counter stands still here


def test_a_card_that_does_not_tell_everything_is_sampled_all_the_same(driver):
    refused = ("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTotalEnergyConsumption")
    refused += ("nvmlDeviceGetComputeRunningProcesses_v3",)
    reason, idle, seen, watts = read(driver(dict.fromkeys(refused, 3)))
    assert (reason, idle) == (None, {"processes": None, "utilisation_percent": None})
    assert "utilisation_percent" not in seen
    assert seen["memory_clock_mhz"] == 2619
    assert watts == pytest.approx(71)


@pytest.mark.parametrize(
    ("state", "why"),
    [(None, "NVML: "), ({"nvmlDeviceGetPowerUsage": 3}, "NVML: Not Supported"), ({"nvmlInit_v2": 9}, "NVML: ")],
)
def test_without_nvml_there_is_a_reason_and_no_failure(driver, state, why):
    reason, idle, seen, watts = read(driver(state))
    assert reason.startswith(why)
    assert seen == {"reason": reason}
    assert watts is None
    if state is None or "nvmlInit_v2" in state:
        assert idle == {"processes": None, "utilisation_percent": None}
