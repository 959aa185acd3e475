"""The rules of compare as properties: whatever two runs measured, these hold."""

import copy
import math

import pytest
from compared_runs import SHAPES, moved, record, row
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpusmoke.findings.comparable import cards, difference
from gpusmoke.findings.comparison import TOLERANCE, devices, judge

OPPOSITE = {"slower": "faster", "faster": "slower", "no-change": "no-change", "within-spread": "within-spread"}
slowly = settings(max_examples=40)


@st.composite
def runs(draw, wobble=0.03):
    """A run of some products, each with its rounds about its own level."""
    dtypes = draw(st.lists(st.sampled_from(["bf16", "fp8", "fp32"]), min_size=1, max_size=3, unique=True))
    rows = []
    for dtype in dtypes:
        count = draw(st.integers(4, 24))
        for shape in SHAPES[: draw(st.integers(1, 3))]:
            level = draw(st.floats(10, 1500))
            noise = st.floats(1 - wobble, 1 + wobble)
            rows.append(
                row([level * one for one in draw(st.lists(noise, min_size=count, max_size=count))], dtype, shape)
            )
    return record(rows)


def times(run, factors):
    """The run with each row's rates multiplied by its factor, or by those of its samples."""
    rows = copy.deepcopy(run.measurements)
    for one, factor in zip(rows, factors, strict=True):
        each = factor if isinstance(factor, list) else [factor] * len(one["samples"])
        one["samples"] = [rate * share for rate, share in zip(one["samples"], each, strict=True)]
        one["value"] = sum(one["samples"]) / len(one["samples"])
    return run._replace(measurements=rows)


def kinds(older, newer, tolerance=TOLERANCE):
    return {one.id for one in judge(older, newer, tolerance)}


@slowly
@given(runs())
def test_a_run_is_never_slower_than_itself(run):
    assert kinds(run, run) == {"no-change"}


@slowly
@given(runs())
def test_a_tenth_less_is_always_slower(run):
    slow = times(run, [0.9] * len(run.measurements))
    assert "slower" in kinds(run, slow)
    assert "faster" not in kinds(run, slow)


@slowly
@given(runs(), runs(), st.data())
def test_it_is_symmetric(run, other, data):
    newer = times(run, data.draw(st.lists(st.floats(0.5, 1.5), min_size=len(run.measurements), max_size=99).map(
        lambda factors: factors[: len(run.measurements)]
    )))  # fmt: skip
    assert kinds(newer, run) == {OPPOSITE[kind] for kind in kinds(run, newer)}
    if not difference(run, other):
        assert kinds(other, run) == {OPPOSITE[kind] for kind in kinds(run, other)}


@slowly
@given(runs(), st.data())
def test_noise_within_the_tolerance_is_never_slower(run, data):
    share = st.floats(1 - TOLERANCE, 1 / (1 - TOLERANCE)).map(lambda one: min(max(one, 0.9851), 1.0151))
    noise = [data.draw(st.lists(share, min_size=(n := len(one["samples"])), max_size=n)) for one in run.measurements]
    assert kinds(run, times(run, noise)) == {"no-change"}


@slowly
@given(runs(), st.lists(st.floats(0.8, 1.1), min_size=9, max_size=9), st.floats(0.5, 1.0))
def test_it_is_monotone_what_is_slower_stays_so_when_all_get_slower_still(run, factors, less):
    count = len(run.measurements)
    newer = times(run, factors[:count])
    assume("slower" in kinds(run, newer))
    assert "slower" in kinds(run, times(newer, [less] * count))


@slowly
@given(runs(), st.lists(st.floats(0.8, 1.1), min_size=9, max_size=9), st.floats(0.001, TOLERANCE))
def test_what_is_slower_stays_so_for_a_smaller_tolerance(run, factors, tolerance):
    newer = times(run, factors[: len(run.measurements)])
    assume("slower" in kinds(run, newer))
    assert "slower" in kinds(run, newer, tolerance)


@slowly
@given(runs(0.002), st.integers(0, 8), st.floats(0.5, 0.9))
def test_one_product_that_got_slower_is_found_among_steady_ones(run, which, share):
    count = len(run.measurements)
    factors = [share if at == which % count else 1.0 for at in range(count)]
    assert "slower" in kinds(run, times(run, factors))


@given(st.integers(2, 8), st.floats(0.001, 0.05), st.floats(0, 1))
def test_a_wave_of_the_power_controller_is_no_change(count, height, phase):
    # Products that share the rounds of one period each see their part of it, here the worst: always the same.
    shapes = [[64, 64, 64 * (at + 1)] for at in range(count)]
    steady = record([row([700.0] * 6, shape=shape) for shape in shapes])
    sines = [math.sin(2 * math.pi * (phase + at / count)) for at in range(count)]
    rows = [row([700.0 * math.exp(height * one)] * 6, shape=shape) for one, shape in zip(sines, shapes, strict=True)]
    assert kinds(steady, record(rows)) == {"no-change"}


