"""What one child does for `bench`: every number format's products on one device, from rest and settled, verified."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from gpusmoke.facts import Json
from gpusmoke.measuring import METHOD
from gpusmoke.measuring.dtypes import DTYPES, Dtype, set_precision
from gpusmoke.measuring.formats import ON_CPU
from gpusmoke.measuring.peaks import at_clock, datasheet
from gpusmoke.measuring.statistics import median, quantile, rounded
from gpusmoke.measuring.telemetry import Telemetry
from gpusmoke.measuring.timing import CpuTimer, CudaTimer, bursts, estimate, mean, settle
from gpusmoke.measuring.verify import Verification, same_bits, verify
from gpusmoke.workers.reporter import Reporter

SEED = 20261124
MOST_SETS = 512  # of operands too small to fill the cache: launching them takes longer than computing
L2_MULTIPLE = 2  # operands rotate over at least twice the L2 cache (NVIDIA CUTLASS, measurement guidelines)
VERIFY_SHARE = 0.05  # of the time for one format
SIZES = {"cuda": (8192, 4096, 2048, 1024), "cpu": (2048, 1024)}
LONGEST_PRODUCT_SECONDS = 0.06
LONGEST_PRODUCT_SHARE = 1 / 8  # of the time for one format; what takes longer can't be repeated often enough
MEMORY_SHARE = 0.8  # of what is free; verification needs float64 copies beside the operands


@dataclass(frozen=True)
class Schedule:
    """How one format's time is spent: its share, bursts and the rest before each, seconds of a window (see settle)."""

    share: float
    rest: float
    bursts: int
    window: float


# The settled state takes 6-8 s to reach from cold; later formats find the GPU warm, and need longer to rest.
COLD = Schedule(share=3.0, rest=0.15, bursts=10, window=2.0)
WARM = Schedule(share=1.0, rest=0.5, bursts=3, window=1.0)


class Device:
    """The device under test, and what depends on its kind."""

    def __init__(self, name: str) -> None:
        self.kind = "cpu" if name == "cpu" else "cuda"
        self.torch_name = name
        self.generator = torch.Generator(device=name).manual_seed(SEED)
        if self.kind == "cpu":
            self.name, self.capability, self.multiprocessors, self.l2_bytes, uuid = "CPU", (0, 0), 0, 0, None
            self.timer: CpuTimer | CudaTimer = CpuTimer()
        else:
            torch.cuda.set_device(name)
            properties = torch.cuda.get_device_properties(name)
            self.name, self.capability = properties.name, (properties.major, properties.minor)
            self.multiprocessors, self.l2_bytes = properties.multi_processor_count, properties.L2_cache_size
            uuid = f"GPU-{properties.uuid}"
            self.timer = CudaTimer()
        self.telemetry = Telemetry(uuid)

    def free_bytes(self) -> int:
        """Memory that can still be had."""
        if self.kind == "cpu":
            return 8 << 30
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info()[0])


class Product:
    """One format at one shape: operands, and outputs poisoned so that an element never written shows."""

    def __init__(self, device: Device, dtype: Dtype, shape: tuple[int, int, int]) -> None:
        m, n, k = shape
        self.dtype, self.shape, self.device = dtype, shape, device
        set_bytes = dtype.operand.itemsize * (m * k + n * k)
        self.sets = min(MOST_SETS, max(2, math.ceil(L2_MULTIPLE * device.l2_bytes / set_bytes)))
        self.operands = [
            (dtype.random(m, k, device.generator), dtype.random(n, k, device.generator)) for _ in range(self.sets)
        ]
        poison = float("nan") if dtype.output.is_floating_point else -1
        self.outputs = [
            torch.full((m, n), poison, dtype=dtype.output, device=device.torch_name) for _ in range(self.sets)
        ]
        self.multiply = dtype.product()

    def launch(self, number: int) -> None:
        """Enqueue one product, on the next set of operands."""
        at = number % self.sets
        self.multiply(*self.operands[at], self.outputs[at])

    def verify(self, seconds: float) -> Verification:
        """Verify what the last launches left, and that one more gives the same bits."""
        (a, b), c = self.operands[0], self.outputs[0]
        checked = verify(a, b, c, self.dtype, self.device.generator, seconds)
        kept = c.clone()
        self.launch(0)
        equal = same_bits(kept, c)
        return Verification(checked.method, checked.passed and equal, checked.error, checked.bound, equal)


