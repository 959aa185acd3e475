"""Which children there are, and which GPUs each of them sees, through the real command line on stand-in GPUs."""

import json

import pytest

from gpusmoke.commands.crews import alone

pytest.importorskip("torch")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux"),
    pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine's GPUs would be exercised"),
]

STAND_IN = "pytorch"
NAMED = set()
# Each child says which it is, and what it sees, when PyTorch looks for CUDA.
PLAY = """import os, sys, standin_gpu
torch = standin_gpu.play_quickly(count={count})
def told():
    with open({log!r}, 'a') as log:
        print(*sys.orig_argv[-2:], os.environ.get('CUDA_VISIBLE_DEVICES', 'all'), file=log)
    return True
torch.cuda.is_available = told
"""
EIGHT_CORES = "from gpusmoke.commands import crews; crews.usable_cores = lambda: 8"


@pytest.fixture
def run(kit, driver, fake_root, children, tmp_path):
    """Run a command on a machine with so many GPUs; returns its record, and what its children saw."""

    def program(*arguments, count=1, parent="pass", env=()):
        log = tmp_path / "log"
        play = PLAY.format(count=count, log=str(log))
        machine = driver({"devices": count}) | children(play, parent) | {"GPUSMOKE_ROOT": str(fake_root)} | dict(env)
        record = json.loads(kit(*arguments, "--json", env=machine, timeout=120).stdout)
        return record, set(log.read_text().splitlines())

    return program


@pytest.mark.parametrize(
    ("named", "count", "seen"),
    [
        (None, 0, []),
        (None, 1, [None]),
        (None, 3, ["0", "1", "2"]),
        ("2,0", 2, ["2", "0"]),
        (" 2, GPU-a1b2", 2, ["2", "GPU-a1b2"]),
        ("1,0,9,3", 2, ["1", "0"]),  # CUDA stops at the first that is not there
        ("5", 1, [None]),
        ("all", 2, [None, None]),  # whatever that driver makes of it
    ],
)
def test_of_several_gpus_a_child_sees_its_own_alone(monkeypatch, named, count, seen):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert [alone(ordinal, count) for ordinal in range(count)] == seen


def test_those_for_one_gpu_see_it_alone_and_the_one_for_copies_sees_all(run):
    record, seen = run("check", count=2, env={"CUDA_VISIBLE_DEVICES": "1,0"})
    assert seen == {"check 0 1", "check 1 0", "links 0 1,0"}
    assert {one["severity"] for one in record["findings"]} <= {"ok", "note"}
    facts = record["facts"]
    # Records have CUDA's numbers among all.
    assert [facts[f"check.{gpu}"]["value"]["device"] for gpu in (0, 1)] == ["cuda:0", "cuda:1"]
    assert [row["to"] for gpu in (0, 1) for row in facts[f"links.{gpu}"]["value"]] == [1, 0]
    assert facts["torch.devices"]["source"] == "torch.cuda.device_count()"  # of the one that sees all


def test_the_only_gpus_child_sees_what_every_program_sees(run):
    _, seen = run("check")
    assert seen == {"check 0 all"}


def test_children_for_gpus_that_cuda_does_not_show_are_ended(run, fake_root):
    for number in (1, 2):
        (fake_root / f"dev/nvidia{number}").touch()
    record, seen = run("check", parent=EIGHT_CORES)  # enough for two
    assert seen == {"check 0 all"}
    assert [name for name in record["facts"] if name.startswith("check.worker.")] == ["check.worker.0"]
    assert {one["severity"] for one in record["findings"]} <= {"ok", "note"}


def test_what_will_measure_is_there_before_the_check_has_ended(run):
    """On a machine with cores enough; its part of the deadline begins with its task."""
    record, seen = run("smoke", "--seconds", "1", parent=EIGHT_CORES)
    assert seen >= {"check 0 all", "bench 0 all"}
    assert record["facts"]["bench.worker.0"]["value"]["finished"] is True


def test_what_would_have_measured_is_not_told_of_where_the_check_fails(run):
    record, _ = run("smoke", "--seconds", "1", parent=EIGHT_CORES, env={"CUDA_VISIBLE_DEVICES": "7"})
    assert not [name for name in record["facts"] if name.startswith("bench.")]
