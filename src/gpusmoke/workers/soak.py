"""What one child does for `soak`: load one device for minutes or hours, compare every result, and watch its health."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import asdict, replace

from gpusmoke.clock import now
from gpusmoke.facts import Json
from gpusmoke.measuring.dtypes import DTYPES, set_precision
from gpusmoke.measuring.health import Watch
from gpusmoke.measuring.shapes import CUBE, CUBE_ON_CPU, Item, leading
from gpusmoke.measuring.statistics import grouped, mean
from gpusmoke.measuring.telemetry import POINTS, Rate
from gpusmoke.measuring.timing import Mark, estimate
from gpusmoke.measuring.verify import Verification
from gpusmoke.workers.device import Device
from gpusmoke.workers.product import SMALLEST, Product, fits, scaled
from gpusmoke.workers.pytorch import error_code, own_device
from gpusmoke.workers.reporter import Reporter
from gpusmoke.workers.ring import Difference, Ring
from gpusmoke.workers.rows import energy, product_row

TURN_SECONDS = 1.0  # between two moments at which the device waits for the host
SAVE_SECONDS = 10.0  # of work that a crash may cost the record; a line is shown as often
WARM_SECONDS = 10.0  # until a GPU's power controller has come to rest: 6-8 s on an H100 (docs/measuring.md)
FEWEST_RATES = 3
MOST_DIFFERENCES = 20  # that are told one by one
# The comparison reads two results' worth of memory; a longer sum makes the product longer and the result no larger.
MOST_COMPARING_SHARE = 0.1
ROOM_FOR = 4  # buffers at least
MOST_TERMS = 8  # times those of a cube
VERIFY_SECONDS = 10.0
CPU_BYTES = 1 << 30  # the CPU's memory is not what is tested, and others live in it


def item_for(device: Device, dtype: str, budget: float) -> Item:
    """The product: a cube of 8192, smaller where memory or time ask for it, its sum longer where comparing would cost.

    So every result can be compared, and comparing still takes at most MOST_COMPARING_SHARE of a GPU's time.
    """
    item = scaled(device, Item(dtype, CUBE_ON_CPU if device.kind == "cpu" else CUBE))
    while True:
        m, n, k = item.shape
        ring = Ring(Product(device, item))
        ring.fill(0)
        too_large = ring.bytes_fixed + ROOM_FOR * ring.bytes_each > budget
        costly = device.kind == "cuda" and comparing_share(ring) > MOST_COMPARING_SHARE
        del ring
        if too_large and min(m, n, k) > SMALLEST:
            item = Item(dtype, (m // 2, n // 2, k // 2))
        elif costly and k < MOST_TERMS * m and fits(device, longer := Item(dtype, (m, n, 2 * k))):
            item = longer
        else:
            return item


def comparing_share(ring: Ring) -> float:
    """The part of the time that comparing takes, of a product and its comparison, each at its fastest."""
    timer = ring.product.device.timer
    product = estimate(lambda number: ring.write(number % 2, 0), timer)
    comparison = estimate(lambda number: ring.compare(number % 2), timer)
    return comparison / (product + comparison)


class Soak:
    """The load on one device, and all that is known of it so far."""

    def __init__(self, report: Reporter, ordinal: int, watch: Watch, ring: Ring) -> None:
        self.report, self.ordinal, self.watch, self.ring = report, ordinal, watch, ring
        self.device = ring.product.device
        self.item = ring.product.item
        self.reference: Verification | None = None
        self.products = self.checked = self.wrong_results = self.wrong_elements = self.passes = 0
        self.differences: list[dict[str, Json]] = []
        self.written: list[float] = []
        self.rates: list[Rate] = []
        self.computing = self.comparing = 0.0
        self.loaded: float | None = None
        """When the load began, in host time."""
        self.failed: dict[str, Json] | None = None
        self._pending: tuple[Mark, Mark, int] | None = None
        self._unrated: list[tuple[int, float]] = []
        self._saved = self._ended = 0.0

    def run(self, seconds: float, budget: float) -> None:
        """Fill `budget` bytes, load the device for so long, then compare what its memory still holds."""
        ring, timer = self.ring, self.device.timer
        self.reference = ring.verify(VERIFY_SECONDS)
        if not self.reference.passed:
            return
        self.device.free_bytes()  # gives back what verifying took
        ring.fill(budget)
        self.written = [0.0] * len(ring.buffers)
        each = estimate(lambda number: ring.write(number % 2, 0), timer)
        at_once = max(1, min(len(ring.buffers), round(TURN_SECONDS / each)))
        ring.forget()
        self.report.step("at the beginning of the soak")
        self.loaded = self._ended = time.monotonic()
        for start in itertools.cycle(range(0, len(ring.buffers), at_once)):
            if time.monotonic() - self.loaded >= seconds:
                break
            self.passes += start == 0
            self.turn(range(start, min(start + at_once, len(ring.buffers))))
        self.compare(range(len(ring.buffers)))
        if self._pending is not None:
            self.count(*self._pending, time.monotonic(), last=True)

    def turn(self, buffers: range) -> None:
        """Compare what these buffers hold and fill them anew; the host does its own work while the device has some."""
        timer, at = self.device.timer, self.passes % self.ring.sets
        self.compare(buffers)
        ended = time.monotonic()
        begin, now = timer.mark(), self.watch.seconds()
        for buffer in buffers:
            self.ring.write(buffer, at)
            self.written[buffer] = now
        begun, self._pending = self._pending, (begin, timer.mark(), len(buffers))
        self.products += len(buffers)
        if begun is not None:
            self.count(*begun, ended)

    def compare(self, buffers: range) -> None:
        """Compare what these buffers hold, which ends the wait for everything before."""
        held = [buffer for buffer in buffers if self.ring.holds[buffer] is not None]
        start = self.device.timer.mark()
        for buffer in held:
            self.ring.compare(buffer)
        end = self.device.timer.mark()
        for difference in self.ring.wrong(buffers):
            self.note(difference)
        self.checked += len(held)
        self.comparing += self.device.timer.seconds(start, end)

    def note(self, difference: Difference) -> None:
        """Take in a result that differs."""
        self.wrong_results += 1
        self.wrong_elements += difference.elements
        if len(self.differences) < MOST_DIFFERENCES:
            when = {
                "written_seconds": self.written[difference.buffer],
                "seconds": self.watch.seconds(),
                "utc": now(),
            }
            self.differences.append({**asdict(difference), **when})
            self.tell()

    def count(self, begin: Mark, end: Mark, products: int, at: float, last: bool = False) -> None:
        """Take in how long a turn's products took, which ended `at` (host time); a second or so makes a rate."""
        seconds = self.device.timer.seconds(begin, end)
        self.computing += seconds
        self._unrated.append((products, seconds))
        took = sum(seconds for _, seconds in self._unrated)
        if took < TURN_SECONDS / 2 and not last:
            return
        rate = self.ring.product.rate(took / sum(products for products, _ in self._unrated))
        self.rates.append(Rate(self._ended, at, self.item.dtype, rate))
        self._unrated, self._ended = [], at
        self.report.step(f"after {self.watch.seconds():.0f} s of soaking")
        self.tell()
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self._saved = time.monotonic()
            self.save()

    def tell(self) -> None:
        """Report what is known so far."""
        device, ring, seconds = self.device, self.ring, 0.0
        if self.loaded is not None:
            seconds = round(time.monotonic() - self.loaded, 1)
        busy = self.computing + self.comparing
        self.report.fact(
            f"soak.{self.ordinal}",
            {
                "device": device.torch_name,
                "name": device.name,
                "capability": ".".join(map(str, device.capability)),
                "dtype": self.item.dtype,
                "shape": list(self.item.shape),
                "seconds": seconds,
                "products": self.products,
                "passes": self.passes,
                "buffers": len(ring.buffers),
                "bytes_each": ring.bytes_each,
                "checked": self.checked,
                "checked_bytes": self.checked * ring.bytes_each,
                "comparing_percent": round(100 * self.comparing / busy, 1) if busy else None,
                "reference": self.reference and self.reference.to_json(),
                "wrong_results": self.wrong_results,
                "wrong_elements": self.wrong_elements,
                "errors": self.differences,
                "failed": self.failed,
                **self.watch.to_json(),
            },
            "PyTorch and NVML",
        )

    def save(self) -> None:
        """Report the series, and the measurement as it would be if this were the end; show a line."""
        if timeline := self.device.telemetry.timeline(self.rates):
            self.report.fact(f"soak.{self.ordinal}.timeline", timeline, "NVML and CUDA events")
        if not self.rates:
            return
        row = self.row()
        self.report.so_far(row)
        sample = self.watch.latest()
        where = "CPU" if row["gpu"] is None else f"GPU {row['gpu']}"
        told = [f"{self.rates[-1].rate:.4g} {row['unit']}"]
        told += [f"{sample.temperature_c} C", f"{sample.power_w:.0f} W"] if sample else []
        told += [f"{self.wrong_results} of {self.checked} results wrong" if self.wrong_results else "no wrong bit"]
        told += [f"{sum(self.watch.counts.values())} events"] if self.watch.counts else []
        self.report.line(f"{where}: {', '.join(told)}")

    def row(self) -> dict[str, Json]:
        """The measurement: the products' rates, without comparing, once the power controller has come to rest."""
        assert self.loaded is not None
        assert self.reference is not None
        settled = [rate for rate in self.rates if rate.started - self.loaded >= WARM_SECONDS]
        resting = len(settled) >= FEWEST_RATES
        used = settled if resting else self.rates
        rates, start, end = [one.rate for one in used], used[0].started, used[-1].ended
        equal, telemetry = not self.wrong_results, self.device.telemetry
        checked = replace(self.reference, passed=self.reference.passed and equal, repeats_equal=equal)
        row = product_row(
            self.device,
            self.ordinal if self.device.kind == "cuda" else None,
            replace(self.item, backend=self.device.library),
            "settled",
            mean(rates),
            grouped(rates, math.ceil(len(rates) / POINTS)),
            telemetry.between(start, end),
            checked.to_json(),
            {},
        )
        return {**row, **energy(telemetry.watts(start, end), row["value"]), "settled": resting}


