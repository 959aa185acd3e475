"""Which children there are, and when, through the real command line on stand-in GPUs."""

import json

import pytest
from playable import STAND_IN_GPU

from gpusmoke.commands import crews
from gpusmoke.commands.crews import guess, recruited

pytest.importorskip("torch")
pytestmark = [pytest.mark.long, *STAND_IN_GPU]

STAND_IN = "pytorch"
NAMED = set()
# Each child says when it starts, and when PyTorch, whose import takes seconds, looks for CUDA.
PLAY = """import sys
def say(what):
    with open({log!r}, 'a') as log:
        print(*sys.orig_argv[-2:], what, file=log)
    return True
say('starts')
import standin_gpu; torch = standin_gpu.play_quickly()
torch.cuda.is_available = lambda: say('looks')
"""
CORES = "from gpusmoke.commands import crews; crews.usable_cores = lambda: {cores}"


@pytest.fixture
def run(kit, driver, fake_root, children, tmp_path):
    """Run a command on a machine with one GPU and so many cores; returns its record, and what its children say."""

    def program(*arguments, cores=8, env=()):
        log = tmp_path / "log"
        play = children(PLAY.format(log=str(log)), CORES.format(cores=cores))
        machine = driver() | play | {"GPUSMOKE_ROOT": str(fake_root)}
        record = json.loads(kit(*arguments, "--json", env=machine | dict(env), timeout=120).stdout)
        return record, log.read_text().splitlines()

    return program


@pytest.mark.parametrize(
    ("nodes", "named", "count"),
    [(0, None, 1), (1, None, 1), (8, None, 8), (8, "2,0", 2), (8, "", 1), (1, "0,1", 1), (0, "0,1", 1)],
)
def test_how_many_gpus_there_seem_to_be(monkeypatch, tmp_path, nodes, named, count):
    (tmp_path / "dev").mkdir()
    for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{number}" for number in range(nodes))):
        (tmp_path / "dev" / name).touch()
    monkeypatch.setenv("GPUSMOKE_ROOT", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert guess() == count


@pytest.mark.parametrize(
    ("cores", "options", "ordinals"),
    [
        (2, {}, [0]),
        (2, {"least": 0}, []),
        (8, {}, [0, 1]),
        (64, {}, [0, 1, 2, 3]),
        (64, {"gpus": [1, 3]}, [1, 3]),
        (4, {"gpus": [1, 3]}, [1]),
    ],
)
def test_as_many_are_started_early_as_there_are_cores_for(monkeypatch, cores, options, ordinals):
    early = []
    monkeypatch.setattr(crews, "usable_cores", lambda: cores)
    monkeypatch.setattr(crews, "guess", lambda: 4)
    monkeypatch.setattr(crews.Crew, "recruit", lambda crew, ordinal: early.append(ordinal))
    with recruited("bench", **options):
        assert early == ordinals


def test_children_for_gpus_that_cuda_does_not_show_are_ended(run, fake_root):
    for number in (1, 2):
        (fake_root / f"dev/nvidia{number}").touch()
    record, said = run("check")  # the cores are enough for two
    assert [name for name in record["facts"] if name.startswith("check.worker.")] == ["check.worker.0"]
    assert "links 0 starts" not in said  # there are not several GPUs to copy between
    assert {one["severity"] for one in record["findings"]} <= {"ok", "note"}


@pytest.mark.parametrize(("cores", "early"), [(4, True), (2, False)])
def test_what_will_measure_is_there_before_the_check_has_ended_where_there_are_cores_for_it(run, cores, early):
    record, said = run("smoke", "--seconds", "1", cores=cores)
    assert (said.index("bench 0 starts") < said.index("check 0 looks")) is early
    assert record["facts"]["bench.worker.0"]["value"]["finished"] is True


def test_what_would_have_measured_is_not_told_of_where_the_check_fails(run):
    record, _ = run("smoke", "--seconds", "1", env={"CUDA_VISIBLE_DEVICES": "7"})
    assert not [name for name in record["facts"] if name.startswith("bench.")]
