"""What explains that a run is slower or faster than another."""

import pytest
from compared_runs import moved, record, row

from gpusmoke.findings.comparison import judge


@pytest.mark.parametrize(
    ("faster", "words"), [(False, "is lower (1365 to 1228 MHz)"), (True, "is higher (1228 to 1365")]
)
def test_the_same_clock_explains_both_directions(faster, words):
    quick, slow = record([row([700.0] * 5)]), record([row([630.0] * 5, telemetry={"sm_clock_mhz": 1228})])
    (found,) = judge(slow, quick) if faster else judge(quick, slow)
    assert f"the SM clock {words}" in found.title


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ({"processes": 0, "utilisation_percent": 0}, None),
        ({"processes": 0, "utilisation_percent": 5}, None),
        ({"processes": None, "utilisation_percent": None}, None),
        ({"processes": 0, "utilisation_percent": 40}, "another process used the GPU meanwhile (40 % busy"),
        ({"processes": 2, "utilisation_percent": 0}, "2 other processes used the GPU meanwhile"),
        ({"processes": 1, "utilisation_percent": None}, "another process used the GPU meanwhile."),
    ],
)
def test_another_process_is_named_where_there_was_one(others, named):
    alone = {"processes": 0, "utilisation_percent": 0}
    old = record([row([700.0] * 5)], **{"bench.0.others": alone})
    new = record([row([600.0] * 5)], **{"bench.0.others": others})
    (found,) = judge(old, new)
    assert (named or "none of clock, power, another process explains it") in found.title
    if named:  # one that was there both times explains nothing
        crowd = record([row([700.0] * 5)], **{"bench.0.others": others})
        assert "none of clock, power, another process" in judge(crowd, new)[0].title
        assert "used the GPU before" in judge(new, old)[0].title


def test_a_memory_clock_explains_slow_copies_and_the_sm_clock_does_not():
    def copies(rate, **telemetry):
        return record([row([700.0] * 5), moved("memory-copy", rate, **telemetry)])

    fast = copies(3000.0, sm_clock_mhz=1900, memory_clock_mhz=2619)
    cause = judge(fast, copies(1500.0, sm_clock_mhz=900, memory_clock_mhz=1310))[1]
    assert cause.title.endswith("the memory clock is lower (2619 to 1310 MHz).")
    cause = judge(fast, copies(1500.0, sm_clock_mhz=900, memory_clock_mhz=2619))[1]
    assert cause.title.endswith("none of clock, power, another process explains it.")


NOTHING = "none of clock, power, another process explains it"


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ({"sm_clock_mhz": 1290}, "the SM clock is lower (1365 to 1290 MHz)"),  # by half as much as the rate
        ({"sm_clock_mhz": 1300}, NOTHING),
        ({"sm_clock_mhz": 1500}, NOTHING),
        ({"sm_clock_mhz": 0}, NOTHING),
        ({"power_w": 676.0}, "the power drawn at the power cap is lower (698 to 676 W)"),
        ({"power_w": 678.0}, NOTHING),
        ({"power_w": 600.0, "throttle_reasons": 0}, NOTHING),  # it was not at the cap
        ({"throttle_reasons": 0x44}, "the clock was held down by: hardware thermal slowdown"),
        ({"throttle_reasons": 0x5}, NOTHING),
        ({"sm_clock_mhz": 1228, "temperature_c": 66}, "the SM clock is lower (1365 to 1228 MHz)"),
        (
            {"sm_clock_mhz": 1228, "temperature_c": 67},
            "the SM clock is lower (1365 to 1228 MHz), and the temperature is higher (62 to 67 C)",
        ),
        ({"temperature_c": 80}, NOTHING),  # heat alone slows nothing down
    ],
    ids=str,
)
def test_a_reading_explains_what_it_is_large_enough_for(readings, reason):
    # What is judged has no part in it: a burst that is a tenth slower, beside a product that is not.
    product, burst = row([700.0] * 5), row([700.0] * 5, regime="burst")
    slow = row([630.0] * 5, regime="burst", telemetry=burst["telemetry"] | readings)
    cause = judge(record([product, burst]), record([product, slow]))[1]
    assert cause.title.rstrip(".").endswith(f": {reason}")


@pytest.mark.parametrize(
    ("limit", "reason"),
    [(695.0, "the power limit is lower (700 to 695 W)"), (699.6, NOTHING), (750.0, NOTHING), (None, NOTHING)],
)
def test_a_lower_power_limit_explains_and_a_higher_one_does_not(limit, reason):
    new = record([row([600.0] * 5)], nvml__gpus=[{"uuid": "GPU-1", "power_limit_w": limit}])
    assert judge(record([row([700.0] * 5)]), new)[0].title.rstrip(".").endswith(f": {reason}")


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        ((1, 0), (3, 0), "3 other processes used the GPU meanwhile"),
        ((3, 0), (1, 0), NOTHING),
        ((1, 10), (1, 40), "another process used the GPU meanwhile (40 % busy while bench rested)"),
        ((1, 10), (1, 15), NOTHING),
        ((0, 5), (0, 6), "another process used the GPU meanwhile (6 % busy while bench rested)"),
    ],
)
def test_more_of_other_processes_than_before_explains(before, now, reason):
    def others(at, rate):
        told = dict(zip(("processes", "utilisation_percent"), at, strict=True))
        return record([row([rate] * 5)], **{"bench.0.others": told})

    (found,) = judge(others(before, 700.0), others(now, 600.0))
    assert found.title.rstrip(".").endswith(f": {reason}")


def test_what_is_no_copy_within_the_memory_is_explained_by_the_sm_clock():
    def both(share, sm, memory):
        clocks = {"sm_clock_mhz": sm, "memory_clock_mhz": memory}
        burst = row([700.0 * share] * 5, regime="burst", telemetry=clocks)
        return record([row([700.0] * 5), burst, moved("memory-copy", 3000.0 * share, **clocks)])

    cause = judge(both(1.0, 1900, 2619), both(0.5, 900, 1310))[1]
    assert "(and 1 more)" in cause.title
    assert cause.title.endswith(": the SM clock is lower (1900 to 900 MHz).")


def test_the_limit_of_another_gpu_explains_nothing():
    gpus = [{"uuid": "GPU-1", "power_limit_w": 700.0}, {"uuid": "GPU-2", "power_limit_w": 400.0}]
    old, new = record([row([700.0] * 5)]), record([row([600.0] * 5)], nvml__gpus=gpus)
    assert "none of clock, power" in judge(old, new)[0].title
    lowered = record([row([600.0] * 5)], nvml__gpus=[{"uuid": "GPU-1", "power_limit_w": 500.0}])
    assert "the power limit is lower (700 to 500 W)" in judge(old, lowered)[0].title
