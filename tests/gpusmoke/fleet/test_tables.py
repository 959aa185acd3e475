"""A judged fleet as facts: what is usual, how rates are spread, and what tells measurements apart."""

import pytest
from runs_of_nodes import COPY, MODEL, WHAT, gpu, healthy, run

from gpusmoke.findings import fleet as rules
from gpusmoke.findings import skew, slow
from gpusmoke.fleet.nodes import fleet
from gpusmoke.fleet.tables import facts, histogram


def tables(runs):
    """The facts' values without their common prefix."""
    read = fleet(runs)
    measured = slow.groups(read.nodes)
    lines = rules.judge(read, measured)
    made = facts(read, lines, rules.states(read, lines), measured, skew.versions(read.nodes))
    return {name.removeprefix("fleet."): fact.value for name, fact in made.items()}


def test_rates_are_counted_by_whole_per_cent_of_the_median_and_the_fastest_together():
    assert histogram([99.9, 100.0, 70.0, 100.9, 150.0, 300.0], 100.0) == [[70, 1], [99, 1], [100, 2], [150, 2]]
    assert histogram([10.0, 5.0], 20.0) == [[25, 1], [50, 1]]


def test_what_is_usual_is_told_with_the_bound_below_which_a_rate_is_slow():
    (row,) = tables([run(f"n{at}", gpu(rate=rate)) for at, rate in enumerate([100.0, 102.0, 98.0, 100.0, 70.0])])[
        "rates"
    ]
    assert row == {
        "model": "NVIDIA A10",
        "what": "bf16 8192x8192x8192 NT settled",
        "settled_product": True,
        "unit": "TFLOP/s",
        "gpus": 5,
        "median": 100.0,
        "deviation_percent": 2.97,  # 1.4826 times the median of 0, 0, 2, 2 and 30
        "slow_below": pytest.approx(100 - 4 * 1.4826 * 2, abs=0.001),
        "slowest": 70.0,
        "histogram": [[70, 1], [98, 1], [100, 2], [102, 1]],
    }


@pytest.mark.parametrize(("count", "bound"), [(2, None), (3, 95.0)])
def test_among_two_nothing_is_slow(count, bound):
    assert [row["slow_below"] for row in tables(healthy(count))["rates"]] == [bound]


def test_products_come_first_and_what_has_the_same_name_is_told_apart():
    copy = COPY._replace(name="a copy")
    other = WHAT._replace(key="another method", method=3)
    sliced = MODEL._replace(mig=True, multiprocessors="16")
    runs = [*healthy(1, gpu(what=copy)), *healthy(1, gpu(), start=2), *healthy(1, gpu(what=other), start=3)]
    runs += healthy(1, gpu(what=copy, model=sliced), start=4)
    assert [row["what"] for row in tables(runs)["rates"]] == [
        f"{WHAT.name}, method 2",
        f"{WHAT.name}, method 3",
        "a copy, 72 multiprocessors",
        "a copy, 16 multiprocessors in MIG mode",
    ]


def test_nodes_with_several_runs_and_with_another_version_than_most_are_told():
    again = run("n1", gpu(uuid="GPU-1-0"), started="2026-11-27T10:00:00Z", path="n1-2.json")
    odd = run("a", gpu(), software=(("driver", "570.1"),))
    made = tables([*healthy(2), again, odd])
    assert made["counts"] == {"nodes": 3, "gpus": 3, "repeated": 1}
    assert [(row["node"], row["runs"], row["path"]) for row in made["nodes"]] == [
        ("a", 1, "a.json"),
        ("n1", 2, "n1-2.json"),
        ("n2", 1, "n2.json"),
    ]
    drivers = [row for row in made["versions"] if row["what"] == "driver"]
    assert [(row["version"], row["count"], row["nodes"]) for row in drivers] == [("580.1", 2, ""), ("570.1", 1, "a")]
