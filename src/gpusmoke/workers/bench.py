"""What one child does for `bench`: products and copies on one device, from rest and settled, each verified."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from gpusmoke.facts import Json
from gpusmoke.measuring.dtypes import DTYPES, set_precision
from gpusmoke.measuring.settling import Round, enough, settled
from gpusmoke.measuring.shapes import Item, items, leading
from gpusmoke.measuring.statistics import mean, median
from gpusmoke.measuring.telemetry import Rate
from gpusmoke.measuring.timing import bursts, interleaved
from gpusmoke.workers.backends import multiplier
from gpusmoke.workers.bandwidth import transfers
from gpusmoke.workers.device import Device, device_failed
from gpusmoke.workers.product import Product, groups, guess, scaled
from gpusmoke.workers.pytorch import own_device
from gpusmoke.workers.reporter import Reporter
from gpusmoke.workers.rows import Row, energy, product_row, transfer_row

VERIFY_SHARE = 0.04  # of the whole time, for all products
BURST_SHARE = 0.22
FEWEST_BURSTS, MOST_BURSTS = 3, 8
REST_SECONDS = 0.2
BURST_COST_SECONDS = 0.28  # with its rest, and its part of making and verifying the operands
BANDWIDTH_SECONDS = 2.5
PERIOD_SECONDS = 1.0  # of the power controller's oscillation; a CPU has none
LONGEST_TURN_SECONDS, SHORTEST_TURN_SECONDS = 0.25, 0.1
LEADING_WEIGHT = 5  # the first format settles a cold GPU and has several shapes
COLD_WINDOW, WARM_WINDOW, CPU_WINDOW = 2.0, 1.0, 0.3  # seconds; two of them have to agree
SETTLE_SHARE = 0.6  # of a format's time, at most
USUAL = "cublas"
LONGEST_PRODUCT_SHARE = 1 / 8  # of the time for one format; what takes longer can't be repeated often enough


class TooLongError(Exception):
    """A product that can't be repeated in the time there is; the message is for the user."""


def too_long(item: Item, each: float) -> TooLongError:
    """The error for a product that takes `each` seconds."""
    size = "x".join(map(str, item.shape))
    return TooLongError(f"one product of {size} takes about {each:.1f} s here: give it more --seconds")


@dataclass
class Turn:
    """One product's part in the rounds: seconds per product of each turn, and the host time of each."""

    product: Product
    launches: int
    seconds: list[float] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """How many rounds at the end were measured, when (host time), and whether the device had come to rest before."""

    rounds: int
    started: float
    ended: float
    resting: bool