def bytes_needed(dtype: Dtype, shape: tuple[int, int, int]) -> int:
    """Device memory for the operands, outputs and the float64 copies that verification makes."""
    m, n, k = shape
    return 2 * (dtype.operand.itemsize * (m * k + n * k) + dtype.output.itemsize * m * n) + 8 * (
        n * k + 3 * 1024 * max(n, k)
    )


def choose_shape(device: Device, dtype: Dtype) -> tuple[int, int, int]:
    """The largest of SIZES that fits the memory and whose product is short enough to average many."""
    sizes = sorted(SIZES[device.kind])
    chosen, seconds_per_flop = (sizes[0],) * 3, 0.0
    for size in sizes:
        shape = (size, size, size)
        if bytes_needed(dtype, shape) > MEMORY_SHARE * device.free_bytes():
            break
        if seconds_per_flop * 2 * size**3 > LONGEST_PRODUCT_SECONDS:
            break
        chosen = shape
        seconds_per_flop = estimate(Product(device, dtype, shape).launch, device.timer) / (2 * size**3)
    return chosen


def refuse_what_takes_too_long(device: Device, dtype: Dtype, shape: tuple[int, int, int], seconds: float) -> None:
    """Raise TooLongError where one product takes too much of `seconds`, judged by the rate of a small one."""
    size = min(SIZES[device.kind])
    m, n, k = shape
    each = estimate(Product(device, dtype, (size, size, size)).launch, device.timer) * (m * n * k / size**3)
    if each > LONGEST_PRODUCT_SHARE * seconds:
        raise TooLongError(f"one product of {m}x{n}x{k} would take about {each:.2g} s here: give it more --seconds")


class TooLongError(Exception):
    """A product that can't be repeated in the time there is; the message is for the user."""


class Bench:
    """The measurements of one device."""

    def __init__(self, report: Reporter, ordinal: int, device: Device) -> None:
        self.report, self.ordinal, self.device = report, ordinal, device

    def row(
        self, product: Product, regime: str, seconds: list[float], telemetry: dict[str, Json], checked: Verification
    ) -> dict[str, Json]:
        """One measurement as it stands in the record; rates in TFLOP/s (for int8 TOP/s).

        Of bursts the median is quoted; of the settled state the mean, since it has to average over whole periods.
        """
        m, n, k = product.shape
        rates = [2 * m * n * k / s / 1e12 for s in seconds]
        middle = median(rates) if regime == "burst" else 2 * m * n * k / mean(seconds) / 1e12
        dtype, device = product.dtype.name, self.device
        row: dict[str, Json] = {
            "quantity": "matmul",
            "gpu": self.ordinal if device.kind == "cuda" else None,
            "device": device.name,
            "dtype": dtype,
            "shape": [m, n, k],
            "layout": "NT",
            "regime": regime,
            "backend": "cublas" if device.kind == "cuda" else "cpu",
            "method": METHOD,
            "unit": "TOP/s" if dtype == "int8" else "TFLOP/s",
            "value": rounded(middle),
            "statistic": "median" if regime == "burst" else "mean",
            "p10": rounded(quantile(rates, 0.1)),
            "p90": rounded(quantile(rates, 0.9)),
            "samples": [rounded(rate) for rate in rates],
            "telemetry": telemetry,
            "verified": checked.to_json(),
        }
        peak = datasheet(device.name, device.multiprocessors, dtype)
        if peak is not None:
            row |= {"datasheet": peak.value, "datasheet_source": peak.source}
            row["percent_of_datasheet"] = round(100 * row["value"] / peak.value, 1)
        if (clock := telemetry.get("sm_clock_mhz")) is not None:
            limit = at_clock(device.name, device.capability, device.multiprocessors, dtype, clock)
            if limit is not None:
                row["percent_of_clock"] = round(100 * row["value"] / limit, 1)
        return row

    def measure(self, dtype: Dtype, shape: tuple[int, int, int] | None, seconds: float, schedule: Schedule) -> None:
        """Burst, then settled, within about `seconds`."""
        device = self.device
        self.report.step(f"in the {dtype.name} benchmark")
        set_precision(dtype.name)
        if shape is not None:
            refuse_what_takes_too_long(device, dtype, shape, seconds)
        product = Product(device, dtype, shape or choose_shape(device, dtype))
        each = estimate(product.launch, device.timer)
        begun = time.monotonic()
        count = max(1, min(schedule.bursts, round(seconds / 4 / each)))
        short = bursts(product.launch, device.timer, each, schedule.rest, count)
        rested = time.monotonic()
        left = max(seconds - (rested - begun), seconds / 4)  # products that are slow may have used it up
        long = settle(
            product.launch,
            device.timer,
            each,
            window=schedule.window,
            settle_for=left * 0.6,
            measure_for=left * 0.4,
        )
        checked = product.verify(VERIFY_SHARE * seconds)
        burst_row = self.row(product, "burst", short, device.telemetry.between(begun, rested), checked)
        self.report.measurement(burst_row)
        settled_row = self.row(
            product, "settled", long.blocks, device.telemetry.between(long.started, long.ended), checked
        )
        self.report.measurement({**settled_row, "settled": long.settled})


