"""The rules of compare as properties: whatever two runs measured, these hold."""

import copy
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.comparable import cards, difference, name_of, pairs, unfit
from gpusmoke.findings.comparison import TOLERANCE, devices, judge
from gpusmoke.findings.verdict import Verdict, between, of_few, together, waves, widest
from gpusmoke.record import Record

OPPOSITE = {"slower": "faster", "faster": "slower", "no-change": "no-change", "within-spread": "within-spread"}
slowly = settings(max_examples=40)
SHAPES = [[8192, 8192, 8192], [1024, 8448, 16384], [4096, 4096, 4096]]


def row(samples, dtype="bf16", shape=SHAPES[0], **changes):
    return {
        "quantity": "matmul",
        "gpu": 0,
        "device": "a GPU",
        "dtype": dtype,
        "shape": shape,
        "layout": "NT",
        "regime": "settled",
        "backend": "cublas",
        "method": 2,
        "unit": "TFLOP/s",
        "value": sum(samples) / len(samples),
        "samples": samples,
        "telemetry": {"sm_clock_mhz": 1365, "power_w": 698.0, "temperature_c": 62, "throttle_reasons": 4},
        "verified": {"method": "elementwise", "passed": True, "error": 0.1, "bound": 0.2, "repeats_equal": True},
    } | changes


def record(rows, uuid="GPU-1", **facts):
    values = {
        "bench.0": {"name": "a GPU", "multiprocessors": 132},
        "cuda.devices": [{"ordinal": 0, "uuid": uuid}],
        "nvml.gpus": [{"uuid": uuid, "power_limit_w": 700.0, "processes": []}],
        "nvml.driver_version": "580.159.04",
        "torch.version": "2.12.1",
        "torch.cuda": "13.0",
    } | {name.replace("__", "."): value for name, value in facts.items()}
    told = Facts({name: Fact(value, "a test") for name, value in values.items()})
    return Record("bench", "2026-11-26T02:17:51Z", facts=told, measurements=rows)


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


@given(st.floats(-0.7, 0.7), st.floats(0, 0.5), st.floats(0.001, 0.4), st.floats(0, 0.5))
def test_a_verdict_needs_more_than_the_tolerance_and_more_than_the_spread(change, spread, tolerance, more):
    kind = Verdict(change, spread, tolerance).kind
    assert (kind == "slower") == (math.exp(change) < 1 - tolerance and -change > spread) or math.isclose(
        math.exp(abs(change)), 1 / (1 - tolerance)
    )
    if kind == "no-change":
        assert Verdict(change, spread + more, tolerance).kind == kind
    if kind in ("slower", "faster"):
        assert Verdict(change, spread + more, tolerance).kind in (kind, "within-spread")


def oscillation(rounds, each=0.25, period=1.0, height=0.04):
    """Mean rates of successive rounds of `each` seconds, relative to the whole."""
    step = 2 * math.pi * each / period
    return [1 + height * (math.cos(i * step) - math.cos((i + 1) * step)) / step for i in range(rounds)]


@pytest.mark.parametrize("rounds", [17, 23, 30, 41])
@pytest.mark.parametrize("each", [0.1, 0.25])
def test_the_spread_covers_the_error_of_an_oscillating_mean(rounds, each):
    rates = oscillation(rounds, each)
    error = abs(sum(rates) / rounds - 1)
    assert error < widest(rates) < 0.04


def test_the_spread_of_what_drifts_is_wider_than_the_rounds_alone_tell():
    drift = [1 + 0.001 * at for at in range(40)]
    naive = 1.96 * 0.0117 / math.sqrt(40)
    assert widest(drift) > 2 * naive


def test_a_spread_needs_rounds():
    assert widest([1.0, 1.1, 0.9]) == math.inf
    assert together([[1.0, 1.1, 0.9]]) == math.inf
    assert between([([1.0] * 3, [0.5] * 3)], 0.01).kind == "within-spread"
    # Those without enough of them don't spoil what the others tell.
    assert between([([1.0] * 3, [0.5] * 3), ([2.0] * 9, [1.0] * 9)], 0.01).kind == "slower"
    assert between([([1.0] * 9, [0.5] * 3), ([2.0] * 9, [2.0] * 9)], 0.01).kind == "no-change"
    assert between([([1.0] * 4, [0.5] * 4)], 0.01).kind == "slower"


