"""Copies between GPUs, whether they arrive and how fast they are, on facts of our own making."""

from itertools import combinations

import pytest
from linked_gpus import facts, gpu

from gpusmoke.facts import Fact
from gpusmoke.findings import links as copies

ENDED = {"finished": True, "exit_code": 0, "timed_out": False, "unkillable": False, "last_step": "", "stderr": []}


def copied(count=4, outcome=ENDED, **changed):
    """Facts of copies between `count` GPUs; `changed` are rows of pairs by their name, as in p0_3."""
    values = {
        f"links.{a}": [
            {"to": b, "access": True, "failed": []} | changed.get(f"p{a}_{b}", {}) for b in range(count) if a != b
        ]
        for a in range(count)
    }
    return facts([gpu(at) for at in range(count)], **values, **{"links.worker.0": outcome})


def peer(a, b, value, quantity="peer-copy", passed=True):
    row = {"quantity": quantity, "gpu": a, "peer": b, "value": value, "unit": "GB/s"}
    return row | {"verified": {"passed": passed}}


def told(facts, rows=()):
    return [(one.id, one.gpu) for one in copies.judge(facts, rows)]


def test_all_that_arrived_is_one_line():
    (one,) = copies.judge(copied())
    assert one.title == (
        "4 GPUs: every copy from each to each arrived bit for bit, also in the order of streams; 18 NVLinks 4.0."
    )
    assert copies.judge(facts([gpu(0)])) == []


def test_wrong_copies_name_the_pairs_once_and_the_gpu_that_all_have_in_common():
    bad = {"failed": ["plain", "ordered"]}
    assert told(copied(p0_3=bad, p3_1=bad)) == [("peer-copy-wrong", 3)]
    (one, other) = copies.judge(copied(p0_3=bad, p1_2={"failed": ["ordered"]}))
    assert one.title.startswith("Copies from GPU 0 to 3 came out wrong: bytes were changed")
    assert other.title.startswith("Copies from GPU 1 to 2 came out wrong: what arrived was not")
    assert told(copied(), [peer(0, 1, 380.0, passed=False), peer(1, 0, 380.0)]) == [("peer-copy-wrong", None)]


@pytest.mark.parametrize(
    ("outcome", "now", "expected", "words"),
    [
        (
            {"timed_out": True, "silent_seconds": 30.0, "exit_code": -9},
            [[2, 1]],
            "peer-copy-hung",
            "from GPU 2 to 1 had",
        ),
        ({"unkillable": True, "exit_code": None}, [[2, 1]], "peer-copy-hung", "from GPU 2 to 1"),
        ({"timed_out": True, "silent_seconds": 30.0}, None, "peer-copy-failed", "while opening: no end after 30.0 s"),
        (
            {"finished": False, "exit_code": -11},
            [[0, 1], [2, 3]],
            "peer-copy-failed",
            "from GPU 0 to 1, 2 to 3: the process that makes",
        ),
        ({"exit_code": 0}, [[0, 1], [2], "3"], "peer-copy-failed", "from GPU 0 to 1: the process that makes"),
        ({"finished": True, "exit_code": 1}, None, "peer-copy-failed", "ended with exit code 1"),
        ({"timed_out": True}, None, "peer-copy-failed", "while opening: no end after 120 s"),
        ({"exit_code": -9, "last_step": None}, None, "peer-copy-failed", "before they began: the process that makes"),
    ],
)
def test_a_child_that_does_not_come_through_is_told_with_the_pair(outcome, now, expected, words):
    ended = ENDED | {"finished": False, "last_step": "while opening"} | outcome
    told = {"links.now": Fact(now, "a test"), "request.links_deadline": Fact(120, "a test")}
    (one,) = copies.judge(copied(outcome=ended).with_facts(told))
    assert one.id == expected
    assert words in one.title


def test_an_error_of_a_copy_comes_before_what_became_of_the_child():
    failed = {"failed": None, "error_text": "CUDA error: peer mapping resources exhausted"}
    ended = ENDED | {"timed_out": True, "exit_code": -9, "stderr": [f"line {at}" for at in range(6)]}
    (one, *_) = copies.judge(copied(outcome=ended, p1_0=failed))
    assert one.id == "peer-copy-failed"
    assert "peer mapping resources exhausted" in one.title
    assert one.evidence[-4:] == tuple(f"stderr: line {at}" for at in (2, 3, 4, 5))
    assert "stderr: line 1" not in one.evidence


def test_no_access_is_a_problem_by_nvlink_and_a_note_by_pcie():
    closed = {"access": False}
    assert told(copied(2, p0_1=closed, p1_0=closed)) == [("nvlink-without-peer-access", None), ("peers-work", None)]
    by_pcie = [gpu(at) | {"nvlinks": None} for at in (0, 1)]
    rows = {f"links.{a}": [{"to": 1 - a, "access": False, "failed": []}] for a in (0, 1)}
    note, works = copies.judge(facts(by_pcie, **rows, **{"links.worker.0": ENDED}))
    assert (note.id, note.severity) == ("no-peer-access", "note")
    assert works.title.endswith("in the order of streams; through the host.")


