"""What many machines' records show together, through `fleet`: made from a real H100's record, one of them edited.

A case says what was done to which, and what is advised first.
"""

import json

import pytest
from fleets import DATA, L40S, Fleet, interrupted, on_the_cpu, one_gpu_less, problem, setting, slow

STAND_IN = "record"
COUNT = 8


def warned(document):
    document["findings"].append(
        {
            "id": "row-remap-pending",
            "severity": "warning",
            "gpu": 1,
            "title": "A bad row of the GPU's memory waits to be replaced by a spare one.",
            "evidence": [],
            "advice": [],
            "link": None,
        }
    )


def power_limit(document):
    document["facts"]["nvml.gpus"]["value"][1]["power_limit_w"] = 200.0


def emptied(document):
    document.clear()


# What is done to the second node, or to a second record of it.
CASES = {
    "node-broken": (problem("wrong-result", 1, "The product is wrong."), "pixi run report results/node00002.json"),
    "node-missing": (None, "sacct -j JOB"),
    "record-damaged": (emptied, "ls -l results/node00002.json"),
    "node-interrupted": (interrupted, "sacct -j JOB"),
    "node-without-gpu": (on_the_cpu, "srun -w node00002 nvidia-smi -L"),
    "slower-than-fleet": (slow(0.8, Fleet(1, 0, models=[L40S]).usual(0)), "srun -w node00002 nvidia-smi -q"),
    "driver-skew": (setting("nvml.driver_version", "570.86.10"), "srun -w node00002 nvidia-smi --query"),
    "version-skew": (setting("torch.version", "2.9.1+cu126"), "git -C FOLDER status"),
    "hardware-skew": (power_limit, "srun -w node00002 nvidia-smi -q -d MEMORY"),
    "fewer-gpus": (one_gpu_less, "srun -w node00002 nvidia-smi -L"),
    "node-warned": (warned, "pixi run report results/node00002.json"),
}
NAMED = {*CASES, "gpus-changed", "record-broken"}
TITLES = {
    "node-broken": "node00002 GPU 1: wrong-result: The product is wrong.",
    "node-missing": "node00002: no record, though expected (1 of 8 nodes).",
    "node-without-gpu": "node00002: no NVIDIA GPU was seen: CUDA was NOT exercised here, as it was on 7 other nodes.",
    "driver-skew": "node00002: driver 570.86.10; 7 of 8 nodes have driver 580.159.04.",
    "version-skew": "node00002: PyTorch 2.9.1+cu126; 7 of 8 nodes have PyTorch 2.11.0+cu130.",
    "hardware-skew": "node00002 GPU 1: power limit 200 W; 15 of 16 NVIDIA L40S have power limit 350 W.",
    "fewer-gpus": "node00002: 1 NVIDIA L40S; 7 of 8 nodes have 2.",
    "node-warned": "node00002 GPU 1: row-remap-pending: A bad row of the GPU's memory waits to be",
}


@pytest.fixture
def fleet(kit):
    """`fleet(change)`: run the program on records of eight nodes, the second one's changed, or left out."""

    def run(change):
        made = Fleet(COUNT, faults=0, models=[L40S])
        folder = kit.cwd / "results"
        folder.mkdir()
        for at, name in enumerate(made.names):
            document = json.loads(made.text(at))
            if at == 1 and change is not None:
                change(document)
            if at != 1 or change is not None:
                (folder / f"{name}.json").write_text(json.dumps(document))
        return kit("fleet", "results", "--expect", f"node[00001-0000{COUNT}]", "--json")

    return run


@pytest.mark.parametrize("kind", CASES)
def test_a_node_that_is_not_like_the_others_is_named(fleet, named, kind):
    change, advice = CASES[kind]
    done = fleet(change)
    assert done.stderr == ""
    found = named(done, kind, advice)
    assert found["title"].startswith(TITLES.get(kind, "node00002"))
    others = {one["id"] for one in json.loads(done.stdout)["findings"]} - {kind}
    assert others == {"fleet-healthy"}


def test_two_machines_of_one_name_are_told(kit, named):
    for folder, seed in (("a", 1), ("b", 2)):
        Fleet(3, faults=0, models=[L40S], seed=seed).write(kit.cwd / folder)
    (kit.cwd / "b/4711/node00001.json").unlink()
    (kit.cwd / "b/4711/node00003.json").unlink()
    found = named(kit("fleet", "a", "b", "--json"), "gpus-changed", "pixi run report a/4711/node00002.json")
    assert found["title"].startswith("node00002: runs under this name saw different GPUs")


def test_what_is_wrong_by_the_record_of_all_nodes_together_is_told(kit, named):
    Fleet(3, faults=0, models=[L40S]).write(kit.cwd / "results")
    document = json.loads((DATA / "h100-x4-collectives.json").read_text())
    problem("collective-wrong", None, "The sum is wrong.")(document)
    (kit.cwd / "results/all.json").write_text(json.dumps(document))
    found = named(kit("fleet", "results", "--json"), "record-broken", "pixi run report results/all.json")
    assert found["title"] == "results/all.json is a record of collectives that tells of collective-wrong."
