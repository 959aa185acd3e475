"""Copies between devices, which are all the CPU here: what goes wrong on the way shows, and rates are what they say."""

import itertools
import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from gpusmoke.schema import record_schema  # noqa: E402 - after torch is known to be there
from gpusmoke.workers import links  # noqa: E402 - needs torch
from gpusmoke.workers.links import Links, Way, pattern, prove, rates, rounds, sized  # noqa: E402

CPU = "cpu"
WORDS = 4096


@pytest.fixture
def three(listener, monkeypatch):
    """Three devices, and little to copy."""
    monkeypatch.setattr(links, "PROOF_BYTES", 4 * WORDS)
    monkeypatch.setattr(links, "COPY_BYTES", 4 * WORDS)
    monkeypatch.setattr(links, "TURN_SECONDS", 1e-4)
    return Links(listener, dict.fromkeys((0, 2, 5), CPU))


def faulty(monkeypatch, fault):
    """Copies through `fault(copy, number)`, which does the copying: `number` is how many copies there were before."""
    copy, count = torch.Tensor.copy_, [0]

    def copied(target, source, *args, **kwargs):
        fault(lambda: copy(target, source, *args, **kwargs), count[0], target)
        count[0] += 1
        return target

    monkeypatch.setattr(torch.Tensor, "copy_", copied)


def test_every_pair_is_proved_in_both_directions(three, listener):
    assert three.prove()
    rows = {gpu: listener.facts[f"links.{gpu}"] for gpu in (0, 2, 5)}
    assert {gpu: [row["to"] for row in pairs] for gpu, pairs in rows.items()} == {0: [2, 5], 2: [0, 5], 5: [0, 2]}
    assert all(row["failed"] == [] for pairs in rows.values() for row in pairs)
    assert listener.steps[1] == "in copies from GPU 0 to GPU 5"
    assert listener.facts["links.now"] is None
    assert json.dumps(listener.facts)


@pytest.mark.parametrize("at_once", [False, True])
def test_every_pair_is_measured_one_way_and_both_ways_at_once(three, listener, at_once):
    three.measure(at_once)
    found = [(row["quantity"], row["gpu"], row["peer"]) for row in listener.measurements]
    one_way = [(a, b) for a in (0, 2, 5) for b in (0, 2, 5) if a != b]
    assert sorted(found) == sorted(
        [("peer-copy", a, b) for a, b in one_way] + [("peer-copy-both-ways", a, b) for a, b in one_way if a < b]
    )
    for row in listener.measurements:
        part = record_schema()["$defs"]["measurement"]
        jsonschema.Draft202012Validator(part).validate(row)
        assert row["verified"]["passed"] is True
        assert row["shape"] == [4 * WORDS * (2 if row["quantity"].endswith("ways") else 1)]
        assert len(row["samples"]) == links.TURNS
        assert row["value"] > 0