@pytest.mark.parametrize(
    ("count", "closed", "wrong"),
    [
        (4, "0 and 1, 0 and 2, 0 and 3, 1 and 2, 1 and 3, 2 and 3", "0 to 1, 0 to 2, 0 to 3, 1 to 0, 1 to 2, 1 to 3"),
        (
            5,
            "0 and 1, 0 and 2, 0 and 3, 0 and 4, 1 and 2, 1 and 3, and 4 more pairs",
            "0 to 1, 0 to 2, 0 to 3, 0 to 4, 1 to 0, 1 to 2, and 2 more",
        ),
    ],
)
def test_of_many_pairs_the_first_six_are_named(count, closed, wrong):
    pairs = [f"p{a}_{b}" for a in range(count) for b in range(count)]
    (one, *_) = copies.judge(copied(count, **{pair: {"access": False} for pair in pairs}))
    assert f"GPU {closed}" in one.title
    assert "more" in closed or "more" not in one.title
    (one,) = copies.judge(copied(count, **{pair: {"failed": ["plain"]} for pair in pairs[: 2 * count]}))
    assert f"from GPU {wrong} came out wrong" in one.title


def rates(**changed):
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    rows = [peer(a, b, changed.get(f"p{a}_{b}", 380.0 + a)) for a, b in pairs]
    return rows + [peer(a, b, changed.get(f"b{a}_{b}", 749.0), "peer-copy-both-ways") for a, b in pairs if a < b]


def test_pairs_are_held_to_what_their_links_carry_and_to_each_other():
    assert told(copied(), rates()) == [("peers-work", None), ("peer-copies-measured", None)]
    (odd, *_) = copies.judge(copied(), rates(p1_2=350.0))
    assert (odd.id, odd.title) == (
        "peer-link-slow",
        "NVLink is slow from GPU 1 to 2: 350 GB/s, other pairs do 382.",
    )
    slow = {f"p{a}_{b}": 200.0 for a in range(4) for b in range(4) if a != b}
    (odd, *_) = copies.judge(copied(), rates(**slow))
    assert odd.title.endswith(", and 6 more: 200 GB/s, NV18 carries 450.")
    (odd, *_) = copies.judge(copied(), rates(b0_3=400.0))
    assert "from GPU 0 to 3: 400 GB/s both ways at once, NV18 carries 900." in odd.title
    (odd, *_) = copies.judge(copied(), rates(p1_2=200.0), busy=[None, 2, 3])
    assert odd.title.endswith("NV18 carries 450; another program is using GPU 2.")
    (odd, *_) = copies.judge(copied(), rates(p3_0=200.0, p3_1=190.0, p2_3=210.0))
    assert odd.gpu == 3
    assert odd.title.startswith("NVLink is slow from GPU 2 to 3, 3 to 0, 3 to 1: 190 GB/s")
    assert odd.evidence[0].startswith("2 to 3: 210 GB/s")


def test_what_one_link_carries_may_not_be_on_file():
    unknown = copied().with_facts({"nvml.gpus": Fact([gpu(at) | {"capability": "99.0"} for at in range(4)], "a test")})
    slow = {f"p{a}_{b}": 200.0 for a in range(4) for b in range(4) if a != b}
    assert told(unknown, rates(**slow)) == [("peers-work", None), ("peer-copies-measured", None)]
    assert told(unknown, rates(p1_2=200.0))[0] == ("peer-link-slow", None)


def test_links_that_the_driver_refuses_are_held_to_nothing():
    refused = [{"gpus": [a, b], "ancestor": 40, "read": 2, "nvlink": 0} for a, b in combinations(range(4), 2)]
    closed = copied().with_facts({"nvml.pairs": Fact(refused, "a test")})
    assert "peer-link-slow" not in dict(told(closed, rates(p1_2=9.0)))


def test_the_rates_between_gpus_are_told_as_they_span():
    one = copies.judge(copied(), rates())[-1]
    assert "380 to 383" in one.title
    assert "749 " in one.title
    assert "749 to" not in one.title


def test_pairs_are_timed_at_once_where_nvlink_alone_is_used():
    switched = [gpu(at) for at in range(4)]
    assert copies.apart(facts(switched), [0, 1, 2, 3])
    assert not copies.apart(facts([*switched[:3], gpu(3) | {"nvlinks": None}]), [0, 1, 2, 3])
    assert copies.apart(facts([*switched[:3], gpu(3) | {"nvlinks": None}]), [0, 1, 2])
    refused = [
        {"gpus": [a, b], "ancestor": 40, "read": 2 if b == 3 else 0, "nvlink": 0} for a, b in combinations(range(4), 2)
    ]
    assert not copies.apart(facts(switched, **{"nvml.pairs": refused}), [0, 1, 2, 3])
    assert not copies.apart(facts(switched, **{"nvml.pairs": []}), [0, 1])  # nobody knows


def test_what_goes_by_pcie_is_held_to_nothing():
    by_pcie = facts([gpu(at) | {"nvlinks": None} for at in range(4)])
    assert "peer-link-slow" not in dict(told(by_pcie, rates(p1_2=9.0)))