def test_the_spread_is_that_of_both_runs():
    steady, restless = [1.0] * 8, [0.9, 1.1] * 4
    spread = between([(steady, restless)], 0.01).spread
    assert between([(restless, steady)], 0.01).spread == spread > 0
    assert between([(restless, restless)], 0.01).spread == pytest.approx(math.sqrt(2) * spread)


def test_the_mean_of_products_that_share_rounds_is_steadier_than_each():
    up, down = oscillation(20), [2 - rate for rate in oscillation(20)]
    assert together([up, down]) < 1e-6 < widest(up)
    assert together([[700 * rate for rate in up], down]) < 1e-6  # however fast each is


@given(st.lists(st.floats(-0.1, -0.001) | st.floats(0.001, 0.1), min_size=2, max_size=8))
def test_no_product_is_told_by_a_wave_that_nobody_answers(changes):
    middle = sum(changes) / len(changes)
    for change, explained in zip(changes, waves(changes), strict=True):
        others = [abs(one - middle) for one in changes if (one - middle) * change < 0]
        assert explained == pytest.approx(2 * max(others, default=0.0))


@given(st.lists(st.floats(1, 2), min_size=1, max_size=9), st.floats(0.3, 3))
def test_few_samples_differ_only_where_their_ranges_do_not_meet(rates, factor):
    found = of_few(rates, [rate * factor for rate in rates], 0.05)
    assert found.change == pytest.approx(math.log(factor))
    if found.kind == "slower":
        assert max(rates) * factor < max(rates)


def test_the_range_of_few_samples_is_that_from_the_tenth_to_the_ninetieth_of_a_hundred():
    rates = [float(rate) for rate in range(95, 106)]
    assert of_few(rates, rates, 0.05).spread == pytest.approx(0.04 + 0.04)


def test_gpus_of_one_uuid_belong_together_and_of_one_ordinal_where_the_models_agree():
    old = record([row([1.0] * 5)])
    assert [pair.another_card for pair in pairs(old, record([row([1.0] * 5)]))] == [False]
    assert [pair.another_card for pair in pairs(old, record([row([1.0] * 5)], uuid="GPU-2"))] == [True]
    assert [pair.another_card for pair in pairs(old, record([row([1.0] * 5)], uuid=None))] == [False]
    other = record([row([1.0] * 5)], bench__0={"name": "a GPU", "multiprocessors": 114})
    assert pairs(old, other) == []
    assert "132 multiprocessors, and a GPU with 114 multiprocessors" in difference(old, other)


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


def test_a_gpu_that_has_been_found_by_its_uuid_is_not_taken_for_the_one_in_its_old_place():
    def gpus(*uuids):
        devices = [{"ordinal": at, "uuid": uuid} for at, uuid in enumerate(uuids)]
        sizes = {f"bench.{at}": {"multiprocessors": 132} for at in range(len(uuids))}
        return record([row([1.0] * 5, gpu=at) for at in range(len(uuids))], cuda__devices=devices, **sizes)

    def numbers(older, newer):
        return [(pair.older.gpu, pair.newer.gpu) for pair in pairs(older, newer)]

    assert numbers(gpus("GPU-a"), gpus("GPU-b", "GPU-a")) == [(0, 1)]
    assert numbers(gpus("GPU-a", "GPU-b"), gpus("GPU-c", "GPU-a")) == [(0, 1)]
    assert numbers(gpus("GPU-a", "GPU-b"), gpus("GPU-b", "GPU-a")) == [(1, 0), (0, 1)]
    # Those without a UUID have nothing but their place.
    assert numbers(gpus("GPU-a", None), gpus("GPU-a", None)) == [(0, 0), (1, 1)]
    assert numbers(gpus("GPU-a", None), gpus(None, "GPU-a")) == [(0, 1)]


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


def test_a_verdict_is_kept_in_per_cent():
    told = Verdict(math.log(0.9), 0.0125, 0.015, math.log(0.989)).to_json()
    assert told == {
        "change_percent": -10.0,
        "spread_percent": 1.25,
        "tolerance_percent": 1.5,
        "temperature_percent": -1.1,
        "verdict": "slower",
    }
    unknown = Verdict(math.log(0.9), math.inf, 0.015)
    assert unknown.to_json()["spread_percent"] is None
    assert unknown.words()["spread"] == "unknown, with so few rounds"
    assert (unknown.words()["change"], unknown.words()["direction"]) == ("10.0", "slower")
    assert Verdict(0.1, 0.2, 0.015).words()["direction"] == "faster"


