"""What only several GPUs show, through `check` and `bench`: a real PyTorch on two stand-ins for GPUs.

Each run brings several failures about, since it takes three children, each with a PyTorch of its own.
"""

import json
import re

import pytest
from playable import STAND_IN_GPU

pytest.importorskip("torch")
pytestmark = [pytest.mark.long, *STAND_IN_GPU]

STAND_IN = "pytorch"
# Copies in the child that has all GPUs, and in no other: `at` counts them. The first 18 prove GPU 0 to 1.
PLAY = """import sys, time, standin_gpu; torch = standin_gpu.play(2)
if 'links' in sys.orig_argv:
    copy, at = torch.Tensor.copy_, 0
    def copied(target, source, **kwargs):
        global at
        at += 1
        {fault}
        return copy(target, source, **kwargs)
    torch.Tensor.copy_ = copied
"""
NO_ACCESS = "torch.cuda.can_device_access_peer = lambda a, b: False\n"
# Of the first pair nothing arrives; the other's driver gives up.
WRONG = "if at <= 18: return target\n        raise RuntimeError('CUDA error: peer mapping resources exhausted')"
# All are right, one way is timed, and the way back never ends.
HANG = "if target.numel() == 1 << 14 and target[0] == links.pattern(1, 2, 'cpu'): time.sleep(600)"
IMPATIENT = "from gpusmoke.commands import peers; peers.SILENCE_SECONDS = 3.0"
# GPUs that take as long as they sleep, the second one longer.
BENCH = """torch.cuda.mem_get_info = lambda *_: (128 << 20, 80 << 30)
from gpusmoke.workers import bench, links
bench.REST_SECONDS, bench.COLD_WINDOW, bench.WARM_WINDOW, bench.PERIOD_SECONDS = 0.02, 0.1, 0.1, 0.1
bench.LONGEST_TURN_SECONDS = bench.SHORTEST_TURN_SECONDS = 0.03
links.COPY_BYTES = 1 << 16
mm = torch.mm
def slow(a, b, out):
    time.sleep(0.012 if sys.orig_argv[-1] == '1' else 0.004)
    return mm(a, b, out=out)
torch.mm = slow
"""
NAMED = {
    "nvlink-without-peer-access",
    "peer-copy-failed",
    "peer-copy-hung",
    "peer-copy-wrong",
    "peer-link-slow",
    "siblings-differ",
}


@pytest.fixture
def machine(driver, fake_root, children):
    """The variables that make a machine with two GPUs."""

    def variables(fault="pass", code="", parent="pass"):
        env = driver({"devices": 2}) | children(PLAY.format(fault=fault) + code, parent)
        return env | {"GPUSMOKE_ROOT": str(fake_root)}

    return variables


def wrong(done):
    return {one["id"] for one in json.loads(done.stdout)["findings"] if one["severity"] in ("problem", "warning")}


def test_gpus_that_reach_each_other_are_told_of_in_one_line(kit, machine):
    done = kit("check", env=machine(), timeout=120)
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    assert "ok GPU 0-1: NVIDIA H100 80GB HBM3: a first sum, copies both ways" in said
    assert "ok 2 GPUs: every copy from each to each arrived bit for bit" in said
    assert "in the order of streams; 18 NVLinks 4.0." in said


def test_copies_that_do_not_arrive_and_others_that_fail(kit, machine, named):
    done = kit("check", "--json", env=machine(WRONG, NO_ACCESS), timeout=120)
    title = named(done, "peer-copy-wrong", "NCCL_P2P_DISABLE=1")["title"]
    assert title == "Copies from GPU 0 to 1 came out wrong: bytes were changed on the way, or never arrived."
    title = named(done, "peer-copy-failed", "sudo dmesg")["title"]
    assert title == "Copies between GPUs failed from GPU 1 to 0: CUDA error: peer mapping resources exhausted."
    assert "between GPU 0 and 1" in named(done, "nvlink-without-peer-access", "systemctl status")["title"]
    assert wrong(done) == {"peer-copy-wrong", "peer-copy-failed", "nvlink-without-peer-access"}
    # The GPUs themselves are well.
    assert [one["id"] for one in json.loads(done.stdout)["findings"]].count("gpu-works") == 2


def test_copies_that_are_slow_or_hang_and_gpus_that_differ(kit, machine, named, valid):
    command = ("bench", "--dtype", "bf16", "--shape", "256", "--seconds", "4")
    done = kit(*command, "--json", env=machine(HANG, BENCH, IMPATIENT), timeout=120)
    slow = named(done, "peer-link-slow", "nvidia-smi nvlink -s")["title"]
    assert re.fullmatch(r"NVLink is slow from GPU 0 to 1: [\d.]+ GB/s, NV18 carries 450\.", slow)
    differ = named(done, "siblings-differ", "nvidia-smi -q -d")["title"]
    assert re.match(r"GPU 1 is \d\d % slower than GPU 0 at bf16 256x256x256 NT", differ)
    hung = named(done, "peer-copy-hung", "NCCL_P2P_DISABLE=1")["title"]
    assert hung == "A copy from GPU 1 to 0 had not ended after 3.0 s."
    assert wrong(done) == {"peer-link-slow", "siblings-differ", "peer-copy-hung"}
    valid(json.loads(done.stdout))
    (stored,) = (kit.cwd / "results").iterdir()
    told = kit("report", str(stored)).stdout
    assert "2 x NVIDIA H100 80GB HBM3, settled: the median" in told
    assert "Copies between GPUs, one way, GB/s" in told
    assert kit("compare", str(stored), str(stored)).returncode == 0
