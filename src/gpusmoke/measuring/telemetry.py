"""Clocks, power, temperature, use and throttle reasons of one GPU, sampled through NVML on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from gpusmoke.facts import Json
from gpusmoke.measuring.clocks import reason_names, together
from gpusmoke.measuring.statistics import mean, median

Number = TypeVar("Number", int, float)

INTERVAL_SECONDS = 0.01  # and the calls' own time: some 80 samples a second on an H100
POINTS = 240  # of a timeline
TIMELINE = ("seconds", "rate", "dtype", "sm_clock_mhz", "power_w", "temperature_c", "throttle_reasons")


@dataclass(frozen=True)
class Sample:
    """One reading: host time (s), clocks (MHz), power (W), temperature (°C), throttle reasons (bit mask).

    Memory clock, use of the GPU (%) and energy since the driver was loaded (J) are None on cards that do not tell.
    """

    at: float
    sm_clock_mhz: int
    power_w: float
    temperature_c: int
    reasons: int
    memory_clock_mhz: int | None = None
    utilisation_percent: int | None = None
    energy_j: float | None = None


@dataclass(frozen=True)
class Rate:
    """What was measured when: host time (s) from and to, a name, and the rate."""

    started: float
    ended: float
    name: str
    rate: float


def opened(uuid: str) -> tuple[Json, object]:
    """NVML, which is ready, and its handle of a GPU. Raises what NVML does where it can't, or has no such GPU."""
    import pynvml as nvml

    nvml.nvmlInit()
    return nvml, nvml.nvmlDeviceGetHandleByUUID(uuid)


def sampled(nvml: Json, handle: object) -> Sample:
    """What every card tells, now; see `opened`."""
    try:
        reasons = nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    except (AttributeError, nvml.NVMLError_FunctionNotFound):  # before driver 535 by its old name only
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return Sample(
        time.monotonic(),
        nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        int(reasons),
    )


