"""fleet through the real command line: a thousand machines with forty faults, and what one types."""

import functools
import json
import re

import pytest
from fleet_command import judged, named, one_gpu_each
from fleets import A10, DATA, Fleet, interrupted, problem, setting, slow

COUNT = 1000
ALL = f"node[00001-{COUNT:05}]"


@pytest.fixture
def small(kit):
    """`small(count, {place: change})`: records of nodes with one GPU each, in results/ where `kit` runs."""
    return functools.partial(one_gpu_each, kit)


def test_of_a_thousand_nodes_forty_with_faults_are_found_and_no_other_is_named(kit, valid, tmp_path):
    planted = Fleet(COUNT).write(tmp_path / "results")
    record, code = judged(kit, str(tmp_path / "results"), "--expect", ALL)
    valid(record)
    found = named(record)
    assert code == 1
    assert len(planted) == 40
    assert found.keys() == planted.keys()
    assert {name for name, kind in planted.items() if kind not in found[name]} == set()
    # What else is told of a node is told of the same fault: a lower power limit is why it is slow.
    assert set().union(*(kinds - {planted[name]} for name, kinds in found.items())) == {"hardware-skew"}
    states = {row["node"]: row["state"] for row in record["facts"]["fleet.nodes"]["value"]}
    assert [name for name, state in states.items() if state != "healthy"] == sorted(states.keys() & planted.keys())
    assert record["findings"][-1]["title"].startswith("960 of 1000 nodes are healthy; GPUs in all: ")


def test_slow_gpus_are_told_by_how_much_and_why(kit, small):
    fleet = Fleet(8, faults=0, models=[A10])
    usual = fleet.usual(0)
    small(
        8,
        {
            1: slow(0.94, usual),
            2: slow(0.88, usual, limit=0.7, sm_clock_mhz=0.88),
            3: slow(0.7, usual, sm_clock_mhz=0.7, temperature_c=1.3),
        },
    )
    record, code = judged(kit, "results")
    told = {row["nodes"]: row["text"] for row in record["facts"]["fleet.lines"]["value"] if "slower" in row["id"]}
    assert code == 1
    assert list(told) == ["node00004", "node00003", "node00002"]  # the slowest first
    assert re.match(r"(29|30|31)\.\d % slower in \S+ 8192x8192x8192 NT settled \(and 3 more\): ", told["node00004"])
    assert "the SM clock is lower" in told["node00004"]
    assert "the temperature is higher" in told["node00004"]
    assert "the power limit is lower (150 to 105 W), and the SM clock is lower" in told["node00003"]
    assert told["node00002"].endswith("none of clock, power, heat, another process, its link explains it.")


@pytest.fixture
def four(kit):
    """`four(count, {place: change})`: records of nodes with a real one's four H100s that NVLink joins."""
    text = (DATA / "h100-x4-smoke.json").read_text()

    def write(count, changes):
        (kit.cwd / "results").mkdir()
        for at in range(count):
            document = json.loads(re.sub("(?<=GPU-)[0-9a-f]{4}", f"{at:04x}", text))
            document["facts"]["request.node"]["value"] = f"n{at}"
            changes.get(at, lambda _: None)(document)
            (kit.cwd / f"results/n{at}.json").write_text(json.dumps(document))

    return write


def over_pcie(document):
    """No NVLink is up, and copies to other GPUs take the way that is left."""
    for row in document["facts"]["nvml.gpus"]["value"]:
        row["nvlinks"] = {"up": 0, "down": [*range(18)], "version": None, "to": {}}
    copies(25 / 387)(document)


def copies(share):
    """A change of a record: copies between GPUs reach that share."""

    def change(document):
        for row in document["measurements"]:
            row["value"] *= share if "peer" in row else 1

    return change