@pytest.mark.parametrize("at", [0, WORDS // 2, WORDS - 1])
def test_one_wrong_bit_is_seen(monkeypatch, at):
    def fault(copy, number, target):
        copy()
        if number == 0:
            target[at] ^= 1 << 30

    faulty(monkeypatch, fault)
    assert prove(Way(CPU, CPU, WORDS, 1)) == ["plain"]


def test_what_never_arrives_is_seen_by_every_proof(monkeypatch):
    faulty(monkeypatch, lambda *_: None)
    assert prove(Way(CPU, CPU, WORDS, 1)) == ["plain", "strided", "ordered"]


@pytest.mark.parametrize("lost", [2, 9, 17])  # the first and second are of the other proofs
def test_what_arrives_too_late_is_seen_whenever_it_does(monkeypatch, lost):
    def fault(copy, number, target):
        if number != lost:
            copy()

    faulty(monkeypatch, fault)
    assert prove(Way(CPU, CPU, WORDS, 1)) == ["ordered"]


def test_what_a_kernel_writes_wrong_is_seen(monkeypatch):
    def fault(copy, number, target):
        copy()
        if not target.is_contiguous():
            target[-1] += 1

    faulty(monkeypatch, fault)
    assert prove(Way(CPU, CPU, WORDS, 1)) == ["strided"]


def test_the_measured_copies_are_verified_in_both_directions(three, listener, monkeypatch):
    def fault(copy, number, target):
        copy()
        target[7] += 1

    faulty(monkeypatch, fault)
    three.measure(at_once=False)
    assert {row["verified"]["passed"] for row in listener.measurements} == {False}


def test_an_error_ends_it_and_names_the_pair(three, listener, monkeypatch):
    def fault(copy, number, target):
        if number == 20:  # 18 copies prove a pair
            raise RuntimeError("CUDA error: an error that no driver has\nmore")
        copy()

    faulty(monkeypatch, fault)
    assert not three.prove()
    assert listener.facts["links.now"] == [[0, 5]]
    assert listener.facts["links.0"] == [
        {"to": 2, "access": False, "failed": []},
        {
            "to": 5,
            "access": False,
            "error_text": "CUDA error: an error that no driver has",
            "error_code": None,
        },
    ]
    assert "links.2" not in listener.facts


def pairs_while(work, listener, monkeypatch):
    """What links.now held at the copies of some work, in order."""
    seen = []

    def fault(copy, number, target):
        seen.append(tuple(map(tuple, listener.facts["links.now"])))
        copy()

    faulty(monkeypatch, fault)
    work()
    assert listener.facts["links.now"] is None
    return list(dict.fromkeys(seen))


def test_a_pair_is_told_before_its_copies_begin(three, listener, monkeypatch):
    pairs = [((a, b),) for a in (0, 2, 5) for b in (0, 2, 5) if a != b]
    assert pairs_while(three.prove, listener, monkeypatch) == pairs
    found = pairs_while(lambda: three.measure(at_once=False), listener, monkeypatch)
    assert sorted(found) == pairs


def test_pairs_that_share_no_gpu_are_timed_at_once(listener, monkeypatch, three):
    four = Links(listener, dict.fromkeys((0, 2, 5, 7), CPU))
    rounds = [((0, 7), (2, 5)), ((0, 5), (2, 7)), ((0, 2), (5, 7))]
    back = [tuple((b, a) for a, b in pairs) for pairs in rounds]
    found = pairs_while(lambda: four.measure(at_once=True), listener, monkeypatch)
    assert sorted(found) == sorted(rounds + back)
    assert len(listener.measurements) == 18


def test_of_pairs_at_once_the_one_whose_copies_come_out_wrong_is_told(listener, monkeypatch, three):
    def fault(copy, number, target):
        copy()
        if target[0] == pattern(1, 2, CPU)[0]:  # the second way of the first round
            target[7] += 1

    faulty(monkeypatch, fault)
    Links(listener, dict.fromkeys((0, 2, 5, 7), CPU)).measure(at_once=True)
    wrong = [row for row in listener.measurements if row["verified"]["passed"] is not True]
    assert [(row["quantity"], row["gpu"], row["peer"]) for row in wrong] == [
        ("peer-copy", 2, 5),
        ("peer-copy-both-ways", 2, 5),
    ]


@given(st.lists(st.integers(0, 300), unique=True, max_size=20))
def test_rounds_are_a_tournament(gpus):
    found = list(rounds(gpus))
    assert sorted(pair for pairs in found for pair in pairs) == sorted(itertools.combinations(sorted(gpus), 2))
    assert len(found) == max(0, len(gpus) - 1 + len(gpus) % 2)
    for pairs in found:
        assert len({gpu for pair in pairs for gpu in pair}) == 2 * len(pairs)


class Clock:
    """A way that moves so many words a second on a stream of its own; whoever waits for one makes it later for all."""

    now = 0.0

    def __init__(self, words_per_second):
        self.count, self.speed, self.timer, self.busy = 1000, words_per_second, self, 0.0

    def streams(self):
        return torch.no_grad()  # any context

    def copy(self):
        self.busy = max(self.busy, Clock.now) + self.count / self.speed

    def mark(self):
        return max(self.busy, Clock.now)

    def seconds(self, start, end):
        Clock.now = max(Clock.now, end)
        return end - start


def test_a_rate_is_of_all_that_moved_until_the_slowest_has_arrived(monkeypatch):
    monkeypatch.setattr(links, "TURN_SECONDS", 0.1)
    (alone,) = rates([[Clock(1e6)]])
    assert alone == pytest.approx([4e6 / 1e9] * links.TURNS)
    both, other = rates([[Clock(1e6), Clock(0.5e6)], [Clock(3e6)]])  # the slowest is waited for first
    assert both == pytest.approx([2 * 4000 / 0.002 / 1e9] * links.TURNS)
    assert other == pytest.approx([3 * 4e6 / 1e9] * links.TURNS)  # its own, though it was done first


def test_buffers_are_a_part_of_what_the_fullest_device_has_free(monkeypatch):
    free = {"cuda:0": 80 << 30, "cuda:1": 1 << 30}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device], 80 << 30))
    devices = ["cuda:0", "cuda:1"]
    assert sized(devices[:1], 256 << 20) == 64 << 20
    assert sized(devices, 256 << 20) == (64 << 20) // 4
    assert sized([CPU], 400) == 100


@settings(max_examples=50)
@given(st.integers(-300, 300), st.integers(-300, 300), st.integers(1, 3000))
def test_patterns_are_the_same_everywhere_and_differ_in_every_word_from_others(salt, other, count):
    one = pattern(count, salt, CPU)
    assert torch.equal(one, pattern(count, salt, CPU))
    assert one.unique().numel() == count
    assert bool((one != pattern(count, other, CPU)).all()) is (salt != other)
