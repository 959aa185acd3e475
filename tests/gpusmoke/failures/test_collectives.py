"""Ranks that are missing, killed, stopped, of another version, wrong or refused, through the real command line.

Real ranks under a real torchrun, with gloo on the CPU: what a case gives is what ranks of these numbers run before they
import PyTorch. What NCCL would say, which has no GPU here, is raised where it would say it.
"""

import json
import signal
import subprocess
import sys

import pytest
from processes import alive, wait_until

from gpusmoke.commands.collectives import TIMEOUT_SECONDS

pytest.importorskip("torch")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif("sys.platform != 'linux'", reason="stops and kills processes as Linux does"),
    pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="meant for a machine without a GPU"),
]

STAND_IN = "pytorch"
GLOO = ("--backend", "gloo", "--op", "all-reduce")
SMALL = ("-b", "1K", "-e", "4K", "--iters", "2")
SHORT = ("--timeout", "12")  # seconds; ranks begin that far apart on a busy machine

# The third all-reduce of 4 KiB or more, in the middle of its warmup.
IN_ALL_REDUCE = """import torch.distributed as dist
all_reduce, launched = dist.all_reduce, []
def faulty(tensor):
    launched.extend([0] if tensor.numel() >= 1024 else [])
    if len(launched) == 3:
        {}
    return all_reduce(tensor)
dist.all_reduce = faulty"""
SAYS = "import torch.distributed as dist\ndef refuse(*_, **__): raise dist.DistBackendError({!r})\n"
SAYS += "dist.init_process_group = refuse"
NCCL = "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94, {}\nLast error:\n{}"
SHM = "Error while creating shared memory segment /dev/shm/nccl-WU88OE (size 9637888), error: No space left on device"
REFUSED = (
    "socketPollConnect: connect to 10.0.0.1<41235> returned Connection refused, exceeded error retry count after 35"
)
SYSTEM = "unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.30.7"
CUDA = "unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version 2.30.7"
ERRORS = {
    0: SAYS.format("something that nobody has heard of"),
    1: SAYS.format(NCCL.format(SYSTEM, SHM)),
    2: SAYS.format(NCCL.format(SYSTEM, "Call to ibv_create_qp failed with error Cannot allocate memory")),
    3: SAYS.format(NCCL.format(CUDA, "Cuda failure 'peer access is not supported between these two devices'")),
    4: SAYS.format(NCCL.format("remote process exited or there was a network error, NCCL version 2.30.7", REFUSED)),
    5: "os.environ['GLOO_SOCKET_IFNAME'] = 'nosuch0'",  # gloo itself says it
}
LOST = "raise RuntimeError('[pair.cc:553] Connection closed by peer [10.0.0.2]:20403')"
STOPPED = "os.kill(os.getpid(), signal.SIGSTOP)"
NEVER_COMES = "time.sleep(600)"
IN_IMPORT = """class Slow:
    def find_spec(self, name, *_):
        if name == 'torch':
            {}
sys.meta_path.insert(0, Slow())"""
ANOTHER_TORCH = "import torch; torch.__version__ = '2.11.0+cu130'"
GPU = "import standin_gpu; torch = standin_gpu.play(1)"