def bench(report: Reporter, ordinal: int, dtypes: list[str] | None, shape: list[int] | None, seconds: float) -> None:
    """Measure on GPU `ordinal` in about `seconds`; where PyTorch sees no GPU, one child measures the CPU.

    `dtypes` are the formats asked for, those that the device lacks being told; None stands for all that it has.
    """
    report.step("while opening the device")
    available = torch.cuda.is_available()
    if not available and ordinal > 0:
        return
    device = Device(f"cuda:{ordinal}" if available else "cpu")
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
    runnable = [dtype for dtype in DTYPES.values() if unsupported(device, dtype) is None]
    if dtypes is not None:
        runnable = [dtype for dtype in runnable if dtype.name in dtypes]
        for name in dtypes:
            if reason := unsupported(device, DTYPES[name]):
                report.fact(f"bench.{ordinal}.{name}", None, "PyTorch", reason)
    worker = Bench(report, ordinal, device)
    schedules = [COLD, *[WARM] * len(runnable)][: len(runnable)]
    for dtype, schedule in zip(runnable, schedules, strict=True):
        share = seconds * schedule.share / sum(each.share for each in schedules)
        try:
            worker.measure(dtype, (shape[0], shape[1], shape[2]) if shape else None, share, schedule)
        except TooLongError as error:
            report.fact(f"bench.{ordinal}.{dtype.name}", None, "PyTorch", str(error))
        except RuntimeError as error:  # NotImplementedError is one as well
            outcome = "failed" if device_failed(error) else None
            report.fact(f"bench.{ordinal}.{dtype.name}", outcome, "PyTorch", str(error).split("\n")[0][:300])
    device.telemetry.stop()


def device_failed(error: RuntimeError) -> bool:
    """Whether PyTorch tells of the device failing, rather than of a combination that it does not offer."""
    text = str(error)
    if "NOT_SUPPORTED" in text:  # cuBLAS's way to say the latter
        return False
    return isinstance(error, torch.OutOfMemoryError) or "CUDA error" in text or "CUDA driver error" in text


def unsupported(device: Device, dtype: Dtype) -> str | None:
    """Why this device can't multiply in this format, or None."""
    if device.kind == "cpu":
        return None if dtype.name in ON_CPU else "not measured on a CPU"
    if device.capability < dtype.least_capability:
        return "needs compute capability {}.{}".format(*dtype.least_capability)
    return None
