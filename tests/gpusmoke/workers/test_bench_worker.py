"""What bench's child chooses: what is measured, for how long, when it has settled, and what is left out."""

import itertools
import math

import pytest

torch = pytest.importorskip("torch")

from gpusmoke.commands import smoke  # noqa: E402 - needs torch
from gpusmoke.commands.bench import SECONDS  # noqa: E402
from gpusmoke.measuring.dtypes import DTYPES  # noqa: E402
from gpusmoke.measuring.formats import ELEMENT_BYTES  # noqa: E402
from gpusmoke.measuring.shapes import CUBE, Item, items  # noqa: E402
from gpusmoke.workers.bench import BANDWIDTH_SECONDS, COLD_WINDOW, TooLongError, groups, measure  # noqa: E402
from gpusmoke.workers.device import Device, device_failed  # noqa: E402
from gpusmoke.workers.product import MEMORY_SHARE, bytes_needed  # noqa: E402

CUBE_BF16 = Item("bf16", CUBE)
OTHER = Item("bf16", (1024, 8448, 16384))


def steady(item, now):
    return 700.0


# ── How long, and when it has settled ────────────────────────────────────────────────────────────────────────────────


def test_a_steady_rate_is_settled_after_two_windows_and_measured_until_it_is_known(virtual, listener):
    worker = virtual(steady)
    worker.settle([CUBE_BF16], 100.0, COLD_WINDOW)
    (row,) = listener.measurements
    assert (row["regime"], row["settled"], row["statistic"]) == ("settled", True, "mean")
    assert row["value"] == pytest.approx(700, rel=1e-3)
    assert 2 * COLD_WINDOW < worker.device.now < 2 * COLD_WINDOW + 6  # four periods are enough, however much time
    assert len(row["samples"]) >= 4


def test_energy_is_that_of_the_measured_rounds(virtual, listener):
    worker = virtual(lambda item, now: 500.0)
    worker.settle([CUBE_BF16], 20.0, COLD_WINDOW)
    (row,) = listener.measurements
    assert row["joules_per_tflop"] == pytest.approx(1.4, rel=0.01)  # 700 W at 500 TFLOP/s, by the energy counter
    assert row["telemetry"]["sm_clock_mhz"] == 1365
    assert row["percent_of_datasheet"] == pytest.approx(50.5, abs=0.1)
    assert row["percent_of_clock"] == pytest.approx(100 * 500 / (132 * 4096 * 1365e6 / 1e12), abs=0.1)


def test_what_came_before_the_settled_state_is_not_measured(virtual, listener):
    worker = virtual(lambda item, now: 1400 - 70 * min(now, 10.0))
    worker.settle([CUBE_BF16], 60.0, COLD_WINDOW)
    (row,) = listener.measurements
    assert row["settled"] is True
    assert row["value"] == pytest.approx(700, rel=0.01)
    assert max(row["samples"]) < 720
    assert worker.rates[0].rate > 1300  # the timeline has it all


def test_a_rate_that_never_settles_is_measured_when_the_time_is_up_and_says_so(virtual, listener):
    worker = virtual(lambda item, now: 700 * 0.97**now)
    worker.settle([CUBE_BF16], 20.0, COLD_WINDOW)
    (row,) = listener.measurements
    assert row["settled"] is False
    assert 20 <= worker.device.now < 22
    assert row["value"] == pytest.approx(700 * 0.97**16, rel=0.1)


def test_less_than_a_period_of_the_swing_is_never_measured(virtual, listener):
    worker = virtual(lambda item, now: 700 * (1 + 0.05 * math.sin(2 * math.pi * now)))
    worker.settle([CUBE_BF16], 0.1, COLD_WINDOW)
    (row,) = listener.measurements
    assert row["value"] == pytest.approx(700, rel=0.02)
    assert row["settled"] is False


def test_products_in_turn_have_each_its_own_rate(virtual, listener):
    worker = virtual(lambda item, now: 600.0 if item == OTHER else 700.0)
    worker.settle([CUBE_BF16, OTHER], 30.0, COLD_WINDOW)
    assert [(row["shape"], round(row["value"])) for row in listener.measurements] == [
        ([8192, 8192, 8192], 700),
        ([1024, 8448, 16384], 600),
    ]
    one, other = listener.measurements
    assert len(one["samples"]) == len(other["samples"]) >= 4
    assert one["telemetry"]["samples"] + other["telemetry"]["samples"] <= len(worker.device.telemetry.samples)


