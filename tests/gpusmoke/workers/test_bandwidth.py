"""What moves bytes: on the CPU, and as on a GPU whose memory is the CPU's; a byte that changed on the way shows."""

import pytest

torch = pytest.importorskip("torch")

from gpusmoke.workers import bandwidth  # noqa: E402 - needs torch
from gpusmoke.workers.bandwidth import MEMORY_SHARE, TURNS, moved, transfers  # noqa: E402
from gpusmoke.workers.device import Device  # noqa: E402

SIZE = 64 << 10


@pytest.fixture
def device(monkeypatch):
    """The CPU, in little time."""
    for name in ("CPU_BYTES", "DEVICE_BYTES", "HOST_BYTES"):
        monkeypatch.setattr(bandwidth, name, SIZE)
    monkeypatch.setattr(bandwidth, "TURN_SECONDS", 1e-4)
    return Device("cpu")


@pytest.fixture
def gpu(device, monkeypatch):
    """A GPU, as far as these transfers see."""
    device.kind = "cuda"
    monkeypatch.setattr(device, "free_bytes", lambda: 79 << 30)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return device


def passed(device, triad=True):
    return {one.quantity: one.verified.passed for one in transfers(device, triad)}


def test_copies_within_the_memory_count_what_is_read_and_written(device):
    copy, triad = transfers(device, triad=True)
    assert (copy.quantity, copy.bytes_moved) == ("memory-copy", 2 * SIZE)
    assert (triad.quantity, triad.bytes_moved) == ("memory-triad", 3 * SIZE)
    for one in (copy, triad):
        assert len(one.rates) == TURNS
        assert min(one.rates) > 0
        assert (one.verified.method, one.verified.passed, one.verified.repeats_equal) == ("bitwise", True, None)
        ((start, end),) = one.spans
        assert start < end


def test_without_the_triad_there_is_the_copy_alone(device):
    assert passed(device, triad=False) == {"memory-copy": True}


def test_a_gpu_has_the_link_both_ways(gpu):
    found = {one.quantity: one.bytes_moved for one in transfers(gpu, triad=False)}
    assert found == {"memory-copy": 2 * SIZE, "host-to-device": SIZE, "device-to-host": SIZE}
    assert set(passed(gpu).values()) == {True}


@pytest.mark.parametrize("at", [0, SIZE // 2, SIZE - 1])
def test_one_wrong_byte_of_a_copy_is_noticed(device, monkeypatch, at):
    copy = torch.Tensor.copy_

    def corrupt(target, source, *args, **kwargs):
        copy(target, source, *args, **kwargs)
        target[at] ^= 1
        return target

    monkeypatch.setattr(torch.Tensor, "copy_", corrupt)
    assert passed(device) == {"memory-copy": False, "memory-triad": True}


@pytest.mark.parametrize(("number", "to_device_passed"), [(1, False), (2, True)])
def test_each_way_of_the_link_is_compared(gpu, monkeypatch, number, to_device_passed):
    """Both copies are asynchronous: the device's buffer is the first target, the host's second one the other."""
    copy, targets = torch.Tensor.copy_, []

    def corrupt(target, source, *args, non_blocking=False):
        copy(target, source, *args, non_blocking=non_blocking)
        if non_blocking and not any(target is one for one in targets):
            targets.append(target)
        if non_blocking and len(targets) == number:
            target[7] ^= 1
        return target

    monkeypatch.setattr(torch.Tensor, "copy_", corrupt)
    assert passed(gpu, triad=False) == {
        "memory-copy": True,
        "host-to-device": to_device_passed,
        "device-to-host": False,  # what was wrong on the device comes back so
    }


def test_what_came_back_to_be_compared_does_not_stand_in_for_what_has_to(gpu, monkeypatch):
    copy, targets = torch.Tensor.copy_, []

    def lossy(target, source, *args, non_blocking=False):
        if non_blocking and not any(target is one for one in targets):
            targets.append(target)
        lost = non_blocking and len(targets) == 2
        return target if lost else copy(target, source, *args, non_blocking=non_blocking)

    monkeypatch.setattr(torch.Tensor, "copy_", lossy)
    assert passed(gpu, triad=False) == {"memory-copy": True, "host-to-device": True, "device-to-host": False}


def test_one_wrong_element_of_the_triad_is_noticed(device, monkeypatch):
    add = torch.add

    def corrupt(b, c, alpha, out):
        add(b, c, alpha=alpha, out=out)
        out[-1] += 1
        return out

    monkeypatch.setattr(torch, "add", corrupt)
    assert passed(device) == {"memory-copy": True, "memory-triad": False}


def test_what_never_arrived_is_noticed(device, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "copy_", lambda target, *_args, **_kwargs: target)
    assert passed(device)["memory-copy"] is False


def test_buffers_leave_room_in_a_small_memory(gpu, monkeypatch):
    free = 1 << 20
    monkeypatch.setattr(gpu, "free_bytes", lambda: free)
    monkeypatch.setattr(bandwidth, "DEVICE_BYTES", 1 << 30)
    monkeypatch.setattr(bandwidth, "HOST_BYTES", 1 << 30)
    found = {one.quantity: one.bytes_moved for one in transfers(gpu, triad=True)}
    assert found["memory-copy"] == 2 * int(MEMORY_SHARE * free) // 4
    assert found["host-to-device"] == int(MEMORY_SHARE * free) // 4
    assert sum(found.values()) < 2 * free


def test_warming_turns_are_not_counted(device, monkeypatch):
    """A device whose first launches take a hundred times as long: they load code, or wake the link."""
    calls, now = [], [0.0]

    def launch(_):
        calls.append(1)
        now[0] += 0.1 if len(calls) <= 6 else 0.001

    device.timer = type("Clock", (), {"mark": lambda self: now[0], "seconds": lambda self, start, end: end - start})()
    monkeypatch.setattr(bandwidth, "TURN_SECONDS", 0.1)
    one = moved(device, "memory-copy", 10**9, launch, lambda: True)
    assert one.rates == pytest.approx([1000.0] * TURNS)