def test_what_two_cards_of_one_model_differ_by_is_no_loss():
    """The two H200 of tests/gpusmoke/data differ by 2.4 %, in one run."""
    old = record([row([100.0] * 10)])
    lower = [row([97.6] * 10)]
    assert [one.id for one in judge(old, record(lower))] == ["slower"]
    assert [one.id for one in judge(old, record(lower, uuid="GPU-2"))] == ["another-card", "no-change"]
    much = [row([93.0] * 10)]
    assert [one.id for one in judge(old, record(much, uuid="GPU-2"))] == ["another-card", "slower"]


def test_only_rows_of_both_are_compared():
    old = record([row([1.0] * 5), row([1.0] * 5, dtype="fp8")])
    new = record([row([1.0] * 5), row([1.0] * 5, dtype="fp32")])
    (found,) = devices(old, new, TOLERANCE)
    assert [line.name for line in found.lines] == ["bf16 8192x8192x8192 NT settled"]


FAMILY = "bf16 8192x8192x8192 NT settled"


@pytest.mark.parametrize(
    ("shares", "slower"),
    [
        ({"bf16": [0.986]}, []),
        ({"bf16": [0.984]}, [FAMILY]),
        ({"bf16": [0.984, 0.984]}, ["all 2 settled products"]),
        ({"bf16": [0.98], "fp8": [1.0]}, []),
        ({"bf16": [0.975], "fp8": [1.0]}, [FAMILY]),
        ({"bf16": [0.98, 0.98], "fp8": [1.0, 1.0]}, []),
        ({"bf16": [0.975, 0.975], "fp8": [1.0, 1.0]}, ["all 2 settled bf16 products"]),
        ({"bf16": [0.96, 1.0, 1.0, 1.0]}, []),
        ({"bf16": [0.95, 1.0, 1.0, 1.0]}, [FAMILY]),
        ({"bf16": [0.9, 0.9], "fp8": [0.9, 0.9]}, ["all 4 settled products"]),  # which says it of the formats, too
    ],
)
def test_the_fewer_are_judged_together_the_more_they_may_change(shares, slower):
    """All by 1.5 %, the products of a format by 2.25 %, one of several by 4.5 %."""

    def run(factor):
        sizes = [(dtype, at, share) for dtype, each in shares.items() for at, share in enumerate(each, 1)]
        return record([row([factor(share)] * 5, dtype, [8192, 8192, 8192 * at]) for dtype, at, share in sizes])

    found = judge(run(lambda _: 700.0), run(lambda share: 700.0 * share))
    assert [one.title.split(":")[0] for one in found if one.id == "slower"] == slower


def test_the_widest_tolerance_has_a_meaning_for_single_products_too():
    old = record([*(row([700.0] * 5, shape=shape) for shape in SHAPES), row([700.0] * 5, dtype="fp8")])
    assert kinds(old, times(old, [0.55] * 4), 0.49) == {"no-change"}
    assert kinds(old, times(old, [0.45, 1.0, 1.0, 1.0]), 0.49) == {"no-change", "slower"}


def warm(rate, degrees, reasons=4):
    return record([row([rate] * 5, telemetry={"temperature_c": degrees, "throttle_reasons": reasons})])


@pytest.mark.parametrize(
    ("share", "warmer", "kind"),
    [
        (0.98, 0, "slower"),
        (0.98, 10, "no-change"),  # by 0.11 % a degree
        (0.965, 10, "slower"),
        (1.02, 0, "faster"),
        (1.02, -10, "no-change"),
        (1.0, -15, "slower"),  # it should have been faster
        (1.0, 15, "faster"),
        (0.97, 15, "no-change"),
        (0.965, 15, "slower"),
        (0.965, 40, "slower"),  # what is more than 15 degrees is no excuse
        (1.035, -40, "faster"),
    ],
)
def test_runs_at_the_power_cap_are_judged_as_if_they_had_been_equally_warm(share, warmer, kind):
    assert kinds(warm(700.0, 60), warm(700.0 * share, 60 + warmer)) == {kind}


@pytest.mark.parametrize(("before", "now"), [(0, 4), (4, 0), (0x40, 0x40)])
def test_a_temperature_excuses_nothing_where_the_power_cap_did_not_hold_both(before, now):
    assert kinds(warm(700.0, 60, before), warm(686.0, 75, now)) == {"slower"}


