"""Copies between real GPUs; conftest.py collects this where there are two at least."""

import json
from itertools import permutations

import pytest

pytest.importorskip("torch")

import torch

from gpusmoke.workers.links import COPY_BYTES, Links, Way, prove, rates

GPUS = range(torch.cuda.device_count())
WORDS = 4 << 20


@pytest.fixture
def every(listener):
    return Links(listener, {gpu: f"cuda:{gpu}" for gpu in GPUS})


@pytest.fixture
def way():
    return Way("cuda:0", "cuda:1", WORDS, 1)


def replaced(monkeypatch, do):
    """Copies by `do(copy, target, source)`; `copy` is PyTorch's own."""
    copy = torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", lambda target, source, **kwargs: do(copy, target, source))


def test_every_pair_is_right_in_both_directions(every: Links, listener):
    assert every.prove()
    rows = {(gpu, row["to"]): row for gpu in GPUS for row in listener.facts[f"links.{gpu}"]}
    assert list(rows) == list(permutations(GPUS, 2))
    for (a, b), row in rows.items():
        assert row == {"to": b, "access": torch.cuda.can_device_access_peer(a, b), "failed": []}


@pytest.mark.parametrize("at_once", [False, True])
def test_every_pair_is_timed_and_what_it_copied_is_right(every: Links, listener, at_once):
    every.measure(at_once)
    assert all(row["verified"]["passed"] for row in listener.measurements)
    assert {(row["gpu"], row["peer"]) for row in listener.measurements} == set(permutations(GPUS, 2))
    assert all(row["value"] > 1 for row in listener.measurements)


def test_both_ways_at_once_overlap():
    if not torch.cuda.can_device_access_peer(0, 1):
        pytest.skip("through the host's memory both directions share one way")
    count = COPY_BYTES // 4  # of small ones PyTorch's own ordering takes more time than the copies
    way, back = Way("cuda:0", "cuda:1", count, 1), Way("cuda:1", "cuda:0", count, 2)
    (both,), (alone,) = rates([[way, back]]), rates([[way]])
    assert max(both) > 1.2 * max(alone)


def test_a_planted_wrong_word_is_seen(way, monkeypatch):
    def wrong(copy, target, source):
        copy(target, source, non_blocking=True)
        target[12345] ^= 1
        return target

    replaced(monkeypatch, wrong)
    assert "plain" in prove(way)


def test_a_copy_that_is_planted_to_do_nothing_is_seen(way, monkeypatch):
    replaced(monkeypatch, lambda copy, target, source: target)
    assert prove(way) == ["plain", "strided", "ordered"]


def test_copies_that_do_not_wait_for_what_they_send_are_seen(way, monkeypatch):
    """On streams of their own, while what is before them in the usual ones takes its time."""
    beside = {torch.device("cuda", gpu): torch.cuda.Stream(gpu) for gpu in (0, 1)}

    def unordered(copy, target, source):
        with torch.cuda.stream(beside[target.device]), torch.cuda.stream(beside[source.device]):
            copy(target, source, non_blocking=True)
        with torch.cuda.device(target.device):
            torch.cuda._sleep(20_000_000)  # some 10 ms, in the stream in which the target goes on
        return target

    replaced(monkeypatch, unordered)
    assert "ordered" in prove(way)
    torch.cuda.synchronize()


def test_check_tells_of_the_links_in_one_line(kit, valid):
    done = kit("check", "--json", timeout=300)
    record = json.loads(done.stdout)
    valid(record)
    found = {one["id"]: one for one in record["findings"]}
    assert done.returncode == 0, found
    assert found["peers-work"]["title"].startswith(f"{len(GPUS)} GPUs: every copy from each to each arrived")
    assert record["facts"]["links.worker.0"]["value"]["finished"] is True