def soak(report: Reporter, ordinal: int, seconds: float, memory: float, dtype: str | None) -> None:
    """Load GPU `ordinal` for `seconds`, filling `memory` (0 to 1) of what is free; without a GPU one child, the CPU.

    `dtype` is the number format; None stands for a 16-bit one on a GPU, and fp32 on a CPU.
    """
    report.step("while opening the device")
    own = own_device(ordinal)
    if own is None:
        return
    device = Device(own)
    runnable = [name for name, one in DTYPES.items() if device.unsupported(one) is None]
    chosen = dtype or (leading(runnable) if device.kind == "cuda" else "fp32")
    known: dict[str, Json] = {"device": device.torch_name, "name": device.name}
    if chosen not in runnable:
        reason = device.unsupported(DTYPES[chosen])
        known["left_out"] = f"{chosen}: {reason}"
        report.fact(f"soak.{ordinal}", known, "PyTorch")
        return
    set_precision(chosen)
    watch = Watch(device.telemetry, device.uuid)
    report.step("while filling the memory")
    worker = None
    try:
        budget = memory * (device.free_bytes() if device.kind == "cuda" else CPU_BYTES)
        worker = Soak(report, ordinal, watch, Ring(Product(device, item_for(device, chosen, budget))))
        watch.tell = worker.tell
        worker.tell()
        worker.run(seconds, budget)
    except RuntimeError as error:
        failed = {"text": str(error).split("\n")[0][:300], "code": error_code(error), "seconds": watch.seconds()}
        if worker is None:
            report.fact(f"soak.{ordinal}", {**known, "failed": failed, **watch.to_json()}, "PyTorch")
            return
        worker.failed = failed
    watch.stop()
    worker.tell()
    worker.save()
    if worker.rates:
        report.measurement(worker.row())