@pytest.mark.parametrize(("before", "now"), [(None, 75), (60, None), (None, None)])
def test_an_unknown_temperature_excuses_nothing(before, now):
    assert kinds(warm(700.0, before), warm(686.0, now)) == {"slower"}


def test_a_temperature_that_matters_is_told_and_the_direction_is_that_of_what_is_judged():
    def title(share, warmer):
        (found,) = judge(warm(700.0, 60), warm(700.0 * share, 60 + warmer))
        return found.title

    assert "NT settled: no change: -1.0 % (tolerance 1.5 %, spread of the rounds 0.0 %)." in title(0.99, 1)
    assert "no change: -0.8 % (tolerance 1.5 %, spread of the rounds 0.0 %; -1.0 % as measured, -0.2 %" in title(
        0.99, 2
    )
    assert "1.6 % slower than before" in title(1.0007, -15)  # and not 0.1 %, by which it is faster
    assert "; +0.1 % as measured, +1.7 % by its temperature): " in title(1.0007, -15)


@pytest.mark.parametrize(
    ("quantity", "least"),
    [
        ("memory-copy", 0.95),
        ("memory-triad", 0.95),
        ("host-to-device", 0.75),
        ("device-to-host", 0.75),
        ("peer-copy", 0.9),
        ("peer-copy-both-ways", 0.9),
    ],
)
def test_a_copy_has_the_tolerance_of_its_path_or_the_wider_one_that_was_asked_for(quantity, least):
    def copies(rate):
        return record([row([700.0] * 5), moved(quantity, rate)])

    assert kinds(copies(100.0), copies(101.0 * least)) == {"no-change"}
    assert kinds(copies(100.0), copies(99.0 * least)) == {"no-change", "slower"}
    assert kinds(copies(100.0), copies(99.0 * least), tolerance=0.3) == {"no-change"}


def test_a_gpu_with_no_settled_product_in_common_is_left_out():
    def run(second):
        return record([row([1.0] * 5), row([1.0] * 5, gpu=1, dtype=second)], bench__1={"multiprocessors": 132})

    assert [one.pair.newer.gpu for one in devices(run("bf16"), run("fp8"), TOLERANCE)] == [0]
    copies = record([row([1.0] * 5), moved("memory-copy", 3000.0) | {"gpu": 1}])
    assert [card.gpu for card in cards(copies)] == [0]


def test_a_format_of_one_product_that_changed_within_its_spread_is_told():
    old = record([*(row([700.0] * 6, shape=[64, 64, 64 * at]) for at in range(1, 9)), row([100.0] * 6, dtype="fp8")])
    noisy = [0.8, 1.1] * 3
    found = judge(old, times(old, [*[1.0] * 8, noisy]))
    assert [(one.id, one.title.split(":")[0]) for one in found] == [
        ("no-change", "all 9 settled products"),
        ("within-spread", "fp8 8192x8192x8192 NT settled"),
    ]
    # Beside others of its format it says nothing: in every second run a wave does that.
    found = judge(old, times(old, [noisy, *[1.0] * 8]))
    assert [one.id for one in found] == ["no-change"]


def test_of_several_that_changed_the_one_that_changed_most_is_named():
    def run(*shares):
        names = ("memory-triad", "memory-copy", "device-to-host")
        return record(
            [row([700.0] * 5), *(moved(name, 100.0 * share) for name, share in zip(names, shares, strict=True))]
        )

    (_, found) = judge(run(1.0, 1.0, 1.0), run(0.8, 0.5, 1.1))
    assert found.title.startswith("memory-copy 2.1 GB (and 1 more): 50.0 % slower")
    assert len(found.evidence) == 2
    (_, found) = judge(run(1.0, 1.0, 1.0), run(1.3, 1.2, 1.0))
    assert found.title.startswith("memory-triad 2.1 GB (and 1 more): 30.0 % faster")


def test_a_run_that_had_not_settled_is_told_beside_its_rate():
    quiet, restless = (record([row([700.0] * 5, settled=at_rest)]) for at_rest in (True, False))
    (found,) = judge(quiet, restless)
    assert found.evidence[0].endswith("temperature 62 to 62 C, the newer had not settled")
    assert "the older had not settled" in judge(restless, quiet)[0].evidence[0]
    assert "settled," not in judge(quiet, quiet)[0].evidence[0]
    unread = record([row([700.0] * 5, telemetry={"reason": "no NVML"})])
    assert judge(quiet, unread)[0].evidence == ("bf16 8192x8192x8192 NT settled: 700 to 700 TFLOP/s (+0.0 %)",)