# What is found, with the beginning of its first advice; how many ranks and what they are asked; what ranks run.
CASES = [
    ({"rank-silent": "ps -eo"}, ("2", *SHORT), {1: IN_ALL_REDUCE.format(STOPPED)}),
    ({"rank-missing": "pixi run check"}, ("2", *SHORT), {1: NEVER_COMES}),
    ({"collective-timeout": "NCCL_DEBUG=INFO"}, ("2", *SHORT), {1: IN_ALL_REDUCE.format(NEVER_COMES)}),
    ({"peer-lost": "sudo dmesg"}, ("1",), {0: IN_ALL_REDUCE.format(LOST)}),
    (
        {
            "rank-failed": "pixi run check",
            "shared-memory-too-small": "df -h /dev/shm",
            "nccl-system-error": "NCCL_DEBUG=INFO",
            "nccl-cuda-error": "pixi run check",
            "peer-unreachable": "ip -brief address",
            "no-socket-interface": "ip -brief address",
        },
        ("6",),
        ERRORS,
    ),
]
TOLD = {
    "rank-silent": "Rank 1 (node 0, local rank 1) fell silent in all-reduce of 4 KiB",
    "rank-missing": "Of 2 ranks rank 1 did not come within 12.0 s.",
    "collective-timeout": "Ranks 0, 1 waited for more than 12.0 s in all-reduce of 4 KiB, and all ranks had come.",
    "peer-lost": "Rank 0 (node 0, local rank 0) lost its connection to another rank in all-reduce of 4 KiB",
    "rank-failed": "Rank 0 (node 0, local rank 0) failed while gloo made its connections: something that nobody",
    "shared-memory-too-small": f"on rank 1: {SHM}",
    "nccl-system-error": "on rank 2: Call to ibv_create_qp failed",
    "nccl-cuda-error": "on rank 3: Cuda failure 'peer access",
    "peer-unreachable": f"Rank 4 could not reach another rank: {REFUSED}",
    "no-socket-interface": "Unable to find address for: nosuch0",
}
NAMED = {kind for expected, *_ in CASES for kind in expected} | {
    *("collective-wrong", "rank-died", "versions-differ", "ranks-share-gpu", "collectives-need-gpu", "torchrun-failed")
}


@pytest.fixture
def ranks(children, tmp_path):
    """`ranks({1: code})`: the variables that make these ranks' work, and no other process, run code at its start."""

    def variables(codes):
        lines = ["import os, signal, sys, time", "rank = os.environ['RANK'] if 'collectives' in sys.orig_argv else ''"]
        lines += [f"if rank == '{rank}': exec({code!r}, globals())" for rank, code in codes.items()]
        return children("\n".join(lines)) | {"GPUSMOKE_ROOT": str(tmp_path / "bare")}

    return variables


@pytest.mark.parametrize(("expected", "asked", "codes"), CASES, ids=lambda one: next(iter(one)) if one else None)
def test_each_failure_is_named_with_the_rank_and_its_cure(kit, ranks, named, expected, asked, codes):
    done = kit("collectives", *GLOO, *SMALL, "--json", "--ranks", *asked, env=ranks(codes), timeout=200)
    for kind, advice in expected.items():
        assert TOLD[kind] in named(done, kind, advice)["title"]
    found = [one for one in json.loads(done.stdout)["findings"] if one["severity"] == "problem"]
    assert [one["id"] for one in found if one["id"] not in expected] == []


