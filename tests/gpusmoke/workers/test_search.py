"""The search for the fastest shape, on a device whose speed by shape is ours: it is found, within its time."""

import math
import random

import pytest

pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpusmoke.commands.bench import SECONDS
from gpusmoke.measuring.dtypes import DTYPES
from gpusmoke.measuring.shapes import CUBE, Item, candidates
from gpusmoke.workers import search as module
from gpusmoke.workers.product import MEMORY_SHARE, bytes_needed
from gpusmoke.workers.search import FINALISTS, TIE, search, winner

BUDGET = SECONDS["search"]


def speeds(fastest, seed=1, swing=0.0):
    """A speed for each shape, at least 5 % below that of the fastest; `swing` as of an H100 that comes to rest."""
    draw = random.Random(seed)  # noqa: S311 - not a secret
    levels = {shape: draw.uniform(100, 190) for shape in candidates()} | {fastest: 200.0}

    def rate(item, now):
        return levels.get(item.shape, 150.0) * (1 + swing * math.exp(-now / 4) * math.cos(2 * math.pi * now))

    return rate


def told(listener):
    return listener.facts["bench.0.search"]["rungs"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_fastest_shape_is_found_among_all_within_the_time(virtual, listener, seed):
    fastest = random.Random(seed).choice(candidates())  # noqa: S311
    worker = virtual(speeds(fastest, seed, swing=0.1))
    search(worker, "bf16", ["NT"], BUDGET)
    assert len(listener.measurements) == FINALISTS
    found = listener.facts["bench.0.search"]
    assert (tuple(found["shape"]), found["layout"]) == (fastest, "NT")
    assert found["value"] == pytest.approx(200, rel=0.02)
    assert found["value"] == max(row["value"] for row in listener.measurements)
    assert worker.device.now < 1.2 * BUDGET
    assert {(row["regime"], row["dtype"], row["layout"]) for row in listener.measurements} == {
        ("settled", "bf16", "NT")
    }


def test_the_second_rung_has_a_third_of_the_first(virtual, listener):
    search(virtual(speeds((2048, 8192, 13312))), "bf16", ["NT"], BUDGET)
    sizes = [rung["shapes"] for rung in told(listener)]
    assert sizes == [120, 40]
    # Both have about as much time, so that the fewer there are the better they are known.
    seconds = [rung["seconds"] for rung in told(listener)]
    assert max(seconds) < 2 * min(seconds)


def test_layouts_are_candidates_too(virtual, listener):
    def rate(item, now):
        return 200.0 if item.layout == "TN" else 150.0

    search(virtual(rate), "bf16", ["NT", "TN"], BUDGET)
    assert told(listener)[0]["shapes"] == 2 * len(candidates())
    assert {row["layout"] for row in listener.measurements} == {"TN"}


def test_shapes_that_do_not_fit_are_no_candidates_and_finalists_fit_together(virtual, listener):
    worker = virtual(speeds((1024, 4096, 4096)))
    worker.device.free = 2 << 30
    search(worker, "bf16", ["NT"], BUDGET)
    assert 0 < told(listener)[0]["shapes"] < len(candidates())
    assert listener.facts["bench.0.search"]["shape"] == [1024, 4096, 4096]
    measured = [tuple(row["shape"]) for row in listener.measurements]
    assert 1 <= len(measured) < FINALISTS
    needed = sum(bytes_needed(DTYPES["bf16"], shape, worker.device.l2_bytes) for shape in measured)
    assert needed <= MEMORY_SHARE * worker.device.free


@pytest.mark.parametrize(("larger", "wins"), [(1.5 * TIE, True), (0.5 * TIE, False)])
def test_of_shapes_that_are_as_fast_the_smallest_wins(larger, wins):
    small, large, slow = (Item("bf16", (4096, 4096, k)) for k in (4096, 8192, 16384))
    rates = {small: 700.0, large: 700.0 * (1 + larger), slow: 600.0}
    assert winner(rates) == (large if wins else small)
    assert winner(dict(reversed(rates.items()))) == winner(rates)


def test_the_clock_has_come_down_before_the_first_candidate_runs(virtual, listener):
    """Or the first ones, which run while a GPU is still cool, would win."""
    first = []

    def rate(item, now):
        if item.shape != CUBE and not first:
            first.append(now)
        return 150.0

    search(virtual(rate), "bf16", ["NT"], BUDGET)
    assert first[0] > 5.0


def test_what_was_measured_stands_in_the_timeline(virtual, listener):
    worker = virtual(speeds((2048, 8192, 13312)))
    search(worker, "bf16", ["NT"], BUDGET)
    assert {one.name for one in worker.rates} == {"bf16"}
    assert sum(one.ended - one.started for one in worker.rates) > 0.7 * worker.device.now


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.floats(50.0, 300.0), min_size=1, max_size=40))
def test_a_rung_tells_each_its_own_rate_in_its_time(virtual, levels):
    rates = {Item("bf16", (4096, 4096, 4096 + 128 * number)): level for number, level in enumerate(levels)}
    worker = virtual(lambda item, now: rates[item])
    found = module.rung(worker, list(rates), 4.0)
    assert found == {item: pytest.approx(level, rel=1e-6) for item, level in rates.items()}
    assert worker.device.now < 2 * 4.0


def test_the_round_in_which_the_device_still_does_what_came_before_is_not_counted(virtual):
    begun = []

    def rate(item, now):
        return 900.0 if not begun or now < begun[0] + 2.5 * module.TURN_SECONDS else 100.0

    worker = virtual(rate)
    play = worker.play
    worker.play = lambda turns: begun.append(worker.device.now) or play(turns)
    found = module.rung(worker, [Item("bf16", (4096, 4096, k)) for k in (4096, 8192, 12288)], 4.0)
    assert max(found.values()) < 101


def test_a_rung_that_the_memory_does_not_hold_at_once_is_run_in_parts(virtual):
    worker = virtual(lambda item, now: 100.0 + item.shape[2] / 1000)
    worker.device.free = 3 << 30
    field = [Item("bf16", (4096, 4096, k)) for k in (4096, 8192, 12288, 16384)]
    found = module.rung(worker, field, 8.0)
    assert [round(found[item], 1) for item in field] == [104.1, 108.2, 112.3, 116.4]
