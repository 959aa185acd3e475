"""Clock, power, temperature and throttle reasons of one GPU, sampled through NVML on a thread of its own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from gpusmoke.facts import Json
from gpusmoke.measuring.clocks import reason_names
from gpusmoke.measuring.statistics import median

INTERVAL_SECONDS = 0.01


@dataclass(frozen=True)
class Sample:
    """One reading: host time (s), SM clock (MHz), power (W), temperature (°C), throttle reasons (bit mask)."""

    at: float
    sm_clock_mhz: int
    power_w: float
    temperature_c: int
    reasons: int


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
        import pynvml as nvml

        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)

        def reasons() -> int:
            try:
                return int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
            except (AttributeError, nvml.NVMLError_FunctionNotFound):  # before driver 535 by its old name only
                return int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))

        def read() -> Sample:
            return Sample(
                time.monotonic(),
                nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
                nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
                nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
                reasons(),
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

    def between(self, start: float, end: float) -> dict[str, Json]:
        """Medians, and every throttle reason seen, from `start` to `end` (time.monotonic); empty without samples."""
        seen = [sample for sample in self.samples if start <= sample.at <= end]
        if not seen:
            return {"reason": self.reason or "no sample in that time"}
        reasons = 0
        for sample in seen:
            reasons |= sample.reasons
        return {
            "samples": len(seen),
            "sm_clock_mhz": round(median([s.sm_clock_mhz for s in seen])),
            "power_w": round(median([s.power_w for s in seen]), 1),
            "temperature_c": round(median([s.temperature_c for s in seen])),
            "throttle_reasons": reasons,
            "throttle_reason_names": reason_names(reasons),
        }


def pcie_link(uuid: str) -> dict[str, Json]:
    """Generation and width of a GPU's PCIe link now, and the most that card and slot can do; {reason} without NVML.

    An idle link sleeps at a lower generation: only what is read while, or just after, data moved says anything.
    """
    try:
        import pynvml as nvml

        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        return {
            "generation": nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle),
            "generation_max": nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle),
            "width": nvml.nvmlDeviceGetCurrPcieLinkWidth(handle),
            "width_max": nvml.nvmlDeviceGetMaxPcieLinkWidth(handle),
        }
    except Exception as error:  # noqa: BLE001 - a card without a PCIe link, or a driver without NVML, is no failure
        return {"reason": f"NVML: {error}"}
