"""What two records show of each other, through `compare`: a real H100's, one of them edited.

A case says what was done to the newer record, and what has to be named as the reason.
"""

import pytest

STAND_IN = "record"
NAMED = {"slower"}
UUID = "GPU-72508189-24f4-02c8-c033-faccb1432238"


def slowed(document, share=0.9, **telemetry):
    """Settled products at this share of their rate; readings of their telemetry at theirs."""
    for row in document["measurements"]:
        if row["regime"] == "settled" and row["quantity"] == "matmul":
            row["value"] *= share
            row["samples"] = [rate * share for rate in row["samples"]]
            for name, factor in telemetry.items():
                row["telemetry"][name] = round(row["telemetry"][name] * factor)


def fact(document, name):
    return document["facts"].setdefault(name, {"value": {}, "source": "a test"})["value"]


def by_itself(document):
    slowed(document)


def clock(document):
    slowed(document, sm_clock_mhz=0.9)


def limit(document):
    slowed(document, sm_clock_mhz=0.9, power_w=0.75)
    fact(document, "nvml.gpus")[0]["power_limit_w"] = 525.0


def limit_that_nvml_does_not_tell(document):
    slowed(document, power_w=0.75)


def heat(document):
    slowed(document, sm_clock_mhz=0.9, temperature_c=1.35)
    for row in document["measurements"]:
        row["telemetry"]["throttle_reasons"] |= 0x40


def neighbour(document):
    slowed(document, 0.5)
    fact(document, "bench.0.others").update(processes=1, utilisation_percent=97)


def neighbour_by_pid(document):
    slowed(document, 0.5)
    fact(document, "bench.0.others").update(processes=None)
    fact(document, "nvml.gpus")[0]["processes"] = [{"pid": 707, "mib": 1476}]


CASES = [
    (by_itself, "none of clock, power, another process explains it."),
    (clock, "the SM clock is lower (1365 to 1228 MHz)."),
    (limit, "the power limit is lower (700 to 525 W), and the SM clock is lower (1365 to 1228 MHz)."),
    (limit_that_nvml_does_not_tell, "the power drawn at the power cap is lower (698.3 to 524 W)."),
    (
        heat,
        "the clock was held down by: hardware thermal slowdown, and the SM clock is lower (1365 to 1228 MHz), and the "
        "temperature is higher (62 to 84 C).",
    ),
    (neighbour, "another process used the GPU meanwhile (97 % busy while bench rested)."),
    (neighbour_by_pid, "another process used the GPU meanwhile."),
]


@pytest.mark.parametrize(("change", "reason"), CASES, ids=[case[0].__name__ for case in CASES])
def test_a_slower_gpu_is_named_with_what_explains_it(kit, named, edited, change, reason):
    done = kit("compare", edited("old.json"), edited("new.json", change), "--json")
    assert done.stderr == ""
    found = named(done, "slower", "pixi run bench # once more")
    assert found["gpu"] == 0
    assert found["title"].endswith(reason)