def test_copies_between_gpus_are_compared_where_the_same_nvlinks_carry_them(kit, four):
    four(8, {2: over_pcie, 5: over_pcie, 6: copies(0.85), 7: copies(0.95)})
    record, code = judged(kit, "results")
    assert (code, named(record)) == (1, {"n2": {"hardware-skew"}, "n5": {"hardware-skew"}, "n6": {"slower-than-fleet"}})
    texts = [row["text"] for row in record["facts"]["fleet.lines"]["value"]]
    assert re.match(r"15\.\d % slower in peer-copy\S* to GPU \d 0\.27 GB NV18 ", texts[0])
    assert texts[1] == "NVLinks 0 up; 24 of 32 NVIDIA H100 80GB HBM3 have NVLinks 18 up."
    assert not [row for row in record["facts"]["fleet.rates"]["value"] if row["median"] < 30 and "peer" in row["what"]]


@pytest.mark.parametrize(
    ("args", "culprit"),
    [
        ([], "PATH"),
        (["nowhere"], "nowhere does not exist"),
        (["x" * 300], "can't be read: File name too long"),
        (["."], "no record was found in ."),
        ([".", "--expect", "node[1"], "'node[1'"),
        ([".", "--expect", "@nowhere.txt"], "nowhere.txt can't be read"),
        ([".", "--expect", " "], "names no node"),
        ([".", "--markdown", "--json"], "--markdown"),
    ],
)
def test_wrong_usage_is_one_sentence(kit, args, culprit):
    done = kit("fleet", *args)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert culprit in line


def test_expected_nodes_may_stand_in_a_file(kit, small):
    small(2)
    (kit.cwd / "nodes.txt").write_text("node00001 # the first\n\nnode00002\nnode[00003-00004]\n")
    record, code = judged(kit, "results", "--expect", "@nodes.txt")
    assert code == 1
    assert named(record) == {"node00003": {"node-missing"}, "node00004": {"node-missing"}}
    # As condor_status writes it for smoke.sub, and an editor of Windows any text.
    (kit.cwd / "nodes.txt").write_text("\ufeffnode00001, 8\r\nnode00002, 16\r\nnode9.example.org, 1\r\n", newline="")
    record, _ = judged(kit, "results", "--expect", "@nodes.txt")
    assert named(record) == {"node9.example.org": {"node-missing"}}


def test_where_no_node_left_a_record_all_are_missing(kit):
    (kit.cwd / "results").mkdir()
    record, code = judged(kit, "results", "--expect", "n[1-3]")
    assert (code, named(record)) == (1, {name: {"node-missing"} for name in ("n1", "n2", "n3")})
    done = kit("fleet", "results", "--expect", "n[1-3]")
    assert done.stdout.startswith("MISSING      n[1-3]  no record, though expected (3 of 3 nodes).\n")


def test_nodes_that_nobody_expects_are_told_and_no_fault(kit, small):
    small(2)
    record, code = judged(kit, "results", "--expect", "node00002")
    assert (code, named(record)) == (0, {"node00001": {"node-unexpected"}})


def test_a_damaged_file_is_told_once_and_its_node_is_not_missing_too(kit, small):
    small(3)
    (kit.cwd / "results/node00002.json").write_text("{")
    (kit.cwd / "results/node00002.part").write_text("{")
    record, code = judged(kit, "results", "--expect", "node[00001-00003]")
    assert (code, named(record)) == (1, {"node00002": {"record-damaged"}})


def test_only_damaged_files_are_a_problem_and_no_wrong_usage(kit):
    (kit.cwd / "cut.json").write_text("")
    record, code = judged(kit, "cut.json")
    assert code == 1
    assert [one["id"] for one in record["findings"]] == ["record-damaged"]


