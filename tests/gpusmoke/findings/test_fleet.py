"""The rules about fleets: what one run says, several nodes make together."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs_of_nodes import COPY, MODEL, WHAT, gpu, healthy, judged, only, run, told

from gpusmoke.findings import fleet as rules
from gpusmoke.findings import skew, slow
from gpusmoke.fleet.files import Passed, Unread
from gpusmoke.fleet.nodes import fleet
from gpusmoke.fleet.runs import Told


def test_alike_nodes_are_healthy():
    (line,) = judged(healthy(4))
    assert line.finding.title == "4 of 4 nodes are healthy; GPUs in all: 4 NVIDIA A10."


def test_a_node_that_nobody_has_heard_of_counts_among_all():
    lines = judged([*healthy(2), Unread("x.json", "x", "is empty")], ["n1", "n2", "n3"])
    assert lines[-1].finding.title.startswith("2 of 4 nodes are healthy")
    # One that nobody expects is no less healthy.
    assert judged(healthy(3), ["n1"])[-1].finding.title.startswith("3 of 3 nodes are healthy")


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(3, 12))
def test_neither_the_order_of_the_files_nor_noise_matters(chance, count):
    runs = [one for at in range(count) for one in healthy(1, gpu(rate=100 * chance.uniform(0.98, 1.02)), start=at)]
    wrong = (Told("wrong-result", 0, "It is wrong."),)
    runs += [run("bad", gpu(), problems=wrong), run("bad", gpu(), path="bad-2.json", complete=False)]
    runs += [Unread(f"{name}.json", name, "is empty") for name in "uv"]
    runs += [Passed(f"{name}.json", "audit", ()) for name in "pq"]
    expected = judged(runs)
    chance.shuffle(runs)
    assert judged(runs) == expected
    assert {one.finding.id for one in expected} <= {"node-interrupted", "node-broken", "record-damaged"} | {
        "records-passed-over",
        "fleet-healthy",
    }


@settings(max_examples=60)
@given(st.integers(3, 400), st.floats(0.05, 0.87), st.integers(0, 2**32))
def test_a_slow_node_is_always_found_and_nobody_else(count, share, seed):
    noise = random.Random(seed)  # noqa: S311 - no secret
    runs = [one for at in range(count) for one in healthy(1, gpu(rate=100 * noise.uniform(0.98, 1.02)), start=at)]
    slow_one = run("slow", gpu(rate=100 * share))
    assert told([*runs, slow_one]) == [("slower-than-fleet", ("slow",))]


CAUSES = [
    ({"settings": {"power_limit_w": 100}}, "the power limit is lower (150 to 100 W)"),
    ({"readings": {"power_w": 100}}, "the power drawn at the power cap is lower (149 to 100 W)"),
    ({"readings": {"throttle_reasons": 0x44}}, "the clock was held down by: hardware thermal slowdown"),
    (
        {"readings": {"sm_clock_mhz": 1200, "temperature_c": 80}},
        "the SM clock is lower (1500 to 1200 MHz), and the temperature is higher (60 to 80 C)",
    ),
    ({"others": (2, 70.0)}, "2 other processes used the GPU meanwhile (70 % busy while bench rested)"),
    ({"others": (1, 0.0)}, "another process used the GPU meanwhile"),
    ({"others": (0, 6.0)}, "another process used the GPU meanwhile (6 % busy while bench rested)"),
    ({"link": (4, 8)}, "its PCIe link has fewer lanes (16 to 8)"),
    ({"link": (1, 16)}, "its PCIe link has a lower generation (4 to 1)"),
    ({"link": (5, 32)}, slow.UNEXPLAINED),  # more than usual explains nothing
    ({}, slow.UNEXPLAINED),
]


@pytest.mark.parametrize(("change", "reason"), CAUSES, ids=[str(case[0]) for case in CAUSES])
def test_what_explains_it_is_told(change, reason):
    line = only([*healthy(5), run("slow", gpu(rate=70.0, **change))], "slower-than-fleet")
    assert line.text == f"30.0 % slower in {WHAT.name}: 70, usually 100 TFLOP/s (6 such GPUs): {reason}."


@pytest.mark.parametrize(
    ("usual", "own", "reason"),
    [
        ([0x44] * 5, 0x44, slow.UNEXPLAINED),
        ([0x4, 0x4, 0x4, 0x44, 0x44], 0x44, slow.UNEXPLAINED),  # half of the six have it
        ([0x4, 0x4, 0x4, 0x4, 0x44], 0x44, "the clock was held down by: hardware thermal slowdown"),
        ([0x44] * 5, 0x64, "the clock was held down by: software thermal slowdown"),
        ([None] * 5, 0x44, "the clock was held down by: hardware thermal slowdown"),
    ],
)
def test_what_holds_half_of_a_fleet_down_explains_no_slow_one(usual, own, reason):
    def node(name, bits, rate=100.0):
        return run(name, gpu(rate=rate, readings={"throttle_reasons": bits}))

    runs = [*(node(f"n{at}", bits) for at, bits in enumerate(usual)), node("slow", own, 70.0)]
    assert only(runs, "slower-than-fleet").text.endswith(f": {reason}.")


def test_what_is_said_already_is_not_said_again():
    odd = run("slow", gpu(rate=70.0), warnings=(Told("clock-limited", 0, "It is slowed down."),))
    assert only([*healthy(5), odd], "slower-than-fleet").text.endswith(f": {slow.UNEXPLAINED}.")


def test_the_node_with_the_slowest_gpu_comes_first():
    slow_ones = [run("a", gpu(0, 80.0), gpu(1, 80.0)), run("b", gpu(0, 85.0), gpu(1, 60.0))]
    assert [names for _, names in told([*healthy(5, gpu(0), gpu(1)), *slow_ones])] == [("b",), ("a",)]


def test_errors_of_its_memory_and_another_version_explain_it_too():
    warnings = (Told("row-remap-pending", 0, "A row."), Told("throttled", 1, "Another GPU."))
    odd = run("slow", gpu(rate=70.0), warnings=warnings, software=(("driver", "580.1"), ("PyTorch", "2.9")))
    line = only([*healthy(5), odd], "slower-than-fleet")
    assert line.text.endswith(": its own record tells of row-remap-pending, and it has PyTorch 2.9.")


def test_copies_from_the_host_are_judged_by_halves():
    runs = healthy(5, gpu(what=COPY))
    assert told([*runs, run("a", gpu(rate=80.0, what=COPY))]) == []
    assert told([*runs, run("a", gpu(rate=70.0, what=COPY))]) == [("slower-than-fleet", ("a",))]


def test_other_models_and_other_measurements_are_not_compared():
    other = MODEL._replace(name="NVIDIA A16")
    runs = [
        *healthy(3),
        *healthy(3, gpu(rate=50.0, model=other), start=4),
        *healthy(3, gpu(rate=9.0, what=COPY), start=7),
    ]
    assert told(runs) == []
    assert told([*healthy(3), *healthy(2, gpu(rate=9.0, model=other), start=4)]) == [("too-few-to-compare", ())]
    assert told([*healthy(3), *healthy(2, gpu(rate=9.0, what=COPY), start=4)]) == []  # of that model there are enough


def test_all_slow_gpus_of_a_node_are_one_line_about_the_slowest():
    runs = healthy(5, gpu(0), gpu(1), gpu(2))
    line = only([*runs, run("a", gpu(0), gpu(1, 80.0), gpu(2, 60.0))], "slower-than-fleet")
    assert (line.where, line.gpus) == ("a GPUs 1-2", (1, 2))
    assert line.text.startswith("40.0 % slower")
    assert len(line.finding.evidence) == 2


def test_rates_of_an_interrupted_run_are_no_measure():
    assert told([*healthy(3), run("a", gpu(rate=10.0), complete=False)]) == [("node-interrupted", ("a",))]


def test_the_same_problem_of_many_nodes_is_told_once_and_first_where_most_have_it():
    def broken(node, *titles):
        return run(node, gpu(), problems=tuple(Told(f"p{title}", 0, title) for title in titles))

    lines = judged(
        [broken("n1", "a"), broken("n2", "b"), broken("n3", "b"), broken("n4", "b", "c"), *healthy(9, start=5)]
    )
    assert [(one.nodes, one.text) for one in lines[:-1]] == [
        (("n2", "n3"), "pb: b"),
        (("n1",), "pa: a"),
        (("n4",), "pb: b And pc."),
    ]


def test_a_missing_node_is_told_and_one_that_is_there_is_not():
    assert told(healthy(3), ["n1", "n2", "n3", "n9"]) == [("node-missing", ("n9",))]
    assert told(healthy(3), ["n1", "n2", "n3"]) == []


def test_a_problem_says_why_there_is_no_gpu():
    broken = run("a", problems=(Told("no-driver", None, "No driver."),))
    assert told([*healthy(3), broken]) == [("node-broken", ("a",))]
    assert told([*healthy(3), run("a")]) == [("node-without-gpu", ("a",))]
    assert told([*healthy(3), run("a", complete=False)]) == [("node-interrupted", ("a",))]


def test_what_the_same_nodes_have_otherwise_is_one_line_but_for_the_driver():
    odd = [one._replace(software=(("driver", "570.1"), ("PyTorch", "2.9"), ("CUDA", "12.9"))) for one in healthy(2)]
    most = [one._replace(software=(*one.software, ("CUDA", "13.0"))) for one in healthy(5, start=3)]
    driver, versions = judged([*odd, *most])[:2]
    assert driver.finding.title == "n[1-2]: driver 570.1; 5 of 7 nodes have driver 580.1."
    assert versions.finding.title == "n[1-2]: PyTorch 2.9, CUDA 12.9; 5 of 7 nodes have PyTorch 2.13, CUDA 13.0."
    most[0] = most[0]._replace(software=most[0].software[:2])
    assert "; 4 of 7 nodes have PyTorch 2.13, CUDA 13.0." in judged([*odd, *most])[1].finding.title


def test_half_and_half_is_told_of_one_half():
    halves = [*healthy(2), *(one._replace(software=(("driver", "570.1"),)) for one in healthy(2, start=3))]
    assert [kind for kind, _ in told(halves)] == ["driver-skew"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("power_limit_w", 100, "power limit 100 W; 3 of 4 NVIDIA A10 have power limit 150 W."),
        ("ecc_mode", 0, "ECC off; 3 of 4 NVIDIA A10 have ECC on."),
        ("memory_mib", 12000, "memory 12 GiB; 3 of 4 NVIDIA A10 have memory 22 GiB."),
        ("sm_clock_max_mhz", 1000, "highest SM clock 1000 MHz; 3 of 4 NVIDIA A10 have highest SM clock 1710 MHz."),
        ("nvlinks", 0, "NVLinks 0 up; 3 of 4 NVIDIA A10 have NVLinks 4 up."),
    ],
)
def test_cards_that_are_set_otherwise_are_told(name, value, text):
    line = only([*healthy(3), run("a", gpu(settings={name: value}))], "hardware-skew")
    assert (line.where, line.text) == ("a GPU 0", text)


def test_of_several_nodes_with_another_setting_no_gpu_is_named():
    odd = gpu(1, settings={"ecc_mode": 0})
    line = only([*healthy(3, gpu(0), gpu(1)), run("a", gpu(0), odd), run("b", gpu(0), odd)], "hardware-skew")
    assert (line.nodes, line.gpus) == (("a", "b"), ())


def test_a_driver_that_keeps_a_little_memory_for_itself_is_no_other_card():
    assert told([*healthy(3), run("a", gpu(settings={"memory_mib": 22900}))]) == []


def test_fewer_gpus_are_told_where_most_nodes_have_more():
    runs = healthy(6, gpu(0), gpu(1))
    assert told([*runs, run("a", gpu(0))]) == [("fewer-gpus", ("a",))]
    assert told([*runs[:3], run("a", gpu(0))]) == [("fewer-gpus", ("a",))]
    assert told([*runs[:2], run("a", gpu(0))]) == []  # two are no majority
    assert told([*runs, run("a", gpu(0), gpu(1), gpu(2))]) == []  # more are no fault
    assert told([*runs, run("a", gpu(0), complete=False)]) == [("node-interrupted", ("a",))]  # it saw no more yet
    assert told([*runs, *healthy(3, gpu(0), start=7)]) == []  # a third of the nodes is no exception


def test_all_gpus_with_the_same_problem_are_named():
    problems = tuple(Told("ecc-errors", at, f"{at + 1} errors.") for at in (0, 2, 3))
    node = run("n", *map(gpu, range(4)), problems=(*problems, Told("wrong-result", 1, "Wrong.")))
    line = only([node], "node-broken")
    assert (line.where, line.text) == ("n GPUs 0,2-3", "ecc-errors: 1 errors. And wrong-result.")
    assert line.finding.evidence == ("n GPU 2: 3 errors.", "n GPU 3: 4 errors.", "n.json")


def test_a_machine_with_two_names_is_told():
    runs = healthy(4)
    assert told([*runs, runs[0]._replace(node="m")]) == [("same-gpus", ("m", "n1"))]


def test_a_warning_is_told_where_nothing_worse_is():
    warning = (Told("throttled", 0, "The GPU is slowed down."),)
    both = run("a", gpu(), warnings=warning, problems=(Told("wrong-result", 0, "Wrong."),))
    assert told([*healthy(3), run("b", gpu(), warnings=warning), both]) == [
        ("node-broken", ("a",)),
        ("node-warned", ("b",)),
    ]
    # Of one node its GPU is named, of several none, whose numbers may differ.
    line = only([*healthy(3), run("b", gpu(), warnings=warning)], "node-warned")
    assert (line.where, line.text) == ("b GPU 0", "throttled: The GPU is slowed down.")
    assert only([*healthy(3), *(run(name, gpu(), warnings=warning) for name in "bc")], "node-warned").gpus == ()
    warning = (warning[0]._replace(gpu=None),)
    assert only([*healthy(3), run("b", gpu(), warnings=warning)], "node-warned").gpus == ()


def test_the_state_of_a_node_is_the_worst_that_is_told_of_it():
    odd = run("a", gpu(rate=50.0), software=(("driver", "570.1"),))
    read = fleet([*healthy(4), odd])
    states = rules.states(read, rules.judge(read, slow.groups(read.nodes)))
    assert states == {"a": "slower-than-fleet", "n1": "healthy", "n2": "healthy", "n3": "healthy", "n4": "healthy"}
    unexpected = fleet(healthy(1), ["n9"])
    lines = rules.judge(unexpected, slow.groups(unexpected.nodes))
    assert ("node-unexpected", ("n1",)) in [(one.finding.id, one.nodes) for one in lines]
    assert rules.states(unexpected, lines) == {"n1": "healthy", "n9": "node-missing"}


def test_files_with_the_same_fault_are_one_line_that_says_how_many():
    (line, _) = judged([Unread("x.json", "x", "is empty"), *healthy(3)])[:2]
    assert line.finding.title == "x: x.json is empty."
    line = only([Unread("x.json", "x", "is empty"), Unread("x-2.json", "x", "is empty")], "record-damaged")
    assert line.finding.title == "x: each of 2 files is empty."


def test_versions_are_counted():
    read = fleet([*healthy(3), run("a", software=(("driver", "570.1"),))])
    assert [(one.version, len(one.nodes)) for one in skew.versions(read.nodes)["driver"]] == [
        ("580.1", 3),
        ("570.1", 1),
    ]


def test_nothing_at_all_says_nothing():
    assert judged([]) == []


def test_of_many_nodes_a_sentence_names_the_first_and_the_evidence_all():
    names = [f"x{at}y" for at in range(0, 300, 2)]
    line = only([*healthy(3), *(run(name, gpu(), complete=False) for name in names)], "node-interrupted")
    assert line.finding.title.startswith("x[0,2,4,")
    assert "… (150 nodes): the latest run" in line.finding.title
    assert line.finding.evidence[-1].endswith("298]y")
