"""What is made of how ranks fared: who is to blame, which line matters, and nothing beside it."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd import nested

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings import catalogue, part
from gpusmoke.findings.collectives import judge, kind_of

HERE = {"gpusmoke": "0.1.0", "torch": "2.13.0", "nccl": None, "device": "cpu", "uuid": None}
ROW = {"arrived": True, "alive": True, "number": 5, "step": "in all-reduce of 1 MiB", "silent_seconds": 0.3}
KILLED = {"how": "died", "exit_code": -9, "step": "in all-reduce of 1 MiB", "lines": ["terminate called"]}
LOST = {"how": "error", "step": "in all-reduce of 1 MiB", "lines": ["[pair.cc:553] Connection closed by peer [::1]:4"]}
WAITED = LOST | {"lines": ["[unbound_buffer.cc:129] Timed out waiting 45000ms for send operation to complete"]}
MEASURED = {"quantity": "all-reduce", "shape": [1 << 20], "ranks": 4, "value": 1.0}
TROUBLE = {"timeout": 60.0}


def rows(changes):
    """Four ranks on two nodes, some of which fared otherwise."""
    found = []
    for rank in range(4):
        where = {"rank": rank, "node": rank // 2, "local_rank": rank % 2, "ended": None}
        found.append(ROW | where | changes.get(rank, {}))
    return found


def judged(changes=None, measurements=(), **more):
    values = {"request.backend": "gloo", "host.nvidia_cards": []} | more
    if changes is not None:
        values |= {"collectives.ranks": rows(changes), "collectives.trouble": TROUBLE}
    found = judge(Facts({name: Fact(value, "a test") for name, value in values.items()}), measurements)
    return {one.id: one for one in found if one.severity == "problem"}, found


def test_a_run_without_fault_gets_one_line_and_says_that_it_was_the_cpu():
    problems, found = judged(measurements=[MEASURED])
    assert not problems
    assert [one.id for one in found] == ["cuda-not-exercised", "collectives-right"]
    assert found[1].title.startswith("4 ranks exchanged data, 1 messages up to 1 MiB")
    _, found = judged(measurements=[MEASURED, MEASURED | {"shape": [8]}])
    assert found[1].title.startswith("4 ranks exchanged data, 2 messages up to 1 MiB")


def test_one_rank_is_told_that_it_exchanged_nothing():
    problems, found = judged(measurements=[MEASURED | {"ranks": 1}])
    assert not problems
    assert [one.id for one in found] == ["cuda-not-exercised", "collectives-alone"]


def test_a_run_without_measurements_is_no_success():
    assert set(judged()[0]) == {"nothing-measured"}


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({2: {"ended": KILLED}}, "rank-died", "Rank 2 (node 1, local rank 0) died, killed by signal 9, in all-reduce"),
        ({2: {"ended": KILLED | {"exit_code": 3}}}, "rank-died", "exit code 3"),
        ({1: {"ended": {"how": "silent", "lines": []}, "silent_seconds": 99.5}}, "rank-silent", "for 99.5 s"),
        ({0: {"ended": {"how": "silent", "silent_seconds": 180.0}}, 1: {"ended": WAITED}}, "rank-silent", "for 180.0"),
        ({3: {"alive": False, "silent_seconds": 61.0}}, "rank-silent", "Rank 3 (node 1, local rank 1) fell silent"),
        ({1: {"arrived": False, "alive": False}}, "rank-missing", "Of 4 ranks rank 1 did not come within 60.0 s"),
        (
            {0: {"number": 6}},
            "collective-timeout",
            "Rank 0 waited for more than 60.0 s in all-reduce of 1 MiB, and ranks",
        ),
        ({}, "collective-timeout", "Ranks 0-3 waited for more than 60.0 s in all-reduce of 1 MiB, and all ranks had"),
        ({1: {"ended": LOST}}, "peer-lost", "Rank 1 (node 0, local rank 1) lost its connection"),
        ({1: {"ended": LOST, "alive": False}}, "peer-lost", "Rank 1"),
        ({1: {"ended": LOST, "alive": False, "arrived": False}}, "peer-lost", "Rank 1"),
        (
            {1: {"ended": LOST | {"lines": ["CUDA out of memory"]}}},
            "rank-failed",
            "failed in all-reduce of 1 MiB: CUDA out",
        ),
        ({1: {"ended": {"how": "error", "lines": []}}}, "rank-failed", "without a word"),
        ({1: {"ended": {"how": "error", "lines": []}, "step": None}}, "rank-failed", "before its first step"),
    ],
)
def test_the_rank_to_blame_is_named_with_its_place(changes, expected, words):
    problems, _ = judged(changes)
    assert set(problems) == {expected}
    assert words in problems[expected].title


def test_the_evidence_is_of_those_who_did_not_come_and_else_of_those_who_wait():
    problems, _ = judged({0: {"number": 6}, 1: {"number": 6}})
    assert [line[:6] for line in problems["collective-timeout"].evidence] == ["rank 2", "rank 3"]
    assert [line[:6] for line in judged({})[0]["collective-timeout"].evidence] == [f"rank {at}" for at in range(4)]
    assert set(judged(**{"collectives.trouble": TROUBLE})[0]) == {"nothing-measured"}  # of no rank there is


def test_the_last_words_of_a_rank_are_its_evidence():
    said = [f"line {at}" for at in range(6)]
    problems, _ = judged({2: {"ended": KILLED | {"lines": said}}})
    assert problems["rank-died"].evidence == tuple(f"rank 2: line {at}" for at in (2, 3, 4, 5))


@pytest.mark.parametrize(
    "root",
    [
        {"ended": KILLED},
        {"alive": False, "silent_seconds": 70.0},
        {"ended": LOST | {"lines": ["Unable to find address for: ib0"]}},
        {"arrived": False, "alive": False, "node": None},
    ],
)
def test_what_one_ranks_end_does_to_the_others_is_not_told_beside_it(root):
    problems, _ = judged({rank: {"ended": LOST} for rank in (0, 1, 2)} | {3: root})
    assert len(problems) == 1
    assert "peer-lost" not in problems


def test_a_rank_that_pytorch_aborts_since_it_lost_another_is_not_told_beside_that_one():
    said = ["terminate called after throwing an instance of 'c10::DistBackendError'"]
    said += ["NCCL error: remote process exited or there was a network error, NCCL version 2.30.7"]
    aborted = KILLED | {"exit_code": -6, "lines": said}
    _, found = judged({0: {"ended": aborted}, 2: {"ended": KILLED}})
    assert [one.title[:6] for one in found if one.severity == "problem"] == ["Rank 2"]
    assert "killed by signal 6" in judged({0: {"ended": aborted}})[0]["rank-died"].title


def test_ranks_that_fail_in_the_same_way_are_one_finding():
    ended = LOST | {"lines": ["NCCL error", "Last error:", "Bootstrap : no socket interface found"]}
    problems, found = judged({rank: {"ended": ended} for rank in range(4)})
    assert set(problems) == {"no-socket-interface"}
    assert len([one for one in found if one.severity == "problem"]) == 1
    assert problems["no-socket-interface"].title.startswith(
        "Ranks 0-3 found no network interface to use: Bootstrap : no"
    )
    assert len(problems["no-socket-interface"].evidence) == 4


# NCCL 2.30.7, and what older ones say; gloo as PyTorch 2.13 has it.
@pytest.mark.parametrize(
    ("kind", "lines", "told"),
    [
        ("no-socket-interface", ["ncclInvalidUsage: x", "Last error:", "Bootstrap : no socket interface found"], 2),
        ("no-socket-interface", ["NCCL WARN NET/Socket : no interface found"], 0),
        (
            "no-socket-interface",
            ["[enforce fail at tcp/device.cc:84] ifa != nullptr. Unable to find address for: ib0"],
            0,
        ),
        (
            "ranks-share-gpu",
            ["x", "Last error:", "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1b000"],
            2,
        ),
        ("ranks-share-gpu", ["Multiple Ranks are using the same GPU/Partition. Set NCCL_MULTI_RANK_GPU_ENABLE=1"], 0),
        ("versions-differ", ["Mismatched NCCL version detected : rank 0 version 22805 rank 1 version 23007"], 0),
        ("shared-memory-too-small", ["Error: failed to extend /dev/shm/nccl-fjwOOB to 5967876 bytes"], 0),
        ("shared-memory-too-small", ["Call to posix_fallocate failed : No space left on device"], 0),
        (
            "shared-memory-too-small",
            [
                "NCCL error in: ProcessGroupNCCL.cpp:3690, unhandled system error (run with NCCL_DEBUG=INFO)",
                "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.",
                "Last error:",
                "Error while creating shared memory segment /dev/shm/nccl-XbYJsB (size 9637888)",
            ],
            3,
        ),
        (
            "peer-unreachable",
            ["socketPollConnect: connect to 10.0.0.1<4> returned No route to host, exceeded error retry"],
            0,
        ),
        (
            "peer-unreachable",
            ["connectFullMesh failed: timed out connecting: SO_ERROR: Connection refused, remote=[127"],
            0,
        ),
        ("nccl-cuda-error", ["unhandled cuda error", "Last error:", "Cuda failure 2 'out of memory'"], 2),
        (
            "nccl-system-error",
            ["unhandled system error", "Last error:", "Call to bind failed: Address already in use"],
            2,
        ),
        (
            "peer-lost",
            ["remote process exited", "Last error:", "socketProgress: Connection closed by remote peer n1<4>"],
            2,
        ),
        (None, ["RuntimeError: no such thing"], 0),
        (None, ["NCCL error", "Last error:", "of a kind that is not on file"], 2),
    ],
)
def test_the_line_that_matters_is_found_among_what_libraries_say(kind, lines, told):
    assert kind_of(lines) == (kind, lines[told])


def test_lines_may_be_indented_and_may_end_with_the_announcement():
    assert kind_of(["  NCCL error", "  Last error:", "  of another kind"]) == (None, "of another kind")
    assert kind_of(["NCCL error", "Last error:"]) == (None, "NCCL error")
    assert kind_of([]) == (None, "without a word")


def test_no_words_are_known_twice():
    words = [one for entry in part("collectives").values() for one in entry.get("says", ())]
    assert len(set(words)) == len(words)


def test_what_is_found_before_anything_is_sent_names_the_ranks():
    row = [HERE | {"rank": rank, "node": 0, "local_rank": rank} for rank in range(3)]
    row[2] |= {"torch": "2.11.0", "uuid": "GPU-1", "device": "cuda:0"}
    row[1] |= {"uuid": "GPU-1", "device": "cuda:0"}
    row[0] |= {"device": None}
    problems, _ = judged(**{"collectives.roll": row})
    assert problems["versions-differ"].title.endswith("torch 2.13.0 (ranks 0, 1), 2.11.0 (rank 2).")
    assert problems["ranks-share-gpu"].title.startswith("Ranks 1, 2 have")
    assert "PyTorch shows none to rank 0." in problems["collectives-need-gpu"].title
    assert problems["collectives-need-gpu"].evidence == ("rank 0: node 0, local rank 0",)
    shared = [f"rank {at}: cuda:0 (node 0, local rank {at})" for at in (1, 2)]
    assert problems["ranks-share-gpu"].evidence == ("GPU GPU-1", *shared)


def test_each_rank_with_wrong_results_is_named_once_with_the_first():
    one = {"operation": "all-reduce", "size": 4096, "rank": 2, "index": 7, "expected": 12, "found": "nan"}
    told = [one, one | {"size": 8192}, one | {"rank": 0, "operation": "broadcast"}]
    roll = [HERE | {"rank": rank, "node": 0, "local_rank": rank} for rank in range(3)]
    _, found = judged(measurements=[MEASURED], **{"collectives.wrong": told, "collectives.roll": roll})
    titles = [one.title for one in found if one.id == "collective-wrong"]
    assert titles == [
        "all-reduce of 4 KiB gave a wrong result on rank 2 (node 0, local rank 2): element 7 is nan instead of 12.",
        "broadcast of 4 KiB gave a wrong result on rank 0 (node 0, local rank 0): element 7 is nan instead of 12.",
    ]
    assert "collectives-right" not in [one.id for one in found]


def test_what_torchrun_and_the_process_of_rank_0_saw_counts_where_the_ranks_said_nothing():
    failures = {"first": 1, "failures": [{"rank": 0, "exit_code": -15}, {"rank": 1, "exit_code": -9}]}
    problems, _ = judged(**{"collectives.torchrun": failures})
    assert problems["rank-died"].title.startswith(
        "Rank 1 (node 0, local rank 1) died, killed by signal 9, at its start"
    )
    told = {"collectives.torchrun": failures, "torchrun.worker.0": {"last_step": "in all-reduce"}}
    assert ", killed by signal 9, in all-reduce" in judged(**told)[0]["rank-died"].title
    problems, _ = judged(
        **{"collectives.lead": KILLED | {"node": 0, "local_rank": 0}, "collectives.torchrun": failures}
    )
    assert problems["rank-died"].title.startswith("Rank 0 (node 0, local rank 0) died, killed by signal 9")
    crashed = {"finished": False, "exit_code": 1, "stderr": ["ImportError"], "last_step": "in torchrun"}
    one = judged(**{"torchrun.worker.0": crashed})[0]["torchrun-failed"]
    assert one.evidence == ("stderr: ImportError",)
    assert "exit code 1" in one.title
    assert "in torchrun" in one.title
    late = {"finished": False, "exit_code": -9, "timed_out": True, "stderr": [f"line {at}" for at in range(6)]}
    one = judged(**{"torchrun.worker.0": late})[0]["torchrun-failed"]
    assert one.evidence == tuple(f"stderr: line {at}" for at in (2, 3, 4, 5))
    assert "by our deadline" in one.title
    assert "at its start" in one.title


def test_without_a_gpu_nccl_has_nothing_to_run_on():
    assert set(judged(**{"request.backend": "nccl"})[0]) == {"collectives-need-gpu"}


ODD = nested([*HERE, *ROW, *KILLED, "rank", "ended", "first", "failures"])


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.sampled_from(
            [f"collectives.{name}" for name in ("ranks", "trouble", "roll", "wrong", "lead", "torchrun")]
            + ["torchrun.worker.0", "request.backend", "cuda.devices"]
        ),
        ODD | st.lists(st.dictionaries(st.sampled_from([*HERE, *ROW, "rank", "ended"]), ODD), max_size=3),
    )
)
def test_no_facts_whatever_make_a_rule_raise(values):
    result = judge(Facts({name: Fact(value, "a test") for name, value in values.items()}), [])
    assert {one.id for one in result} <= set(catalogue())


def test_two_real_gpus_are_well():
    record = json.loads(Path(__file__).parents[1].joinpath("data/h100-x2-collectives.json").read_text())
    found = judge(Facts.from_json(record["facts"]), record["measurements"])
    assert [one.id for one in found if one.severity in ("problem", "warning")] == []
    assert {one.id for one in found} == {one["id"] for one in record["findings"]}
    largest = [row for row in record["measurements"] if row["shape"] == [1 << 30]]
    assert all(250 < row["bus_gb_s"] < 450 for row in largest)  # 18 NVLinks 4.0 carry 25 GB/s each