def test_of_several_runs_the_latest_counts_and_the_earlier_are_told(kit, small):
    later = setting("started", "2026-11-27T10:00:00Z")
    broken = problem("wrong-result", 0, "The product is wrong.")
    small(3, {0: broken, 1: interrupted}, "results")
    small(3, {0: later, 1: later, 2: lambda document: (later(document), broken(document))}, "results/again")
    record, code = judged(kit, "results")
    found = named(record)
    assert code == 1
    assert found["node00001"] == {"node-flaky"}
    assert "node00002" not in found  # it was killed and requeued, which says nothing of the node
    assert found["node00003"] == {"node-broken"}
    assert [row["runs"] for row in record["facts"]["fleet.nodes"]["value"]] == [2, 2, 2]
    assert "3 nodes with a record, 3 of them more than once, 3 GPUs" in kit("fleet", "results").stdout


def test_a_run_on_another_gpu_takes_nothing_back_and_one_on_the_same_does(kit, small):
    def given(uuid, place, day):
        def change(document):
            document["started"] = f"2026-11-{day}T10:00:00Z"
            for name in ("cuda.devices", "nvml.gpus"):
                document["facts"][name]["value"][0] |= {"uuid": uuid, "pci": f"0000:{place}:00.0"}

        return change

    def broken(document):
        given("GPU-A", 41, 27)(document)
        problem("ecc-errors", 0, "The GPU's memory had 3 errors.")(document)

    small(1, {0: broken}, "results/1")
    small(1, {0: given("GPU-B", 61, 28)}, "results/2")
    record, code = judged(kit, "results")
    assert (code, named(record)) == (1, {"node00001": {"node-broken"}})
    small(1, {0: given("GPU-A", 41, 29)}, "results/3")
    record, code = judged(kit, "results")
    assert (code, named(record)) == (0, {"node00001": {"node-flaky"}})


def test_another_command_takes_nothing_back(kit, small):
    small(1, {0: problem("wrong-result", 0, "The product is wrong.")})
    later = setting("started", "2026-11-27T10:00:00Z")
    small(1, {0: lambda document: (later(document), document.update(command="doctor", measurements=[]))}, "results/doc")
    record, code = judged(kit, "results")
    assert (code, named(record)) == (1, {"node00001": {"node-broken"}})


def test_what_another_command_wrote_is_passed_over(kit, small):
    small(3)
    (kit.cwd / "results/fleet.json").write_text(kit("fleet", "results", "--json").stdout)
    document = json.loads((DATA / "h100-x4-collectives.json").read_text())
    (kit.cwd / "results/all.json").write_text(json.dumps(document))
    record, code = judged(kit, "results")
    assert code == 0
    assert "records-passed-over" in [one["id"] for one in record["findings"]]
    (kit.cwd / "results/all.json").write_text(json.dumps(document | {"complete": False, "verdict": "problem"}))
    record, code = judged(kit, "results")
    assert code == 1
    assert record["findings"][0]["title"].endswith("is a record of collectives that tells of an interruption.")


def test_what_an_earlier_fleet_found_is_not_told_again(kit, small):
    small(3, {0: problem("wrong-result", 0, "The product is wrong.")})
    (kit.cwd / "results/fleet.json").write_text(kit("fleet", "results", "--json").stdout)
    small(3)
    assert judged(kit, "results")[1] == 0


def test_the_record_of_a_large_fleet_is_not_cut(kit, valid, small):
    small(150, {at: problem("wrong-result", 0, f"{at}: {'x' * 900}") for at in range(120)})
    record, _ = judged(kit, "results")
    valid(record)
    assert len(json.dumps(record)) > 64 * 1024
    assert sum(one["id"] == "node-broken" for one in record["findings"]) == 120
    assert len(record["facts"]["fleet.nodes"]["value"]) == 150


@pytest.mark.skipif("__import__('os').path.exists('/dev/nvidiactl')", reason="there is a GPU here")
def test_without_a_gpu_anywhere_nobody_is_accused(kit):
    for name in ("a", "b"):
        done = kit("doctor", "--json", env={"GPUSMOKE_ROOT": str(kit.cwd / "empty")})
        (kit.cwd / f"{name}.json").write_text(done.stdout)
    record, code = judged(kit, "a.json", "b.json")
    assert (code, [one["id"] for one in record["findings"]]) == (0, ["fleet-healthy"])