@pytest.mark.parametrize(
    ("scope", "seconds", "formats"),
    [
        ("quick", SECONDS["quick"], list(ELEMENT_BYTES)),
        ("smoke", smoke.SECONDS, smoke.DTYPES),
        ("default", SECONDS["default"], list(ELEMENT_BYTES)),
        ("full", SECONDS["full"], list(ELEMENT_BYTES)),
    ],
)
def test_everything_is_measured_from_rest_and_settled_within_its_time(
    virtual, listener, monkeypatch, scope, seconds, formats
):
    """On a GPU that swings as an H100 does; what verifying takes has its share of the time and stands still here."""

    def rate(item, now):
        level = {"fp32": 51.0, "fp64": 59.0}.get(item.dtype, 200.0)
        return level * (1 + 0.1 * math.exp(-now / 4) * math.cos(2 * math.pi * now))

    def copies(device, triad):
        device.now += BANDWIDTH_SECONDS
        return iter(())

    monkeypatch.setattr("gpusmoke.workers.bench.transfers", copies)
    worker = virtual(rate, seconds)
    chosen = items(formats, None, ["NT"], scope, on_cpu=False)
    measure(worker, chosen, seconds, bandwidth=scope in ("default", "full"), triad=False)
    seen = [(row["regime"], row["dtype"], tuple(row["shape"]), row["layout"]) for row in listener.measurements]
    wanted = [(item.dtype, item.shape, item.layout) for item in chosen]
    assert seen == [("burst", *one) for one in wanted] + [("settled", *one) for one in wanted]
    assert {row["settled"] for row in listener.measurements if row["regime"] == "settled"} == {True}
    assert worker.device.now < 1.1 * seconds
    assert worker.left_out == []
    assert min(len(row["samples"]) for row in listener.measurements if row["regime"] == "burst") >= 3


@pytest.mark.parametrize(
    ("gpu", "order"),
    [
        (0, "bf16 fp16 tf32 copies"),
        (1, "bf16 fp16 copies tf32"),
        (2, "bf16 copies fp16 tf32"),
        (3, "bf16 fp16 tf32 copies"),
        (None, "bf16 fp16 tf32 copies"),
    ],
)
def test_gpus_that_would_wait_for_each_others_copies_make_them_after_different_formats(
    virtual, listener, monkeypatch, gpu, order
):
    worker, seen = virtual(steady), []
    worker.gpu = gpu
    monkeypatch.setattr(worker, "settle", lambda group, *_: seen.append(group[0].dtype))
    monkeypatch.setattr(worker, "copies", lambda triad: seen.append("copies"))
    measure(worker, [CUBE_BF16, Item("fp16", CUBE), Item("tf32", CUBE)], 20.0, bandwidth=True, triad=False)
    assert " ".join(seen) == order


def test_copies_are_made_also_where_no_product_can_be(virtual, listener, monkeypatch):
    worker, seen = virtual(steady), []

    def refused(item):
        raise NotImplementedError(f"{item.dtype} is not for this GPU")  # as PyTorch does

    worker.product = refused
    monkeypatch.setattr(worker, "copies", seen.append)
    measure(worker, [CUBE_BF16], 20.0, bandwidth=True, triad=True)
    assert seen == [True]


# ── What is refused or left out ──────────────────────────────────────────────────────────────────────────────────────


def test_a_product_that_would_take_too_long_is_refused_where_its_size_was_asked_for(virtual, listener):
    worker = virtual(lambda item, now: 0.5)  # 2.2 s for a cube of 8192
    with pytest.raises(TooLongError, match=r"8192x8192x8192 takes about 2.2 s here: give it more --seconds"):
        worker.burst(Item("bf16", CUBE, fixed=True), 3, budget=16.0)
    assert listener.measurements == []
    worker.burst(Item("bf16", CUBE, fixed=True), 3, budget=24.0)
    worker.burst(Item("bf16", CUBE), 3, budget=8.0)  # one that the kit chose is measured, if only once a burst
    assert [row["value"] for row in listener.measurements] == pytest.approx([0.5, 0.5])


def test_one_that_would_take_minutes_is_not_even_begun(virtual, listener, monkeypatch):
    worker = virtual(steady)
    worker.product = None
    # What a small product tells counts where it tells of less than twice an eighth of the format's time.
    monkeypatch.setattr("gpusmoke.workers.bench.guess", lambda device, item, most: 100.0 if most == 11.5 else 0.0)
    with pytest.raises(TooLongError, match=r"takes about 100\.0 s"):
        worker.burst(Item("bf16", CUBE, fixed=True), 3, budget=46.0)


def test_each_burst_comes_after_a_rest(virtual, listener):
    worker = virtual(lambda item, now: 500.0 if now < 0.3 else 700.0)
    worker.burst(CUBE_BF16, 5, 46.0)
    (row,) = listener.measurements
    assert worker.device.rests == [0.2] * 5
    assert (row["regime"], row["statistic"], len(row["samples"])) == ("burst", "median", 5)
    assert row["value"] == pytest.approx(700)


