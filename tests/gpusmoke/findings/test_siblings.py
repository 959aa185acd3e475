"""GPUs judged by their siblings, on measurements of our own making: who is accused, of what, and why."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.rates import judge as judge_bench
from gpusmoke.findings.siblings import judge

H100 = "NVIDIA H100 80GB HBM3"
GOOD = {"finished": True, "exit_code": 0, "last_step": "", "stderr": [], "stray_lines": []}
TELEMETRY = {"sm_clock_mhz": 1350, "power_w": 699.0, "temperature_c": 62, "throttle_reasons": 4}


def row(gpu, value, **changes):
    checked = {"method": "elementwise", "passed": True, "error": 0.1, "bound": 0.2, "repeats_equal": True}
    return {
        "quantity": "matmul",
        "gpu": gpu,
        "device": H100,
        "dtype": "bf16",
        "shape": [8192, 8192, 8192],
        "layout": "NT",
        "backend": "cublas",
        "regime": "settled",
        "unit": "TFLOP/s",
        "value": value,
        "telemetry": TELEMETRY | changes.pop("telemetry", {}),
        "verified": checked,
    } | changes


def copy(gpu, value, quantity="host-to-device"):
    moved = {"quantity": quantity, "dtype": None, "shape": [1 << 28], "layout": None, "backend": "cuda"}
    return row(gpu, value, unit="GB/s", **moved)


def facts(count=8, **changes):
    values = {
        "cuda.init": {"code": 0},
        "cuda.devices": [{"ordinal": at, "uuid": f"GPU-{at}", "pci": f"0000:0{at:x}:00.0"} for at in range(count)],
        "torch.version": "2.13.0",
        "torch.available": True,
    }
    for at in range(count):
        values |= {f"bench.{at}": {"device": f"cuda:{at}", "name": H100, "multiprocessors": 132}}
        values |= {f"bench.worker.{at}": GOOD}
    values |= {name.replace("__", "."): value for name, value in changes.items()}
    return Facts({name: Fact(value, "a test") for name, value in values.items()})


def eight(slow=5, value=602.0, **changes):
    return [row(at, value, **changes) if at == slow else row(at, 684.0 + at / 4) for at in range(8)]


def test_the_odd_one_is_named_with_what_it_is_slow_at_and_why():
    rows = eight(telemetry={"sm_clock_mhz": 1180, "temperature_c": 84, "throttle_reasons": 0x44})
    (one,) = judge(facts(), rows)
    assert (one.id, one.severity, one.gpu) == ("slower-than-its-siblings", "problem", 5)
    assert one.title == (
        "12 % slower than its 7 siblings at bf16 8192x8192x8192 NT settled: beside GPU 3, the clock was held down by: "
        "hardware thermal slowdown, and the SM clock is lower (1350 to 1180 MHz), and the temperature is higher "
        "(62 to 84 C)."
    )
    assert one.evidence[0].startswith("bf16 8192x8192x8192 NT settled: 602 TFLOP/s, median of its siblings 684.8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bench.5.others": {"processes": 1, "utilisation_percent": 40}}, "another process used the GPU meanwhile"),
        (
            {
                "nvml.gpus": [
                    {"index": at, "uuid": f"GPU-{at}", "power_limit_w": 500.0 if at == 5 else 700.0} for at in range(8)
                ]
            },
            "the power limit is lower (700 to 500 W)",
        ),
        ({}, "none of clock, power, heat, another process explains it"),
    ],
)
def test_causes_are_looked_for_beside_a_typical_sibling(changes, words):
    (one,) = judge(facts(**changes), eight())
    assert words in one.title


@pytest.mark.parametrize(
    "telemetry", [{"sm_clock_mhz": 1000}, {"temperature_c": 90}, {"throttle_reasons": 0x44}, {"power_w": 400.0}]
)
def test_what_would_explain_a_rate_is_no_finding_by_itself(telemetry):
    assert list(judge(facts(), eight(value=684.0, telemetry=telemetry))) == []


def test_a_gpu_is_told_of_once_with_the_worst_of_what_it_is_slow_at():
    rows = eight() + [row(at, 500.0 if at == 5 else 700.0, regime="burst") for at in range(8)]
    (one,) = judge(facts(), rows)
    assert one.title.startswith("29 % slower than its 7 siblings at bf16 8192x8192x8192 NT burst (and 1 more): ")
    assert len(one.evidence) == 2


def test_a_slow_settled_state_is_explained_by_the_settled_state():
    cool = {"sm_clock_mhz": 1980, "throttle_reasons": 0}
    bursts = [row(at, 700.0 if at == 5 else 780.0, regime="burst", telemetry=cool) for at in range(8)]
    (one,) = judge(facts(), eight(telemetry={"sm_clock_mhz": 1180}) + bursts)
    assert "beside GPU 3, the SM clock is lower (1350 to 1180 MHz)." in one.title


def products(*shares, count=4, regime="settled"):
    """What the last GPU is of the others, in that many products of one format."""
    shapes = [[8192, 8192, size] for size in range(8192, 8192 + len(shares))]
    return [
        row(at, 684.0 * (share if at == count - 1 else 1 + at / 1e4), shape=shape, regime=regime)
        for shape, share in zip(shapes, shares, strict=True)
        for at in range(count)
    ]


@pytest.mark.parametrize("count", [2, 4])
def test_one_product_among_others_that_took_turns_with_it_accuses_nobody(count):
    """On four H100s that were well, a quick run had the clock of one 5.5 % lower in one of two products."""
    assert list(judge(facts(), products(0.948, 0.971, count=count))) == []
    assert list(judge(facts(), products(0.6, 1.3, 1.3, count=count))) == []
    assert len(list(judge(facts(), products(0.948, 0.949, count=count)))) == 1


def test_all_that_it_is_slow_at_is_told_where_all_together_are_slow():
    (one,) = judge(facts(), products(0.93, 0.96, 0.94))
    assert one.gpu == 3
    assert one.title.startswith("7 % slower than its 3 siblings at bf16 8192x8192x8192 NT settled (and 1 more): ")


def test_other_formats_and_rest_don_t_vouch_for_it():
    fast = [one | {"dtype": "fp32"} for one in products(1.2)] + products(1.2, regime="burst")
    assert [one.gpu for one in judge(facts(), products(0.9) + fast)] == [3]


def test_other_copies_don_t_vouch_for_one_that_is_slow():
    """Each kind of copy, and each way between two GPUs, is a path of its own."""
    rows = [copy(at, 55.0 if at else 36.0) for at in range(4)] + [copy(at, 55.0, "device-to-host") for at in range(4)]
    (one,) = judge(facts(4), rows)
    assert (one.gpu, one.title[:4]) == (0, "35 %")
    rows = [copy(at, 385.0, "peer-copy") | {"peer": to} for at in range(4) for to in range(4) if at != to]
    rows[0]["value"] = 300.0  # from GPU 0 to 1
    (one,) = judge(facts(4), rows)
    assert one.gpu == 0


def test_one_that_its_model_accuses_is_not_accused_of_it_again():
    found = [one for one in judge_bench(facts(), eight()) if one.severity == "problem"]
    assert [(one.id, one.gpu) for one in found] == [("slower-than-its-model", 5)]
    assert found[0].evidence[-1].startswith("12 % slower than its 7 siblings at bf16 8192x8192x8192 NT settled: none")
    found = [one for one in judge_bench(facts(), eight(value=620.0)) if one.severity == "problem"]
    assert [(one.id, one.gpu) for one in found] == [("slower-than-its-siblings", 5)]
    copies = [copy(at, 12.0 if at == 5 else 55.0) for at in range(8)]  # is another matter
    found = [one for one in judge_bench(facts(), eight() + copies) if one.severity == "problem"]
    assert [one.id for one in found] == ["slower-than-its-model", "slower-than-its-siblings"]


def test_two_of_a_kind_that_differ_are_a_warning_that_accuses_neither():
    (one,) = judge(facts(2), [row(0, 684.0), row(1, 640.0)])
    assert (one.id, one.severity, one.gpu) == ("siblings-differ", "warning", None)
    assert one.title.startswith("GPU 1 is 6 % slower than GPU 0 at bf16 8192x8192x8192 NT settled: none of clock")
    assert list(judge(facts(2), [row(0, 684.0), row(1, 655.0)])) == []


def test_only_what_is_alike_is_compared():
    rows = [row(0, 684.0), row(1, 60.0, device="NVIDIA L4"), row(2, 60.0, dtype="fp32"), row(None, 60.0)]
    assert list(judge(facts(4), rows)) == []
    slices = facts(3, **{"bench.2": {"multiprocessors": 16}})  # of MIG
    assert list(judge(slices, [row(0, 684.0), row(1, 684.0), row(2, 80.0)])) == []


@pytest.mark.parametrize("value", [1e-300, 5e-324, 1e308, 10**400, float("nan"), 0], ids="{!r:.8}".format)
def test_what_is_no_rate_accuses_nobody(value):
    assert list(judge(facts(), eight(value=value))) == []


def test_a_rate_next_to_nothing_is_told_as_any():
    (found,) = judge(facts(), eight(value=1e-9))
    assert "100 % slower" in found.title


def test_copies_from_the_host_differ_by_the_way_and_are_slow_by_halves():
    assert list(judge(facts(), [copy(at, 43.0 if at > 3 else 55.0) for at in range(8)])) == []
    link = {f"check.{at}": {"link": {"width": 8 if at == 6 else 16, "generation": 5}} for at in range(8)}
    rows = [copy(at, 27.0 if at == 6 else 55.0) for at in range(8)]
    (one,) = judge(facts(**link), rows)
    assert one.gpu == 6
    assert "its PCIe link has fewer lanes (16 to 8)" in one.title
    generation = {f"check.{at}": {"link": {"width": 16, "generation": 4 if at == 6 else 5}} for at in range(8)}
    (one,) = judge(facts(**generation), rows)
    assert "its PCIe link has a lower generation (5 to 4)" in one.title
    (one,) = judge(facts(**link), eight(slow=6))
    assert "PCIe" not in one.title  # by which no operand of a product comes


def test_a_copy_is_explained_by_processors_that_are_elsewhere():
    near = [
        {"pci": f"0000:0{at:x}:00.0", "node": int(at == 6), "cpus": "32-63" if at == 6 else "0-31"} for at in range(8)
    ]
    rows = [copy(at, 27.0 if at == 6 else 55.0) for at in range(8)]
    (one,) = judge(facts(host__near_cpus=near, host__usable_cpus="0-15"), rows)
    assert "this job's processors are all on another NUMA node" in one.title
    (one,) = judge(facts(host__near_cpus=near, host__usable_cpus="0-63"), rows)
    assert "NUMA" not in one.title
    (one,) = judge(facts(host__near_cpus=near, host__usable_cpus="64-95"), rows)  # as far from all others
    assert "NUMA" not in one.title


@settings(max_examples=60)
@given(st.integers(3, 16), st.data(), st.floats(0.08, 0.9), st.randoms())
def test_a_planted_one_is_always_named_and_never_another_however_they_are_numbered(count, data, short, random):
    slow, noise = data.draw(st.integers(0, count - 1)), st.floats(0.99, 1.01)
    rows = [
        row(at, 684.0 * (1 - short if at == slow else data.draw(noise)), regime=regime)
        for at in range(count)
        for regime in ("burst", "settled")
    ]
    random.shuffle(rows)
    (one,) = judge(facts(count), rows)
    assert (one.id, one.gpu) == ("slower-than-its-siblings", slow)


@settings(max_examples=60)
@given(st.integers(2, 16), st.data())
def test_gpus_that_differ_as_cards_do_are_all_well(count, data):
    noise = st.floats(0.977, 1.023)
    rows = [row(at, 684.0 * data.draw(noise)) for at in range(count)]
    assert list(judge(facts(count), rows)) == []