class Bench:
    """The measurements of one device."""

    def __init__(self, report: Reporter, ordinal: int, device: Device, seconds: float) -> None:
        self.report, self.ordinal, self.device = report, ordinal, device
        self.gpu = ordinal if device.kind == "cuda" else None
        self.rates: list[Rate] = []  # for the timeline
        self.left_out: list[dict[str, Json]] = []
        self.verify_seconds, self.verify_each = 0.0, seconds

    def product(self, item: Item) -> Product:
        """The product, which is prepared for its backend."""
        set_precision(item.dtype)
        return Product(self.device, item, multiplier(item.backend, DTYPES[item.dtype]))

    def verified(self, product: Product) -> Row:
        """The verdict on what the product's last launches left, as it stands in a measurement."""
        started = time.monotonic()
        checked = product.verify(self.verify_each)
        self.verify_seconds += time.monotonic() - started
        return checked.to_json()

    def burst(self, item: Item, count: int, budget: float) -> None:
        """`count` bursts, each after a rest; refused with TooLongError where a launch takes too much of `budget`."""
        self.report.step(f"in the {item.dtype} benchmark, {name_of(item)} from rest")
        longest = LONGEST_PRODUCT_SHARE * budget
        if item.fixed and (each := guess(self.device, item, 2 * longest)) > 2 * longest:  # on the high side
            raise too_long(item, each)
        product = self.product(item)
        each = product.prepare()
        if item.fixed and each > longest:
            raise too_long(item, each)
        begun = time.monotonic()
        seconds = bursts(product.launch, self.device.timer, each, REST_SECONDS, count)
        telemetry = self.device.telemetry.between(begun, time.monotonic())
        rates = [product.rate(each) for each in seconds]
        self.report.measurement(self.row(product, "burst", median(rates), rates, telemetry))

    def row(self, product: Product, regime: str, value: float, rates: list[float], telemetry: Row) -> Row:
        """A measurement of the product, whose last launches are verified now."""
        checked = self.verified(product)
        return product_row(
            self.device, self.gpu, product.item, regime, value, rates, telemetry, checked, product.told()
        )

    def settle(self, chosen: Sequence[Item], seconds: float, window: float) -> dict[Item, float]:
        """The items in interleaved rounds: first until rate and clock have come to rest, then measured.

        Returns the rate of each in TFLOP/s (TOP/s for int8).
        """
        self.report.step(f"in the {chosen[0].dtype} benchmark, settling")
        length = min(LONGEST_TURN_SECONDS, max(SHORTEST_TURN_SECONDS, PERIOD_SECONDS / len(chosen)))
        turns = [self.turn(item, length) for item in chosen]
        period = PERIOD_SECONDS if self.device.kind == "cuda" else CPU_WINDOW
        measured = self.rounds(turns, seconds, window, period)
        watts, values = self.device.telemetry.watts(measured.started, measured.ended), {}
        for turn in turns:
            kept, spans = turn.seconds[-measured.rounds :], turn.spans[-measured.rounds :]
            value, rates = turn.product.rate(mean(kept)), [turn.product.rate(each) for each in kept]
            row = self.row(turn.product, "settled", value, rates, self.device.telemetry.summary(spans))
            self.report.measurement({**row, **energy(watts, value), "settled": measured.resting})
            values[turn.product.item] = value
        self.device.look_again()
        return values

    def turn(self, item: Item, length: float) -> Turn:
        """The product, and how often it is launched when it is its turn, for `length` seconds."""
        product = self.product(item)
        return Turn(product, max(1, round(length / product.prepare())))

    def play(self, turns: Sequence[Turn]) -> Iterator[float]:
        """Let them take turns for ever, and keep what each took; yields the host time at the end of each round."""
        ended = time.monotonic()
        stream = interleaved([(turn.product.launch, turn.launches) for turn in turns], self.device.timer)
        for number, (who, each, at) in enumerate(stream, 1):
            turn = turns[who]
            turn.seconds.append(each)
            turn.spans.append((ended, at))
            self.rates.append(Rate(ended, at, turn.product.item.dtype, turn.product.rate(each)))
            ended = at
            if number % len(turns) == 0:
                yield at

    def rounds(self, turns: Sequence[Turn], seconds: float, window: float, period: float) -> Measured:
        """Launch round after round for about `seconds`, until those that were measured at rest are enough."""
        patience = max(SETTLE_SHARE * seconds, min(seconds, 2.5 * window))  # two windows have to fit
        begun = started = time.monotonic()
        rest_from: float | None = None
        rounds: list[Round] = []
        resting, before = False, 0  # rounds before the measured ones
        for at in self.play(turns):
            now = tuple(one.product.rate(one.seconds[-1]) for one in turns)
            rounds.append(Round(at - started, now, self.device.telemetry.clock(started, at)))
            started = at
            if rest_from is None:
                resting = settled(rounds, window)
                if resting or at - begun > patience:
                    rest_from, before = at, len(rounds)
                    self.report.step(f"in the {turns[0].product.item.dtype} benchmark, settled")
            elif at - rest_from >= period and (at - begun >= seconds or enough(rounds[before:], period)):
                return Measured(len(rounds) - before, rest_from, at, resting)
        raise AssertionError("products never end")

    def copies(self, triad: bool) -> None:
        """How fast bytes move in this device's memory and, on a GPU, from and to the host."""
        self.report.step("in the copies")
        for transfer in transfers(self.device, triad):
            self.report.measurement(transfer_row(self.device, self.gpu, transfer))

    def leave_out(self, what: str, error: Exception) -> bool:
        """Tell what could not be measured; returns whether the device is lost, so that nothing else will work."""
        failed = isinstance(error, RuntimeError) and device_failed(error)
        self.left_out.append({"what": what, "failed": failed, "text": str(error).split("\n")[0][:300]})
        return failed and not isinstance(error, torch.OutOfMemoryError)


def name_of(item: Item) -> str:
    """Shape and layout, and what multiplies where that is not the usual, for people."""
    other = f" {item.backend}" if item.backend not in (USUAL, "cpu") else ""
    return f"{'x'.join(map(str, item.shape))} {item.layout}{other}"


