"""Links between GPUs, and from GPUs to processors, on facts of our own making."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_gpus import facts, gpu
from odd import nested

from gpusmoke.findings import catalogue
from gpusmoke.findings import links as copies
from gpusmoke.findings.topology import far_from, link, links, numbers, topology
from gpusmoke.presentation import machine


def found(*args, **values):
    return [(one.id, one.gpu) for one in links(facts(*args, **values))]


def test_eight_on_a_switch_are_linked_by_all_their_links():
    machine_of_eight = facts([gpu(at) for at in range(8)])
    assert {one.name for one in topology(machine_of_eight).values()} == {"NV18"}
    assert len(topology(machine_of_eight)) == 28
    assert list(links(machine_of_eight)) == []
    assert machine.links(machine_of_eight) == "Each is linked to each by 18 NVLinks 4.0."


def test_a_gpu_that_does_not_answer_is_not_told_to_be_linked():
    gpus = [gpu(at) for at in range(4)]
    lost = facts([*gpus[:1], {"index": 1, "error": {"code": 15}}, *gpus[2:]])
    assert machine.links(lost) == "GPU 0, 2-3: each is linked to each by 18 NVLinks 4.0."


def test_cards_that_are_wired_to_each_other_have_the_links_between_them():
    to = {0: {"00000000:01:00.0": 4, "00000000:02:00.0": 2}, 1: {"00000000:00:00.0": 4}, 2: {"00000000:00:00.0": 2}}
    wired = facts([gpu(at, "Tesla V100", up=6, to=to[at]) for at in range(3)], order=[2, 0, 1])
    assert [link(wired, *pair).name for pair in ((0, 1), (1, 2), (0, 2))] == ["NV2", "NV4", "NODE"]
    grid = machine.links(wired)
    assert [list(row) for row in grid.rows] == [
        ["GPU 0", "X", "NV2", "NODE"],
        ["GPU 1", "NV2", "X", "NV4"],
        ["GPU 2", "NODE", "NV4", "X"],
    ]


@pytest.mark.parametrize(("status", "name"), [(0, "NV18"), (5, "SYS")])
def test_in_a_virtual_machine_the_driver_says_whether_unknown_ends_are_usable(status, name):
    pair = {"gpus": [0, 1], "ancestor": 50, "nvlink": status}
    hidden = facts([gpu(at, to={"unknown": 18}) for at in (0, 1)], **{"nvml.pairs": [pair]})
    assert link(hidden, 0, 1).name == name


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ([gpu(0, up=17, down=[3])], [("nvlink-down", 0)]),  # its model tells
        ([gpu(0, up=0, down=list(range(18)), to={})], []),  # alone in a virtual machine
        ([gpu(0), gpu(1, up=0, to={})], [("nvlink-down", 1)]),
        ([gpu(0, "NVIDIA H100 NVL", up=12, down=[1, 2, 3, 4, 5, 6])], []),
        ([gpu(0, "NVIDIA H100 NVL", up=12), gpu(1, "NVIDIA H100 NVL", up=8)], [("nvlink-down", 1)]),
        ([gpu(0, "NVIDIA H100 NVL", up=12), gpu(1, "NVIDIA H100 PCIe", up=8)], []),
        ([gpu(0) | {"nvlinks": None}, gpu(1) | {"nvlinks": None}], []),
    ],
)
def test_links_that_are_down_are_told_by_the_model_and_by_siblings(gpus, expected):
    assert found(gpus) == expected


def test_pairs_that_the_driver_refuses_are_named_and_the_gpu_that_all_have_in_common():
    gpus = [gpu(at) for at in range(4)]
    pairs = [
        {"gpus": [a, b], "ancestor": 40, "read": 4 * (b == 3), "write": 0, "nvlink": 0}
        for a in range(4)
        for b in range(a + 1, 4)
    ]
    assert found(gpus, **{"nvml.pairs": pairs}) == [("nvlink-without-peer-access", 3)]
    (one,) = links(facts(gpus, **{"nvml.pairs": pairs}))
    assert "between GPU 0 and 3, 1 and 3, 2 and 3:" in one.title
    over_pcie = [row | {"nvlink": 5} for row in pairs]
    assert found([gpu(at) | {"nvlinks": None} for at in range(4)], **{"nvml.pairs": over_pcie}) == []


@pytest.mark.parametrize(
    ("node", "local", "usable", "far"),
    [
        (1, "32-63,96-127", "0-31", True),
        (1, "32-63,96-127", "0-31,96", False),
        (1, "32-63", None, False),
        (None, "32-63", "0-31", False),  # a virtual machine
        (0, None, "0-31", False),
    ],
)
def test_processors_that_are_all_elsewhere_are_a_note(node, local, usable, far):
    rows = [{"pci": "0000:00:00.0", "node": node, "cpus": local}]
    here = facts([gpu(0)], **{"host.near_cpus": rows, "host.usable_cpus": usable})
    assert far_from(here, 0) is far
    assert [(one.id, one.severity) for one in links(here)] == ([("far-from-its-cpus", "note")] if far else [])


@given(st.sets(st.integers(0, 400)))
def test_lists_of_processors_are_read_as_linux_writes_them(cpus):
    assert numbers(",".join(map(str, sorted(cpus)))) == cpus
    assert numbers("0-3,8,10-11\n".strip()) == {0, 1, 2, 3, 8, 10, 11}
    assert numbers("5-5,a,1-b,-3,") == {5}
    assert numbers(f"{(1 << 16) - 1},{1 << 16},0-99999999999") == {(1 << 16) - 1}
    assert numbers(None) == set()


@pytest.mark.parametrize(
    ("ancestor", "name"),
    [(0, "INT"), (10, "PIX"), (20, "PXB"), (30, "PHB"), (40, "NODE"), (50, "SYS"), (60, "?"), (None, "?")],
)
def test_ways_over_pcie_are_called_as_nvidia_smi_calls_them(ancestor, name):
    pair = {"gpus": [0, 1], "ancestor": ancestor, "nvlink": 0}
    assert link(facts([gpu(at) | {"nvlinks": None} for at in (0, 1)], **{"nvml.pairs": [pair]}), 0, 1).name == name


ODD = nested(["up", "down", "to", "version", "switch", "gpus", "ancestor", "nvlink", "index", "failed", "access"])
NAMES = ["cuda.devices", "nvml.gpus", "nvml.pairs", "host.near_cpus", "host.usable_cpus", "links.0", "links.now"]


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from([*NAMES, "links.worker.0"]), ODD), ODD, ODD)
def test_no_facts_whatever_make_a_rule_or_a_table_raise(values, nvlinks, pair):
    rows = {
        "nvml.gpus": [gpu(0) | {"nvlinks": nvlinks}, gpu(1, to=nvlinks)],
        "nvml.pairs": [{"gpus": [0, 1], "ancestor": pair}],
    }
    odd = facts([gpu(0), gpu(1)], **(rows | values))
    assert {one.id for one in [*links(odd), *copies.judge(odd)]} <= set(catalogue())
    machine.machine(odd)
    machine.links(odd)
