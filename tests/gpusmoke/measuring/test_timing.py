"""Bursts and the settled state, on a device of our own making whose clock is ours too."""

import pytest

pytest.importorskip("torch")

from gpusmoke.measuring import timing
from gpusmoke.measuring.timing import CpuTimer, bursts, estimate, settle, stream


class Device:
    """Each launch takes `speed(now)` seconds of a clock that only launches and rests move on."""

    def __init__(self, monkeypatch, speed):
        self.now, self.speed, self.rests, self.launches = 0.0, speed, [], []
        monkeypatch.setattr(timing.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(timing.time, "sleep", self.rest)

    def rest(self, seconds):
        self.rests.append(seconds)
        self.now += seconds

    def launch(self, number):
        self.launches.append(number)
        self.now += self.speed(self.now)

    def mark(self):
        return self.now

    def seconds(self, start, end):
        return end - start


def test_a_burst_is_12_ms_after_a_rest(monkeypatch):
    device = Device(monkeypatch, lambda now: 0.0015)
    assert bursts(device.launch, device, each=0.0015, rest=0.5, repeats=3) == pytest.approx([0.0015] * 3)
    assert device.rests == [0.5] * 3
    assert len(device.launches) == 3 * 8


def test_a_product_that_takes_longer_than_a_burst_is_launched_once(monkeypatch):
    device = Device(monkeypatch, lambda now: 2.0)
    assert bursts(device.launch, device, each=2.0, rest=0.1, repeats=2) == pytest.approx([2.0, 2.0])


def test_the_first_pair_which_loads_code_is_not_the_estimate(monkeypatch):
    device = Device(monkeypatch, lambda now: 1.0 if now < 1.5 else 0.01)
    assert estimate(device.launch, device) == pytest.approx(0.01)


def test_a_stream_rotates_its_operands_and_never_rests(monkeypatch):
    device = Device(monkeypatch, lambda now: 0.01)
    blocks = stream(device.launch, device, each=0.01)
    assert [next(blocks) for _ in range(3)] == pytest.approx([0.01] * 3)
    assert device.launches == list(range(40))  # four blocks of ten: one is always queued ahead
    assert device.rests == []


def run(device, window=1.0, settle_for=20.0, measure_for=2.0):
    return settle(device.launch, device, 0.01, window, settle_for, measure_for)


def test_a_steady_rate_is_settled_after_two_windows(monkeypatch):
    result = run(Device(monkeypatch, lambda now: 0.01))
    assert result.settled
    assert result.started == pytest.approx(2.0, abs=0.2)
    assert result.ended - result.started == pytest.approx(2.0, abs=0.2)
    assert result.blocks == pytest.approx([0.01] * len(result.blocks))


def test_what_came_before_the_settled_state_is_not_measured(monkeypatch):
    result = run(Device(monkeypatch, lambda now: 0.005 + 0.0005 * min(now, 10)))
    assert result.settled
    assert result.started > 9
    assert all(seconds == pytest.approx(0.01, rel=0.02) for seconds in result.blocks)


def test_a_rate_that_never_settles_is_measured_when_the_time_is_up_and_says_so(monkeypatch):
    result = run(Device(monkeypatch, lambda now: 0.01 * 1.01**now), settle_for=5.0)
    assert not result.settled
    assert 5 <= result.started < 7
    assert result.blocks


def test_less_than_a_second_is_never_measured(monkeypatch):
    result = run(Device(monkeypatch, lambda now: 0.01), measure_for=0.0)
    assert sum(result.blocks) * 10 >= 1.0


def test_the_clock_of_the_cpu_goes_forward():
    timer = CpuTimer()
    start = timer.mark()
    assert timer.seconds(start, timer.mark()) >= 0