def test_a_wrong_result_and_a_killed_rank_are_named_under_the_users_torchrun(kit, ranks, named, valid):
    fault = IN_ALL_REDUCE.format("os.kill(os.getpid(), signal.SIGKILL)")
    # A copy that is off by one in one element of what it has received.
    flips = "import torch.distributed as dist; broadcast = dist.broadcast\n"
    flips += "def faulty(tensor, root): broadcast(tensor, root); tensor[217] += 1\ndist.broadcast = faulty"
    launcher = [kit.python, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    asked = ["--backend=gloo", "--op=broadcast,all-reduce", *SMALL, "--json"]
    command = [*launcher, "-m", "gpusmoke", "collectives", *asked]
    env = kit.environment(ranks({1: flips, 2: fault}))
    done = subprocess.run(command, cwd=kit.cwd, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1
    died = named(done, "rank-died", "sudo dmesg")
    where = "killed by signal 9, in all-reduce of 4 KiB"
    assert died["title"] == f"Rank 2 (node 0, local rank 2) died, {where}."
    wrong = named(done, "collective-wrong", "pixi run collectives")
    assert "broadcast of 1 KiB gave a wrong result on rank 1 (node 0, local rank 1): element 217" in wrong["title"]
    record = json.loads(done.stdout)
    assert record["seconds"] < TIMEOUT_SECONDS  # those that wait for it are sent home before
    assert len(record["facts"]["collectives.wrong"]["value"]) == 2  # both sizes, and nobody else
    told = {(row["quantity"], *row["shape"]): row["verified"]["passed"] for row in record["measurements"]}
    assert told == {("broadcast", 1024): False, ("broadcast", 4096): False, ("all-reduce", 1024): True}
    (kept,) = (kit.cwd / "results").iterdir()
    assert json.loads(kept.read_text()) == record


def test_ranks_that_can_not_work_together_are_told_before_anything_is_sent(kit, ranks, driver, named):
    codes = {0: GPU, 1: f"{GPU}; {ANOTHER_TORCH}", 2: "import torch"}
    env = driver() | ranks(
        {rank: f"{code}; torch.cuda.nccl.version = lambda: (2, 30, 7)" for rank, code in codes.items()}
    )
    done = kit("collectives", "--ranks", "3", "--json", env=env, timeout=200)
    differ = named(done, "versions-differ", "pixi run --frozen")
    assert "2.11.0+cu130 (rank 1)" in differ["title"]
    assert named(done, "ranks-share-gpu", "nvidia-smi -L")["title"].startswith("Ranks 0, 1 have one and the same GPU")
    assert "PyTorch shows none to rank 2" in named(done, "collectives-need-gpu", "pixi run doctor")["title"]
    record = json.loads(done.stdout)
    problems = [one["id"] for one in record["findings"] if one["severity"] == "problem"]
    assert problems == ["versions-differ", "ranks-share-gpu", "collectives-need-gpu"]
    assert "collectives.ranks" not in record["facts"]  # they were sent home, and did not fail


def test_without_a_gpu_nothing_is_started_unless_the_cpu_is_asked_for(kit, named, tmp_path):
    env = {"GPUSMOKE_ROOT": str(tmp_path / "bare")}
    assert (
        "CUDA shows none here" in named(kit("collectives", "--json", env=env), "collectives-need-gpu", "pixi")["title"]
    )


def test_a_torchrun_that_ends_before_its_ranks_do_is_told_with_its_last_words(kit, children, named):
    env = children("print('no space left', file=sys.stderr, flush=True); import os; os._exit(3)")
    done = kit("collectives", *GLOO, "--ranks", "2", "--json", env=env)
    found = named(done, "torchrun-failed", "pixi run check")
    assert "with exit code 3" in found["title"]
    assert found["evidence"] == ["stderr: no space left"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interruption_keeps_what_was_measured_and_no_end_of_the_parent_leaves_a_rank(kit, ranks, tmp_path, number):
    marker = f"open({str(tmp_path)!r} + '/rank-' + os.environ['RANK'], 'w').write(f'{{os.getpid()}} {{os.getppid()}} ')"
    # Where the parent is killed nothing has to be measured before, so that PyTorch need not be imported.
    place = IN_ALL_REDUCE if number == signal.SIGINT else IN_IMPORT
    codes = dict.fromkeys((0, 1), place.format(f"{marker}; {NEVER_COMES}"))
    command = [sys.executable, "-m", "gpusmoke", "collectives", *GLOO, *SMALL, "--ranks", "2"]
    process = subprocess.Popen(
        command, cwd=kit.cwd, env=kit.environment(ranks(codes)), stderr=subprocess.PIPE, text=True
    )
    if number == signal.SIGINT:
        assert process.stderr is not None
        assert any("all-reduce of 1 KiB" in line for line in process.stderr)  # so it has heard of that one
    marks = [tmp_path / "rank-0", tmp_path / "rank-1"]
    wait_until(lambda: all(mark.exists() and mark.read_text().endswith(" ") for mark in marks))
    pids = [int(pid) for mark in marks for pid in mark.read_text().split()]
    assert len(alive(pids)) == 4  # of each rank the one that works and the one that waits for it
    process.send_signal(number)
    process.communicate(timeout=60)
    wait_until(lambda: not alive(pids))
    if number == signal.SIGINT:
        (path,) = (kit.cwd / "results").iterdir()
        record = json.loads(path.read_text())
        assert process.returncode == 130
        assert [one["id"] for one in record["findings"]] == ["interrupted"]
        assert [row["shape"] for row in record["measurements"]] == [[1024]]
