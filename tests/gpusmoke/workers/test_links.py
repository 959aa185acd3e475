"""Copies between devices, which are all the CPU here: what goes wrong on the way shows, and rates are what they say."""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from gpusmoke.schema import record_schema  # noqa: E402 - after torch is known to be there
from gpusmoke.workers import links  # noqa: E402 - needs torch
from gpusmoke.workers.links import Links, Way, pattern, prove, rates, sized  # noqa: E402

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


def test_every_pair_is_measured_one_way_and_both_ways_at_once(three, listener):
    three.measure()
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
    three.measure()
    assert {row["verified"]["passed"] for row in listener.measurements} == {False}


def test_an_error_ends_it_and_names_the_pair(three, listener, monkeypatch):
    def fault(copy, number, target):
        if number == 20:  # 18 copies prove a pair
            raise RuntimeError("CUDA error: peer mapping resources exhausted\nmore")
        copy()

    faulty(monkeypatch, fault)
    assert not three.prove()
    assert listener.facts["links.now"] == [0, 5]
    assert listener.facts["links.0"] == [
        {"to": 2, "access": False, "failed": []},
        {
            "to": 5,
            "access": False,
            "error_text": "CUDA error: peer mapping resources exhausted",
            "error_code": None,
        },
    ]
    assert "links.2" not in listener.facts


@pytest.mark.parametrize("work", [Links.prove, Links.measure])
def test_a_pair_is_told_before_its_copies_begin(three, listener, monkeypatch, work):
    seen = []

    def fault(copy, number, target):
        seen.append(listener.facts["links.now"])
        copy()

    faulty(monkeypatch, fault)
    work(three)
    assert list(dict.fromkeys(map(tuple, seen))) == [(a, b) for a in (0, 2, 5) for b in (0, 2, 5) if a != b]


class Clock:
    """A way that moves so many words a second; `number` is its place among those that go at the same time."""

    def __init__(self, words_per_second, clock):
        self.count, self.speed, self.clock, self.timer, self.busy = 1000, words_per_second, clock, self, 0.0

    def streams(self):
        return torch.no_grad()  # any context

    def copy(self):
        self.busy += self.count / self.speed

    def mark(self):
        return self.busy

    def seconds(self, start, end):
        return end - start


def test_a_rate_is_of_all_that_moved_until_the_slowest_has_arrived(monkeypatch):
    monkeypatch.setattr(links, "TURN_SECONDS", 0.1)
    assert rates([Clock(1e6, None)]) == pytest.approx([4e6 / 1e9] * links.TURNS)
    both = rates([Clock(1e6, None), Clock(0.5e6, None)])
    assert both == pytest.approx([2 * 4000 / 0.002 / 1e9] * links.TURNS)


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