def measure(worker: Bench, chosen: list[Item], seconds: float, bandwidth: bool, triad: bool) -> None:
    """Everything of one device within about `seconds`: bursts while it is cool, then the settled state, and copies."""
    device = worker.device
    count = round(BURST_SHARE * seconds / BURST_COST_SECONDS / max(1, len(chosen)))
    count = max(FEWEST_BURSTS, min(MOST_BURSTS, count))
    left = seconds - count * len(chosen) * BURST_COST_SECONDS - (BANDWIDTH_SECONDS if bandwidth else 0)
    weights = {item.dtype: LEADING_WEIGHT if item.dtype == chosen[0].dtype else 1 for item in chosen}
    share = max(left, seconds / 3) / max(1, sum(weights.values()))  # a short run keeps a settled part
    worker.verify_each = VERIFY_SHARE * seconds / max(1, 2 * len(chosen))
    done: list[Item] = []
    for item in chosen:
        try:
            set_precision(item.dtype)
            whole = item if item.fixed else scaled(device, item)
            if whole not in done:
                worker.burst(whole, count, share * weights[item.dtype])
                done.append(whole)
        except (RuntimeError, TooLongError) as error:  # PyTorch's NotImplementedError is a RuntimeError
            if worker.leave_out(f"{item.dtype} {name_of(item)}", error):
                return
    parts = groups(device, done)
    jobs: list[tuple[str, Callable[[], object]]] = []
    for number, group in enumerate(parts):
        window = CPU_WINDOW if device.kind == "cpu" else COLD_WINDOW if number == 0 else WARM_WINDOW
        time_for_it = share * weights[group[0].dtype] / sum(part[0].dtype == group[0].dtype for part in parts)
        jobs.append((f"{group[0].dtype} settled", partial(worker.settle, group, time_for_it, window)))
    if bandwidth:
        # GPUs copy from and to the host by turns: each after another format, so that they seldom wait for each other.
        place = len(jobs) - (worker.gpu or 0) % max(1, len(jobs))
        jobs.insert(place, ("copies", partial(worker.copies, triad)))
    for what, job in jobs:
        try:
            job()
        except RuntimeError as error:
            if worker.leave_out(what, error):
                return


def bench(
    report: Reporter,
    ordinal: int,
    dtypes: list[str] | None,
    shapes: list[list[int]] | None,
    layouts: list[str],
    scope: str,
    backends: list[str] | None,
    seconds: float,
) -> None:
    """Measure on GPU `ordinal` in about `seconds`; where PyTorch sees no GPU, one child measures the CPU.

    `dtypes` are the formats asked for, those that the device lacks being told; None stands for all that it has.
    """
    report.step("while opening the device")
    own = own_device(ordinal)
    if own is None:
        return
    device = Device(own)
    worker = Bench(report, ordinal, device, seconds)
    # PyTorch's own product is cuBLAS on a GPU alone.
    multipliers = [device.library if one == USUAL else one for one in backends or [USUAL]]
    describe(report, ordinal, device)
    unsupported = {name: device.unsupported(dtype) for name, dtype in DTYPES.items()}
    runnable = [name for name in dtypes or DTYPES if unsupported[name] is None]
    for name in dtypes or ():
        if unsupported[name] is not None:
            worker.left_out.append({"what": name, "failed": False, "text": unsupported[name]})
    started = time.monotonic()
    if scope == "search" and runnable:
        from gpusmoke.workers.search import search

        try:
            search(worker, leading(runnable), layouts, seconds, multipliers[0])
        except RuntimeError as error:
            worker.leave_out("the search", error)
    elif scope.startswith("kernels"):  # which a project may have dropped
        chosen = importlib.import_module("gpusmoke.workers.kernels").prove(worker, runnable, shapes, "models" in scope)
        if chosen:
            measure(worker, chosen, seconds, bandwidth=False, triad=False)
    else:
        chosen = items(
            runnable, [(m, n, k) for m, n, k in shapes or []], layouts, scope, device.kind == "cpu", multipliers
        )
        copies = dtypes is None and shapes is None and scope in ("default", "full")
        measure(worker, chosen, seconds, copies, triad=scope == "full")
    report.fact(f"bench.{ordinal}.left_out", worker.left_out, "PyTorch")
    spent = {"measuring": round(time.monotonic() - started, 2), "verifying": round(worker.verify_seconds, 2)}
    report.fact(f"bench.{ordinal}.seconds", spent, "the host's clock")
    tell_others(report, ordinal, device)
    if timeline := device.telemetry.timeline(worker.rates):
        report.fact(f"bench.{ordinal}.timeline", timeline, "NVML and CUDA events")
    device.telemetry.stop()


def describe(report: Reporter, ordinal: int, device: Device) -> None:
    """Report what is measured."""
    report.fact(
        f"bench.{ordinal}",
        {
            "device": device.torch_name,
            "name": device.name,
            "capability": ".".join(map(str, device.capability)),
            "multiprocessors": device.multiprocessors,
            "l2_mib": device.l2_bytes >> 20,
            "telemetry": device.telemetry.reason or "NVML",
            "threads": torch.get_num_threads() if device.kind == "cpu" else None,
        },
        "torch.cuda.get_device_properties",
    )
    tell_others(report, ordinal, device)


def tell_others(report: Reporter, ordinal: int, device: Device) -> None:
    """Report who else used the GPU before anything was measured and, where this is known by now, meanwhile."""
    report.fact(f"bench.{ordinal}.others", device.others, "NVML, before this run computed there; processes also since")
