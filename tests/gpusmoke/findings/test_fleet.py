"""The rules about fleets: what one run says, several nodes make together."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusmoke.findings import fleet as rules
from gpusmoke.findings import skew, slow
from gpusmoke.fleet.files import Passed, Unread
from gpusmoke.fleet.nodes import fleet
from gpusmoke.fleet.runs import READINGS, SETTINGS, Gpu, Model, Rate, Run, Told, What

MODEL = Model("NVIDIA A10", "72", False)
WHAT = What("bf16 8192", "bf16 8192x8192x8192 NT settled", "matmul", "settled", "TFLOP/s", 2)
COPY = What("copy", "host-to-device 1 GB", "host-to-device", "settled", "GB/s", 2)
CALM = {"sm_clock_mhz": 1500, "memory_clock_mhz": 6251, "power_w": 149, "temperature_c": 60, "throttle_reasons": 4}
USUAL = {"memory_mib": 23028, "power_limit_w": 150, "ecc_mode": 1, "sm_clock_max_mhz": 1710, "nvlinks": 4}


def gpu(
    ordinal=0,
    rate=100.0,
    what=WHAT,
    uuid=None,
    model=MODEL,
    link=(4, 16),
    others=None,
    readings=(),
    settings=(),
    pci=None,
):
    rates = (Rate(what, rate, tuple((CALM | dict(readings))[name] for name in READINGS)),)
    held = tuple((USUAL | dict(settings))[name] for name in SETTINGS)
    return Gpu(ordinal, model, uuid, pci, held, link, others, rates)


def run(node, *gpus, **changes):
    values = {
        "path": f"{node}.json",
        "command": "smoke",
        "started": "2026-11-26T10:00:00Z",
        "complete": True,
        "problems": (),
        "warnings": (),
        "software": (("driver", "580.1"), ("PyTorch", "2.13")),
    }
    return Run(node=node, gpus=gpus, **(values | changes))


def healthy(count, *gpus, start=1):
    """Runs of nodes n1, n2, … with these GPUs, each with UUIDs of its own."""
    return [
        run(f"n{at}", *(one._replace(uuid=f"GPU-{at}-{one.ordinal}") for one in gpus or (gpu(),)))
        for at in range(start, start + count)
    ]


def judged(runs, expected=None):
    read = fleet(runs, expected)
    return rules.judge(read, slow.groups(read.nodes))


def told(runs, expected=None):
    """(id, nodes) of each line but the last, which counts the healthy ones."""
    return [(one.finding.id, one.nodes) for one in judged(runs, expected) if one.finding.id != "fleet-healthy"]


def only(runs, kind):
    (found,) = [one for one in judged(runs) if one.finding.id == kind]
    return found


def test_alike_nodes_are_healthy():
    (line,) = judged(healthy(4))
    assert line.finding.title == "4 of 4 nodes are healthy; GPUs in all: 4 NVIDIA A10."


def test_a_node_that_nobody_has_heard_of_counts_among_all():
    lines = judged([*healthy(2), Unread("x.json", "x", "is empty")], ["n1", "n2", "n3"])
    assert lines[-1].finding.title.startswith("2 of 4 nodes are healthy")


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(3, 12))
def test_neither_the_order_of_the_files_nor_noise_matters(chance, count):
    runs = [one for at in range(count) for one in healthy(1, gpu(rate=100 * chance.uniform(0.98, 1.02)), start=at)]
    wrong = (Told("wrong-result", 0, "It is wrong."),)
    runs += [run("bad", gpu(), problems=wrong), run("bad", gpu(), path="bad-2.json", complete=False)]
    runs += [Unread("u.json", "u", "is empty"), Passed("p.json", "audit", ())]
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
    ({"link": (4, 8)}, "its PCIe link has fewer lanes (16 to 8)"),
    ({"link": (1, 16)}, "its PCIe link has a lower generation (4 to 1)"),
    ({"link": (5, 32)}, slow.UNEXPLAINED),  # more than usual explains nothing
    ({}, slow.UNEXPLAINED),
]


@pytest.mark.parametrize(("change", "reason"), CAUSES, ids=[str(case[0]) for case in CAUSES])
def test_what_explains_it_is_told(change, reason):
    line = only([*healthy(5), run("slow", gpu(rate=70.0, **change))], "slower-than-fleet")
    assert line.text == f"30.0 % slower in {WHAT.name}: 70, usually 100 TFLOP/s (6 such GPUs): {reason}."


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


def test_what_the_same_nodes_have_otherwise_is_one_line_but_for_the_driver():
    odd = [one._replace(software=(("driver", "570.1"), ("PyTorch", "2.9"), ("CUDA", "12.9"))) for one in healthy(2)]
    most = [one._replace(software=(*one.software, ("CUDA", "13.0"))) for one in healthy(5, start=3)]
    driver, versions = judged([*odd, *most])[:2]
    assert driver.finding.title == "n[1-2]: driver 570.1; 5 of 7 nodes have driver 580.1."
    assert versions.finding.title == "n[1-2]: PyTorch 2.9, CUDA 12.9; 5 of 7 nodes have PyTorch 2.13, CUDA 13.0."


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


def test_a_driver_that_keeps_a_little_memory_for_itself_is_no_other_card():
    assert told([*healthy(3), run("a", gpu(settings={"memory_mib": 22900}))]) == []


def test_fewer_gpus_are_told_where_most_nodes_have_more():
    runs = healthy(6, gpu(0), gpu(1))
    assert told([*runs, run("a", gpu(0))]) == [("fewer-gpus", ("a",))]
    assert told([*runs, run("a", gpu(0), gpu(1), gpu(2))]) == []  # more are no fault
    assert told([*runs, run("a", gpu(0), complete=False)]) == [("node-interrupted", ("a",))]  # it saw no more yet
    assert told([*runs, *healthy(3, gpu(0), start=7)]) == []  # a third of the nodes is no exception


ON_A, ON_B, IN_ITS_PLACE = (
    gpu(uuid=f"GPU-{name}", pci=f"0000:{place}:00.0") for name, place in (("A", 41), ("B", 61), ("C", 41))
)
LATER, LATEST = ({"started": f"2026-11-{day}T10:00:00Z", "path": f"n-{day}.json"} for day in (27, 28))
ERRORS = {"problems": (Told("ecc-errors", 0, "Errors."),)}
FEW = ("too-few-to-compare", ())


def test_another_gpu_in_the_same_place_is_told_and_one_in_another_place_is_what_a_job_was_given():
    changed = [("gpus-changed", ("n",)), FEW]
    assert told([run("n", ON_A, ON_B), run("n", IN_ITS_PLACE, **LATER)]) == changed
    assert told([run("n", ON_A), run("n", ON_B, **LATER), run("n", IN_ITS_PLACE, **LATEST)]) == changed
    assert told([run("n", ON_A), run("n", ON_B, **LATER)]) == [FEW]
    assert told([run("n", ON_A, ON_B), run("n", ON_A, **LATER)]) == [FEW]


def test_a_healthy_run_takes_back_what_was_found_on_the_gpus_that_it_saw_and_on_no_others():
    assert told([run("n", ON_A, **ERRORS), run("n", ON_B, **LATER)]) == [("node-broken", ("n",)), FEW]
    assert told([run("n", ON_A, **ERRORS), run("n", ON_B, ON_A, **LATER)]) == [("node-flaky", ("n",)), FEW]
    both = run("n", ON_A, ON_B._replace(ordinal=1), **ERRORS)  # of which A has errors
    assert told([both, run("n", ON_B, **LATER)]) == [("node-broken", ("n",)), FEW]
    assert told([both, run("n", ON_A, **LATER)]) == [("node-flaky", ("n",)), FEW]
    # The card is gone, so that nothing has to be known of it any more.
    assert told([run("n", ON_A, **ERRORS), run("n", IN_ITS_PLACE, **LATER)])[1:] == [("node-flaky", ("n",)), FEW]


def test_what_was_found_on_no_gpu_in_particular_is_taken_back_by_a_run_on_all_of_them():
    somewhere = {"problems": (Told("worker-crashed", None, "A crash."),)}
    both = run("n", ON_A, ON_B._replace(ordinal=1), **somewhere)
    assert told([both, run("n", ON_A, **LATER)]) == [("node-broken", ("n",)), FEW]
    assert told([both, run("n", ON_A, **LATER), run("n", ON_B, **LATEST)]) == [("node-flaky", ("n",)), FEW]
    assert told([run("n", **somewhere), run("n", ON_A, **LATER)]) == [("node-flaky", ("n",)), FEW]


def test_an_interrupted_run_takes_nothing_back():
    broken, cut = run("n", ON_A, **ERRORS), run("n", ON_A, complete=False, **LATER)
    assert told([broken, cut]) == [("node-broken", ("n",)), ("node-interrupted", ("n",))]
    assert told([broken, cut, run("n", ON_B, **LATEST)]) == [("node-broken", ("n",)), FEW]


def test_parts_of_one_card_have_its_place_and_are_not_each_other():
    # What shares an address has none of its own: see test_files.
    parts = [gpu(uuid=f"GPU-{name}") for name in "AB"]
    assert told([run("n", parts[0], **ERRORS), run("n", parts[1], **LATER)]) == [("node-broken", ("n",)), FEW]


def test_a_slow_gpu_stays_slow_while_jobs_are_given_others():
    slow_one = run("n", ON_A._replace(rates=gpu(rate=50.0).rates), path="slow.json")
    warning = (Told("throttled", 0, "It is slowed down."),)
    line = only([*healthy(5), slow_one, run("n", ON_B, warnings=warning, **LATER)], "slower-than-fleet")
    assert (line.nodes, line.gpus) == (("n",), (0,))
    assert "throttled" not in line.text  # which is told of the other GPU, whose number was the same
    assert line.finding.advice[-1].startswith("pixi run report slow.json")
    assert judged([*healthy(5), slow_one, run("n", ON_B, **LATER)])[-1].finding.title.endswith("7 NVIDIA A10.")


def test_a_gpu_that_fell_off_the_bus_is_missed():
    runs = healthy(6, gpu(0), gpu(1))
    before = runs[0]._replace(gpus=tuple(one._replace(pci=f"{one.ordinal}") for one in runs[0].gpus))
    after = before._replace(gpus=before.gpus[:1], **LATER)
    assert told([*runs[1:], before, after]) == [("fewer-gpus", ("n1",))]


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


def test_an_interruption_before_makes_no_node_flaky_and_a_problem_does():
    later = {"started": "2026-11-27T10:00:00Z"}
    once = run("n1", gpu(uuid="GPU-1-0"), complete=False)
    assert told([once, *(one._replace(**later) for one in healthy(3))]) == []
    once = once._replace(complete=True, problems=(Told("ecc-errors", 0, "Errors."),))
    assert told([once, *(one._replace(**later) for one in healthy(3))]) == [("node-flaky", ("n1",))]


def test_a_node_that_is_broken_again_is_not_called_flaky():
    wrong = (Told("ecc-errors", 0, "Errors."),)
    both = [run("a", gpu(), problems=wrong, started=f"2026-11-2{day}T10:00:00Z") for day in (5, 6)]
    assert told([*healthy(3), *both]) == [("node-broken", ("a",))]


def test_of_two_commands_the_newer_rate_and_version_count():
    old = {"command": "bench", "started": "2026-11-25T10:00:00Z", "software": (("driver", "570.1"), ("nvcc", "13"))}
    slow_once = [*healthy(3), run("a", gpu(rate=50.0), **old), run("a", gpu())]
    assert told(slow_once) == []
    read = fleet(slow_once)
    assert read.nodes["a"].software == {"driver": "580.1", "nvcc": "13", "PyTorch": "2.13"}
    slow_now = [*healthy(3), run("a", gpu(), **old), run("a", gpu(rate=50.0))]
    assert told(slow_now) == [("slower-than-fleet", ("a",))]
    # A newer run that measures nothing leaves the rates as they are.
    doctor = run("a", gpu()._replace(rates=()), command="doctor", started="2026-11-27T10:00:00Z")
    assert told([*healthy(3), run("a", gpu(rate=50.0)), doctor]) == [("slower-than-fleet", ("a",))]


def test_the_state_of_a_node_is_the_worst_that_is_told_of_it():
    odd = run("a", gpu(rate=50.0), software=(("driver", "570.1"),))
    read = fleet([*healthy(4), odd])
    states = rules.states(read, rules.judge(read, slow.groups(read.nodes)))
    assert states == {"a": "slower-than-fleet", "n1": "healthy", "n2": "healthy", "n3": "healthy", "n4": "healthy"}


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