class Telemetry:
    """Samples one GPU, found by UUID, from `start` on; without NVML there are no samples, and `reason` says why."""

    def __init__(self, uuid: str | None) -> None:
        self.samples: list[Sample] = []
        self.reason: str | None = "not a GPU"
        self._stop = threading.Event()
        if uuid is not None:
            try:
                self._open(uuid)
            except Exception as error:  # noqa: BLE001 - a driver without NVML must not end the benchmark
                self.reason = f"NVML: {error}"

    def _open(self, uuid: str) -> None:
        nvml, handle = opened(uuid)

        def told(question: Callable[[], Number]) -> Callable[[], Number | None]:
            try:
                question()
            except (AttributeError, nvml.NVMLError):
                return lambda: None
            return question

        memory_clock = told(lambda: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)))
        use = told(lambda: int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu))
        energy = told(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000)

        def read() -> Sample:
            return replace(
                sampled(nvml, handle),
                memory_clock_mhz=memory_clock(),
                utilisation_percent=use(),
                energy_j=energy(),
            )

        read()  # what this GPU does not report shows here, not in the thread
        self.reason = None

        def sample() -> None:
            while not self._stop.wait(INTERVAL_SECONDS):
                self.samples.append(read())

        threading.Thread(target=sample, daemon=True).start()

    def stop(self) -> None:
        """Sample no more."""
        self._stop.set()

    def during(self, spans: Sequence[tuple[float, float]]) -> list[Sample]:
        """The samples taken in one of the spans of host time (time.monotonic), which are in order and don't overlap."""
        found, following = [], iter(spans)
        span = next(following, None)
        for sample in list(self.samples):
            while span is not None and sample.at > span[1]:
                span = next(following, None)
            if span is None:
                break
            if sample.at >= span[0]:
                found.append(sample)
        return found

    def clock(self, start: float, end: float) -> float | None:
        """The mean SM clock (MHz) from `start` to `end`, or None without samples."""
        seen = [sample.sm_clock_mhz for sample in self.during([(start, end)])]
        return mean(seen) if seen else None

    def between(self, start: float, end: float) -> dict[str, Json]:
        """The summary from `start` to `end` (time.monotonic)."""
        return self.summary([(start, end)])

    def summary(self, spans: Sequence[tuple[float, float]]) -> dict[str, Json]:
        """Medians, and every throttle reason seen, in the spans; {reason} without samples."""
        seen = self.during(spans)
        if not seen:
            return {"reason": self.reason or "no sample in that time"}
        reasons = together(sample.reasons for sample in seen)
        row: dict[str, Json] = {
            "samples": len(seen),
            "sm_clock_mhz": round(median([s.sm_clock_mhz for s in seen])),
            "power_w": round(median([s.power_w for s in seen]), 1),
            "temperature_c": round(median([s.temperature_c for s in seen])),
            "throttle_reasons": reasons,
            "throttle_reason_names": reason_names(reasons),
        }
        for name in ("memory_clock_mhz", "utilisation_percent"):
            values = [value for s in seen if (value := getattr(s, name)) is not None]
            row |= {name: round(median(values))} if values else {}
        return row

    def watts(self, start: float, end: float) -> float | None:
        """The mean power (W) from `start` to `end`: by the energy counter where there is one, else of the samples."""
        seen = self.during([(start, end)])
        if len(seen) < 2:
            return None
        first, last = seen[0], seen[-1]
        if first.energy_j is not None and last.energy_j is not None and last.energy_j > first.energy_j:
            return (last.energy_j - first.energy_j) / (last.at - first.at)
        return mean([sample.power_w for sample in seen])

    def timeline(self, rates: Sequence[Rate]) -> dict[str, list[Json]] | None:
        """Everything over time in at most POINTS points, as parallel lists; None without samples.

        A point in which nothing was measured has no rate.
        """
        samples = list(self.samples)
        if len(samples) < 2:
            return None
        start, step = samples[0].at, max((samples[-1].at - samples[0].at) / POINTS, INTERVAL_SECONDS)
        bins: dict[int, list[Sample]] = {}
        for sample in samples:
            bins.setdefault(min(int((sample.at - start) / step), POINTS - 1), []).append(sample)
        measured: dict[int, Rate] = {}
        for rate in rates:
            for number in range(int((rate.started - start) / step), int((rate.ended - start) / step) + 1):
                measured[min(number, POINTS - 1)] = rate
        lines: dict[str, list[Json]] = {name: [] for name in TIMELINE}
        for number, seen in sorted(bins.items()):
            what = measured.get(number)
            point = (
                round((number + 0.5) * step, 2),
                what and float(f"{what.rate:.4g}"),
                what and what.name,
                round(mean([s.sm_clock_mhz for s in seen])),
                round(mean([s.power_w for s in seen])),
                round(mean([s.temperature_c for s in seen])),
                together(s.reasons for s in seen),
            )
            for column, value in zip(TIMELINE, point, strict=True):
                lines[column].append(value)
        return lines


def others(uuid: str | None) -> dict[str, Json]:
    """Who computes on a GPU, asked before this process does: {processes, utilisation_percent}, each or None.

    Afterwards this process is one of them, and can't be told from the others: its number may be another in a container.
    """
    found: dict[str, Json] = {"processes": None, "utilisation_percent": None}
    if uuid is None:
        return found
    try:
        nvml, handle = opened(uuid)
        found["processes"] = len(nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        found["utilisation_percent"] = int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except Exception:  # noqa: BLE001 - a driver without NVML, or a card that does not tell, must not end the benchmark
        return found
    return found


def pcie_link(uuid: str) -> dict[str, Json]:
    """Generation and width of a GPU's PCIe link now, and the most that card and slot can do; {reason} without NVML.

    An idle link sleeps at a lower generation: only what is read while, or just after, data moved says anything.
    """
    try:
        nvml, handle = opened(uuid)
        return {
            "generation": nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle),
            "generation_max": nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle),
            "width": nvml.nvmlDeviceGetCurrPcieLinkWidth(handle),
            "width_max": nvml.nvmlDeviceGetMaxPcieLinkWidth(handle),
        }
    except Exception as error:  # noqa: BLE001 - a card without a PCIe link, or a driver without NVML, is no failure
        return {"reason": f"NVML: {error}"}
