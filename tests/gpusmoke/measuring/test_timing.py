"""Bursts and products in turn, on a device of our own making whose clock is ours too."""

import itertools
from collections import Counter

import pytest

pytest.importorskip("torch")

from gpusmoke.measuring import timing
from gpusmoke.measuring.timing import CpuTimer, bursts, estimate, interleaved, orders


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


def test_a_host_that_is_busy_for_a_moment_is_not_the_estimate(monkeypatch):
    device = Device(monkeypatch, lambda now: 0.002 if 0.003 < now < 0.0045 else 0.001)
    assert estimate(device.launch, device) == pytest.approx(0.001)


def test_what_takes_long_is_not_launched_often(monkeypatch):
    device = Device(monkeypatch, lambda now: 0.1)
    assert estimate(device.launch, device) == pytest.approx(0.1)
    assert len(device.launches) == 4


def test_products_take_turns_without_a_rest_and_each_rotates_its_operands(monkeypatch):
    device = Device(monkeypatch, lambda now: 0.01)
    seen = {0: [], 1: [], 2: []}
    products = [(lambda number, who=who: seen[who].append(number) or device.launch(number), who + 2) for who in seen]
    turns = interleaved(products, device)
    order = [next(turns)[0] for _ in range(3 * 20)]
    rounds = [tuple(order[at : at + 3]) for at in range(0, len(order), 3)]
    assert {tuple(sorted(one)) for one in rounds} == {(0, 1, 2)}  # every one once a round
    assert len(set(rounds)) > 3  # and not always in the same place
    for who, numbers in seen.items():
        assert numbers == list(range(len(numbers)))
        assert len(numbers) in ((who + 2) * 20, (who + 2) * 21)  # one turn is queued ahead
    assert device.rests == []


@pytest.mark.parametrize("count", range(1, 12))
def test_everyone_is_in_each_place_and_after_each_other_one_equally_often(count):
    length = count * (1 + count % 2)
    rounds = list(itertools.islice(orders(count), 2 * length))
    assert rounds[:length] == rounds[length:]
    assert all(sorted(one) == list(range(count)) for one in rounds)
    places = Counter((who, place) for one in rounds[:length] for place, who in enumerate(one))
    assert places == dict.fromkeys(itertools.product(range(count), repeat=2), length // count)
    after = Counter(pair for one in rounds[:length] for pair in itertools.pairwise(one))
    assert after == dict.fromkeys(itertools.permutations(range(count), 2), length // count)


def test_a_turns_rate_is_its_own(monkeypatch):
    """However the speed changes, each turn is timed from its own beginning to its own end."""
    device = Device(monkeypatch, lambda now: 0.01 if now < 0.245 else 0.03)
    turns = interleaved([(device.launch, 10), (device.launch, 10)], device)
    assert [next(turns)[1] for _ in range(3)] == pytest.approx([0.01, 0.01, 0.02])


def test_the_host_asks_for_a_turns_end_only_when_the_next_is_queued(monkeypatch):
    """So the device always has work: the end of turn N is waited for after turn N + 1 was launched."""
    device = Device(monkeypatch, lambda now: 0.01)
    waits = []
    monkeypatch.setattr(device, "seconds", lambda start, end: waits.append(len(device.launches)) or end - start)
    turns = interleaved([(device.launch, 4)], device)
    for _ in range(3):
        next(turns)
    assert waits == [8, 12, 16]


def test_the_clock_of_the_cpu_goes_forward():
    timer = CpuTimer()
    start = timer.mark()
    assert timer.seconds(start, timer.mark()) >= 0
