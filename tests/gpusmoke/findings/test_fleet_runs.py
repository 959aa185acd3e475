"""The rules about fleets: several runs of a node, on the same GPUs and on others."""

from runs_of_nodes import gpu, healthy, judged, only, run, told

from gpusmoke.fleet.nodes import fleet
from gpusmoke.fleet.runs import Told

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
    assert told([run("n", ON_A._replace(uuid=None)), run("n", IN_ITS_PLACE, **LATER)]) == [FEW]  # who knows?
    line = only([run("n", ON_A), run("n", IN_ITS_PLACE, **LATER)], "gpus-changed")
    assert line.finding.evidence == ("PCI 0000:41:00.0: GPU-C (n-27.json), before GPU-A (n.json)",)


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


def test_what_an_interrupted_run_had_found_is_told():
    """As by a soak of hours that somebody ends since a result was wrong."""
    cut = run("n", ON_A, complete=False, **ERRORS)
    assert told([cut]) == [("node-broken", ("n",)), ("node-interrupted", ("n",))]
    again = run("n", ON_A, complete=False, **LATER)
    assert told([cut, again]) == [("node-broken", ("n",)), ("node-interrupted", ("n",))]
    assert told([cut, run("n", ON_B, **LATER)]) == [("node-broken", ("n",)), FEW]
    assert told([cut, run("n", ON_A, **LATER)]) == [("node-flaky", ("n",)), FEW]


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


def test_a_gpu_that_two_commands_saw_is_one_gpu():
    node = fleet([run("n", ON_A, ON_B, command="doctor"), run("n", ON_A, command="bench", **LATER)]).nodes["n"]
    assert [one.uuid for one in node.gpus] == ["GPU-A", "GPU-B"]


def test_only_the_runs_that_it_is_about_are_named():
    doctor = run("n", ON_A, command="doctor", **LATER)
    assert only([run("n", ON_A, **ERRORS), doctor], "node-broken").finding.evidence == ("n.json",)
    cut = run("n", ON_A, complete=False)
    assert only([cut, doctor], "node-interrupted").finding.evidence == ("n.json",)


def test_a_gpu_that_fell_off_the_bus_is_missed():
    runs = healthy(6, gpu(0), gpu(1))
    before = runs[0]._replace(gpus=tuple(one._replace(pci=f"{one.ordinal}") for one in runs[0].gpus))
    after = before._replace(gpus=before.gpus[:1], **LATER)
    assert told([*runs[1:], before, after]) == [("fewer-gpus", ("n1",))]


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
