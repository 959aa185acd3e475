"""How a GPU fares while it works for minutes or hours: NVML's counters of errors, clocks and heat, on a thread.

Beside what `Telemetry` samples: memory errors that could not be corrected, rows of memory that went bad, the driver's
own errors (Xid, as events; on Linux alone), heat and power brakes, and whether the GPU still answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from gpusmoke.clock import now
from gpusmoke.facts import Json
from gpusmoke.measuring.clocks import SLOWED_DOWN, reason_names
from gpusmoke.measuring.telemetry import Sample, Telemetry, opened, sampled

INTERVAL_SECONDS = 0.2  # a power brake comes and goes within a second
POINT_SECONDS = 1.0
MOST_OF_A_KIND = 5  # the first events, and the last
LOST_AFTER = 3  # readings in a row that fail
EVENT_WAIT_MS = 1

Read = Callable[[], Json]


def keep(samples: list[Sample], sample: Sample) -> None:
    """Add a sample, or of those in between, which would fill the memory in hours, only the reasons to be slow."""
    if samples and sample.at - samples[-1].at < POINT_SECONDS:
        samples[-1] = replace(samples[-1], reasons=samples[-1].reasons | sample.reasons)
    else:
        samples.append(sample)


class Watch:
    """Watches one GPU from now on, taking the place of `telemetry`'s own sampling; calls `tell` after each event.

    An event is {what, seconds, utc, …}, the seconds counted from the beginning of the watch. `reason` is None, or says
    why nothing is watched at all; `unwatched` says it of single readings, by name.
    """

    def __init__(self, telemetry: Telemetry, uuid: str | None) -> None:
        self.started = time.monotonic()
        self.tell: Callable[[], None] = lambda: None
        self.counts: dict[str, int] = {}
        self.unwatched: dict[str, str] = {}
        self.readings = self.slowed = 0
        self.hottest: int | None = None
        self.reason = telemetry.reason
        self._of_a_kind: dict[str, list[dict[str, Json]]] = {}
        self._telemetry = telemetry
        self._before: dict[str, Json] = {}
        self._failed = 0
        self._error: type[Exception] = Exception
        self._take: dict[str, Callable[[Json], None]] = {
            "clocks": self._take_clocks,
            "ecc": self._take_ecc,
            "rows": self._take_rows,
        }
        self._stop = threading.Event()
        telemetry.stop()
        telemetry.samples.clear()
        if uuid is None or self.reason is not None:
            return
        try:
            self._read = self._open(uuid)
            self._xid = self._read.pop("xid", None)
        except Exception as error:  # noqa: BLE001 - a driver that NVML fails with can still be soaked
            self.reason = f"NVML: {error}"
            return
        self._tick()  # what later readings are compared with
        threading.Thread(target=self._watch, daemon=True).start()

    def _open(self, uuid: str) -> dict[str, Read]:
        """The readings that this GPU has, by name."""
        nvml, handle = opened(uuid)
        self._error = nvml.NVMLError
        uncorrected, volatile = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC

        def listen() -> Read:
            xid = nvml.nvmlEventTypeXidCriticalError
            if not nvml.nvmlDeviceGetSupportedEventTypes(handle) & xid:
                raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
            events = nvml.nvmlEventSetCreate()
            nvml.nvmlDeviceRegisterEvents(handle, xid, events)

            def heard() -> int | None:
                try:
                    return int(nvml.nvmlEventSetWait_v2(events, EVENT_WAIT_MS).eventData)
                except nvml.NVMLError_Timeout:
                    return None

            return heard

        wanted: dict[str, Callable[[], Read]] = {
            "clocks": lambda: lambda: sampled(nvml, handle),
            "ecc": lambda: lambda: int(nvml.nvmlDeviceGetTotalEccErrors(handle, uncorrected, volatile)),
            "rows": lambda: lambda: list(nvml.nvmlDeviceGetRemappedRows(handle))[1:],
            "xid": listen,
        }
        there: dict[str, Read] = {}
        for name, make in wanted.items():
            try:
                read = make()
                read()
            except (AttributeError, nvml.NVMLError) as error:
                self.unwatched[name] = str(error)
            else:
                there[name] = read
        return there

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self._tick()

    def _tick(self) -> None:
        try:
            for name, read in self._read.items():
                self._take[name](read())
        except self._error as error:
            self._failed += 1
            if self._failed == LOST_AFTER:
                self.note("lost", code=getattr(error, "value", None), text=str(error))
        else:
            self._failed = 0
        try:
            if self._xid is not None and (number := self._xid()) is not None:
                self.note("xid", number=number)
        except self._error as error:  # events can end by themselves; the readings above tell of the GPU
            self._xid, self.unwatched["xid"] = None, str(error)

    def note(self, what: str, **more: Json) -> None:
        """Take in something that happened now."""
        kind = f"{what} {more['number']}" if "number" in more else what
        self.counts[kind] = self.counts.get(kind, 0) + 1
        event = {"what": what, "seconds": self.seconds(), "utc": now(), **more}
        same = self._of_a_kind.setdefault(kind, [])
        if len(same) < MOST_OF_A_KIND:
            same.append(event)
        else:
            same[-1] = event
        self.tell()

    def _take_clocks(self, sample: Sample) -> None:
        self.readings += 1
        self.hottest = max(sample.temperature_c, self.hottest or 0)
        slowed = sample.reasons & SLOWED_DOWN
        self.slowed += bool(slowed)
        begun = slowed & ~self._before.get("slowed", 0)
        self._before["slowed"] = slowed
        if begun:
            self.note("slowed", reasons=begun, names=reason_names(begun), temperature_c=sample.temperature_c)
        keep(self._telemetry.samples, sample)

    def _take_ecc(self, count: int) -> None:
        before = self._before.setdefault("ecc", count)
        if count > before:
            self.note("ecc", before=before, now=count)
        self._before["ecc"] = count

    def _take_rows(self, rows: list[int]) -> None:
        before = self._before.setdefault("rows", rows)
        if any(new > old for new, old in zip(rows, before, strict=True)):
            uncorrected, pending, failure = rows
            self.note("row", uncorrected=uncorrected, pending=pending, failure=failure)
        self._before["rows"] = rows

    @property
    def events(self) -> list[dict[str, Json]]:
        """What happened, in order of time; of many of a kind the first and the last ones."""
        every = [event for same in list(self._of_a_kind.values()) for event in same]
        return sorted(every, key=lambda event: event["seconds"])

    def seconds(self) -> float:
        """How long this has been watching."""
        return round(time.monotonic() - self.started, 1)

    def latest(self) -> Sample | None:
        """The last second's sample, if there is any."""
        return self._telemetry.samples[-1] if self._telemetry.samples else None

    def to_json(self) -> dict[str, Json]:
        """What was seen so far, as it stands in a record."""
        return {
            "unwatched": self.reason or dict(self.unwatched) or None,
            "temperature_c_max": self.hottest,
            "slowed_percent": round(100 * self.slowed / self.readings, 1) if self.readings else None,
            "ecc_uncorrected": self._before.get("ecc"),
            "events": self.events,
            "event_counts": dict(self.counts),
        }

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
