"""What check's child does on a device: every step notices when the device returns something else."""

import pytest

torch = pytest.importorskip("torch")

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


def test_a_step_that_raises_is_told_and_the_next_one_is_taken(monkeypatch):
    def fail(a, b, out):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with …")

    monkeypatch.setattr(torch, "mm", fail)
    seen = steps()
    assert list(seen) == ["copies", "bf16", "fp32"]
    assert seen["fp32"]["error_text"] == "CUDA error: an illegal memory access was encountered"
