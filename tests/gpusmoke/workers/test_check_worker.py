"""What check's child does on a device: every step notices when the device returns something else."""

import gc
import json
import subprocess
import sys
import types

import pytest

torch = pytest.importorskip("torch")

from gpusmoke.workers import child, pytorch  # noqa: E402 - needs torch
from gpusmoke.workers.check import exercise  # noqa: E402 - needs torch


class Reporter:
    """Keeps what the child would say."""

    def __init__(self):
        self.facts = {}

    def step(self, name):
        pass

    def fact(self, name, value, source, reason=None):
        self.facts[name] = value


def steps():
    reporter = Reporter()
    exercise(reporter, 0, "cpu")
    return {step["step"].split(" ")[0]: step for step in reporter.facts["check.0"]["steps"]}


def test_all_is_right_on_a_sound_device():
    assert [step["passed"] for step in steps().values()] == [True, True, True]


def test_one_byte_changed_on_the_way_is_noticed(monkeypatch):
    clone = torch.Tensor.clone

    def corrupt(tensor):
        copy = clone(tensor)
        copy[len(copy) // 2] += 1
        return copy

    monkeypatch.setattr(torch.Tensor, "clone", corrupt)
    seen = steps()
    assert seen["copies"]["passed"] is False
    assert seen["bf16"]["passed"] is True


@pytest.mark.parametrize("wrong", [2.0**20, float("nan"), 0.5])
def test_one_wrong_element_of_a_product_is_noticed(monkeypatch, wrong):
    mm = torch.mm

    def corrupt(a, b, out):
        mm(a, b, out=out)
        out[17, 5] += wrong
        return out

    monkeypatch.setattr(torch, "mm", corrupt)
    seen = steps()
    assert seen["copies"]["passed"] is True
    assert seen["fp32"]["passed"] is False
    assert seen["bf16"]["passed"] is False


class ToldError(RuntimeError):
    error_code = 214


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ToldError("CUDA error: uncorrectable ECC error encountered"), 214),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), 2),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
    ],
)
def test_the_number_of_an_error_is_kept(monkeypatch, error, code):
    def fail(a, b, out):
        raise error

    monkeypatch.setattr(torch, "mm", fail)
    assert steps()["fp32"]["error_code"] == code


TEXTS = {
    "no kernel image is available for execution on the device": 209,
    "system not yet initialized": 802,
    "something new": None,
}


@pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux")
def test_where_pytorch_tells_no_number_the_drivers_own_text_is_looked_up(driver):
    program = "from gpusmoke.workers.pytorch import error_number; import json\n"
    program += f"print(json.dumps([error_number(text) for text in {list(TEXTS)!r}]))"
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=driver(), capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) == list(TEXTS.values())


@pytest.mark.parametrize("said", ["CUDA error: {}\nCompile with …", "CUDA driver error: {}"])
@pytest.mark.parametrize("text", TEXTS)
def test_the_drivers_text_stands_in_pytorchs(monkeypatch, said, text):
    monkeypatch.setattr(pytorch, "error_number", TEXTS.__getitem__)
    assert pytorch.error_code(RuntimeError(said.format(text))) == TEXTS[text]


def test_a_step_that_raises_is_told_and_the_next_one_is_taken(monkeypatch):
    def fail(a, b, out):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with …")

    monkeypatch.setattr(torch, "mm", fail)
    seen = steps()
    assert list(seen) == ["copies", "bf16", "fp32"]
    assert seen["fp32"]["error_text"] == "CUDA error: an illegal memory access was encountered"


def test_garbage_is_looked_for_again_once_pytorch_is_there():
    pytorch.describe(Reporter())
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("cores", "gpus", "before", "threads"), [(64, 4, 64, 12), (16, 1, 16, 8), (2, 8, 2, 1), (64, 4, 3, 3)]
)
def test_children_of_gpus_share_the_cores_and_keep_to_what_the_user_allows(monkeypatch, cores, gpus, before, threads):
    told = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch, "get_num_threads", lambda: before)
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    monkeypatch.setattr("gpusmoke.workers.pytorch.usable_cores", lambda: cores)
    pytorch.share_cores()
    assert told == [threads]
    assert pytorch.own_device(1) == "cuda:1"


def test_the_child_of_a_cpu_has_all_its_cores(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "set_num_threads", None)  # which nothing can call
    assert [pytorch.own_device(ordinal) for ordinal in (0, 1)] == ["cpu", None]
    assert pytorch.describe(Reporter()) is False
    assert started(monkeypatch, False) == ["heard", "work", "done"]


@pytest.mark.parametrize(("available", "steps"), [(True, ["shared", "heard", "work", "done"]), (None, ["done"])])
def test_the_cores_are_shared_before_there_is_work_where_there_is_a_gpu(monkeypatch, available, steps):
    assert started(monkeypatch, available) == steps


def started(monkeypatch, available):
    """What a child does whose PyTorch says this of CUDA, in order."""
    did = []

    class Parent(Reporter):
        def heard(self):
            did.append("heard")
            return {}

        def done(self):
            did.append("done")

    work = types.SimpleNamespace(work=lambda report: did.append("work"))
    monkeypatch.setitem(sys.modules, "gpusmoke.workers.work", work)
    monkeypatch.setattr(child, "Reporter", Parent)
    monkeypatch.setattr(child, "describe", lambda report: available)
    if available is not False:
        monkeypatch.setattr(child, "share_cores", lambda: did.append("shared"))
    child.main("work")
    return did