def moved(quantity, rate, **telemetry):
    copy = row([rate] * 5, dtype=None, shape=[1 << 31], layout=None, quantity=quantity, backend="cuda")
    return copy | ({"telemetry": telemetry} if telemetry else {})


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


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "bf16 8192x8192x8192 NT settled"),
        ({"backend": "nvcc-mma", "regime": "burst"}, "bf16 8192x8192x8192 NT burst nvcc-mma"),
        ({"backend": "cpu"}, "bf16 8192x8192x8192 NT settled"),
    ],
)
def test_a_measurement_is_named_after_the_library_only_where_it_is_not_the_usual_one(changes, name):
    assert name_of(row([1.0], **changes)) == name


def on_cpu(machine="x86_64", threads=4):
    rows = [row([1.0] * 5, gpu=None, device="CPU", backend="cpu", telemetry={"reason": "not a GPU"})]
    return record(rows, bench__0={"device": "cpu", "threads": threads}, host__machine=machine)


def test_runs_on_a_cpu_are_compared_on_the_same_kind_of_machine_alone():
    assert difference(on_cpu(), on_cpu()) is None
    assert difference(on_cpu(None), on_cpu(None)) is None
    assert difference(on_cpu(), on_cpu("aarch64")) == "the kind of machine differs: x86_64 and aarch64"
    assert difference(on_cpu(), on_cpu(threads=8)) == "the number of CPU threads differs: 4 and 8"
    assert difference(on_cpu(), record([row([1.0] * 5)])).startswith("they measured different GPUs: the CPU, and a GPU")


def test_what_neither_run_tells_does_not_keep_them_apart():
    silent = dict.fromkeys(("nvml__driver_version", "torch__version", "torch__cuda"))
    known, unknown = record([row([1.0] * 5)]), record([row([1.0] * 5)], **silent)
    assert difference(unknown, unknown) is None
    assert difference(known, unknown) == "the driver's major version differs: 580 and none"
    by_the_kernel = record([row([1.0] * 5)], nvml__driver_version=None, host__kernel_module="580.65.06")
    assert difference(known, by_the_kernel) is None


@pytest.mark.parametrize(("command", "rows", "why"), [("audit", [], "record of audit"), ("bench", [], "no settled")])
def test_what_holds_no_rates_is_unfit(command, rows, why):
    assert why in unfit(record(rows)._replace(command=command))


@pytest.mark.parametrize(
    ("faster", "words"), [(False, "is lower (1365 to 1228 MHz)"), (True, "is higher (1228 to 1365")]
)
def test_the_same_clock_explains_both_directions(faster, words):
    quick, slow = record([row([700.0] * 5)]), record([row([630.0] * 5, telemetry={"sm_clock_mhz": 1228})])
    (found,) = judge(slow, quick) if faster else judge(quick, slow)
    assert f"the SM clock {words}" in found.title


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ({"processes": 0, "utilisation_percent": 0}, None),
        ({"processes": 0, "utilisation_percent": 5}, None),
        ({"processes": None, "utilisation_percent": None}, None),
        ({"processes": 0, "utilisation_percent": 40}, "another process used the GPU meanwhile (40 % busy"),
        ({"processes": 2, "utilisation_percent": 0}, "2 other processes used the GPU meanwhile"),
        ({"processes": 1, "utilisation_percent": None}, "another process used the GPU meanwhile."),
    ],
)
def test_another_process_is_named_where_there_was_one(others, named):
    alone = {"processes": 0, "utilisation_percent": 0}
    old = record([row([700.0] * 5)], **{"bench.0.others": alone})
    new = record([row([600.0] * 5)], **{"bench.0.others": others})
    (found,) = judge(old, new)
    assert (named or "none of clock, power, another process explains it") in found.title
    if named:  # one that was there both times explains nothing
        crowd = record([row([700.0] * 5)], **{"bench.0.others": others})
        assert "none of clock, power, another process" in judge(crowd, new)[0].title
        assert "used the GPU before" in judge(new, old)[0].title


def test_a_memory_clock_explains_slow_copies_and_the_sm_clock_does_not():
    def copies(rate, **telemetry):
        return record([row([700.0] * 5), moved("memory-copy", rate, **telemetry)])

    fast = copies(3000.0, sm_clock_mhz=1900, memory_clock_mhz=2619)
    cause = judge(fast, copies(1500.0, sm_clock_mhz=900, memory_clock_mhz=1310))[1]
    assert cause.title.endswith("the memory clock is lower (2619 to 1310 MHz).")
    cause = judge(fast, copies(1500.0, sm_clock_mhz=900, memory_clock_mhz=2619))[1]
    assert cause.title.endswith("none of clock, power, another process explains it.")