def test_what_does_not_work_is_left_out_and_the_rest_is_measured(virtual, listener):
    worker = virtual(steady)
    product = worker.product

    def partly(item):
        if item.dtype == "fp8":
            raise NotImplementedError("fp8 is not for this GPU\nand more lines")  # as PyTorch does
        if item.shape == (64, 64, 64):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return product(item)

    worker.product = partly
    chosen = [Item("bf16", (64, 64, 64)), CUBE_BF16, Item("fp8", CUBE), Item("fp16", CUBE)]
    measure(worker, chosen, 40.0, bandwidth=False, triad=False)
    assert [(row["dtype"], row["regime"]) for row in listener.measurements] == [
        *(("bf16", "burst"), ("fp16", "burst")),
        *(("bf16", "settled"), ("fp16", "settled")),
    ]
    assert worker.left_out == [
        {"what": "bf16 64x64x64 NT", "failed": True, "text": "CUDA out of memory"},
        {"what": "fp8 8192x8192x8192 NT", "failed": False, "text": "fp8 is not for this GPU"},
    ]


def test_a_device_that_is_lost_is_asked_nothing_more(virtual, listener):
    worker = virtual(steady)
    asked = []

    def lost(item):
        asked.append(item.dtype)
        raise RuntimeError("CUDA error: unspecified launch failure")

    worker.product = lost
    measure(worker, [CUBE_BF16, Item("fp16", CUBE)], 20.0, bandwidth=True, triad=True)
    assert asked == ["bf16"]
    assert [one["failed"] for one in worker.left_out] == [True]
    assert listener.measurements == []


def test_a_wrong_product_is_measured_and_told(virtual, listener):
    worker = virtual(steady)
    product = worker.product

    def wrong(item):
        made = product(item)
        made.passes = False
        return made

    worker.product = wrong
    measure(worker, [CUBE_BF16], 20.0, bandwidth=False, triad=False)
    assert [row["verified"]["passed"] for row in listener.measurements] == [False, False]


def test_a_size_that_two_shapes_were_made_smaller_to_is_measured_once(virtual, listener, monkeypatch):
    worker = virtual(steady)
    small = Item("bf16", (4096, 4096, 4096))
    monkeypatch.setattr("gpusmoke.workers.bench.scaled", lambda device, item: small)
    measure(worker, [CUBE_BF16, OTHER], 20.0, bandwidth=False, triad=False)
    assert [(row["regime"], row["shape"]) for row in listener.measurements] == [
        ("burst", [4096] * 3),
        ("settled", [4096] * 3),
    ]


def test_what_the_memory_does_not_hold_at_once_is_split_in_the_order_given(virtual):
    device = virtual(steady).device
    chosen = items(list(ELEMENT_BYTES), None, ["NT"], "full", on_cpu=False)
    assert [part[0].dtype for part in groups(device, chosen)] == list(ELEMENT_BYTES)
    device.free = 4 << 30
    parts = groups(device, chosen)
    assert [item for part in parts for item in part] == chosen
    assert len(parts) > len(ELEMENT_BYTES)
    for part in parts:
        used = sum(bytes_needed(DTYPES[item.dtype], item.shape, device.l2_bytes) for item in part)
        assert used <= MEMORY_SHARE * device.free or len(part) == 1
        assert len({item.dtype for item in part}) == 1
    # None is shorter than it has to be.
    for part, following in itertools.pairwise(parts):
        if part[0].dtype == following[0].dtype:
            used = [bytes_needed(DTYPES[item.dtype], item.shape, device.l2_bytes) for item in (*part, following[0])]
            assert sum(used) > MEMORY_SHARE * device.free


def test_a_long_text_of_an_error_is_cut(virtual):
    worker = virtual(steady)
    assert worker.leave_out("x", RuntimeError("a" * 999 + "\nmore")) is False
    assert worker.left_out == [{"what": "x", "failed": False, "text": "a" * 300}]


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("CUDA error: an illegal memory access was encountered", True),
        ("CUDA error: uncorrectable ECC error encountered", True),
        ("CUDA driver error: device is lost", True),
        ("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmulAlgoGetHeuristic`", False),
        ("mat2 shape (304x200) must be divisible by 16", False),
    ],
)
def test_a_failing_device_is_told_from_a_combination_that_is_not_offered(virtual, text, failed):
    assert device_failed(RuntimeError(text)) is failed
    assert virtual(steady).leave_out("bf16", RuntimeError(text)) is failed


def test_out_of_memory_is_a_failure_after_which_smaller_ones_are_tried(virtual):
    error = torch.OutOfMemoryError("CUDA out of memory")
    worker = virtual(steady)
    assert device_failed(error)
    assert worker.leave_out("bf16", error) is False
    assert worker.left_out[0]["failed"] is True


@pytest.mark.parametrize(
    ("capability", "names"), [((7, 0), "fp16 fp32 fp64"), ((8, 6), "bf16 fp16 int8 tf32 fp32 fp64")]
)
def test_formats_that_the_hardware_lacks_are_not_tried(capability, names):
    device = Device("cpu")
    assert " ".join(name for name, dtype in DTYPES.items() if device.unsupported(dtype) is None) == "bf16 fp32 fp64"
    device.kind, device.capability = "cuda", capability
    assert " ".join(name for name, dtype in DTYPES.items() if device.unsupported(dtype) is None) == names