NOTHING = "none of clock, power, another process explains it"


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ({"sm_clock_mhz": 1290}, "the SM clock is lower (1365 to 1290 MHz)"),  # by half as much as the rate
        ({"sm_clock_mhz": 1300}, NOTHING),
        ({"sm_clock_mhz": 1500}, NOTHING),
        ({"sm_clock_mhz": 0}, NOTHING),
        ({"power_w": 676.0}, "the power drawn at the power cap is lower (698 to 676 W)"),
        ({"power_w": 678.0}, NOTHING),
        ({"power_w": 600.0, "throttle_reasons": 0}, NOTHING),  # it was not at the cap
        ({"throttle_reasons": 0x44}, "the clock was held down by: hardware thermal slowdown"),
        ({"throttle_reasons": 0x5}, NOTHING),
        ({"sm_clock_mhz": 1228, "temperature_c": 66}, "the SM clock is lower (1365 to 1228 MHz)"),
        (
            {"sm_clock_mhz": 1228, "temperature_c": 67},
            "the SM clock is lower (1365 to 1228 MHz), and the temperature is higher (62 to 67 C)",
        ),
        ({"temperature_c": 80}, NOTHING),  # heat alone slows nothing down
    ],
    ids=str,
)
def test_a_reading_explains_what_it_is_large_enough_for(readings, reason):
    # What is judged has no part in it: a burst that is a tenth slower, beside a product that is not.
    product, burst = row([700.0] * 5), row([700.0] * 5, regime="burst")
    slow = row([630.0] * 5, regime="burst", telemetry=burst["telemetry"] | readings)
    cause = judge(record([product, burst]), record([product, slow]))[1]
    assert cause.title.rstrip(".").endswith(f": {reason}")


@pytest.mark.parametrize(
    ("limit", "reason"),
    [(695.0, "the power limit is lower (700 to 695 W)"), (699.6, NOTHING), (750.0, NOTHING), (None, NOTHING)],
)
def test_a_lower_power_limit_explains_and_a_higher_one_does_not(limit, reason):
    new = record([row([600.0] * 5)], nvml__gpus=[{"uuid": "GPU-1", "power_limit_w": limit}])
    assert judge(record([row([700.0] * 5)]), new)[0].title.rstrip(".").endswith(f": {reason}")


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        ((1, 0), (3, 0), "3 other processes used the GPU meanwhile"),
        ((3, 0), (1, 0), NOTHING),
        ((1, 10), (1, 40), "another process used the GPU meanwhile (40 % busy while bench rested)"),
        ((1, 10), (1, 15), NOTHING),
        ((0, 5), (0, 6), "another process used the GPU meanwhile (6 % busy while bench rested)"),
    ],
)
def test_more_of_other_processes_than_before_explains(before, now, reason):
    def others(at, rate):
        told = dict(zip(("processes", "utilisation_percent"), at, strict=True))
        return record([row([rate] * 5)], **{"bench.0.others": told})

    (found,) = judge(others(before, 700.0), others(now, 600.0))
    assert found.title.rstrip(".").endswith(f": {reason}")


def test_what_is_no_copy_within_the_memory_is_explained_by_the_sm_clock():
    def both(share, sm, memory):
        clocks = {"sm_clock_mhz": sm, "memory_clock_mhz": memory}
        burst = row([700.0 * share] * 5, regime="burst", telemetry=clocks)
        return record([row([700.0] * 5), burst, moved("memory-copy", 3000.0 * share, **clocks)])

    cause = judge(both(1.0, 1900, 2619), both(0.5, 900, 1310))[1]
    assert "(and 1 more)" in cause.title
    assert cause.title.endswith(": the SM clock is lower (1900 to 900 MHz).")


def test_the_limit_of_another_gpu_explains_nothing():
    gpus = [{"uuid": "GPU-1", "power_limit_w": 700.0}, {"uuid": "GPU-2", "power_limit_w": 400.0}]
    old, new = record([row([700.0] * 5)]), record([row([600.0] * 5)], nvml__gpus=gpus)
    assert "none of clock, power" in judge(old, new)[0].title
    lowered = record([row([600.0] * 5)], nvml__gpus=[{"uuid": "GPU-1", "power_limit_w": 500.0}])
    assert "the power limit is lower (700 to 500 W)" in judge(old, lowered)[0].title
