"""What is kept of a long watch, and what it makes of readings that change."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring import health
from gpusmoke.measuring.health import MOST_OF_A_KIND, POINT_SECONDS, Watch, keep
from gpusmoke.measuring.telemetry import Sample, Telemetry


@given(st.lists(st.tuples(st.floats(0, 0.9), st.integers(0, 0x1FF)), min_size=1))
def test_a_sample_a_second_is_kept_and_every_reason_to_be_slow(steps):
    kept, seen, at = [], 0, 0.0
    for step, reasons in steps:
        at += step
        seen |= reasons
        keep(kept, Sample(at, 1980, 700.0, 60, reasons))
    told = 0
    for sample in kept:
        told |= sample.reasons
    assert told == seen
    assert all(later.at - earlier.at >= POINT_SECONDS for earlier, later in pairwise(kept))
    assert len(kept) <= 1 + at / POINT_SECONDS
    assert at - kept[-1].at < POINT_SECONDS


def test_many_events_of_a_kind_hide_no_other_and_keep_their_first_and_last():
    watch, told = Watch(Telemetry(None), None), []
    watch.tell = lambda: told.append(len(watch.events))
    for number in range(40):
        watch.note("slowed", reasons=0x40)
        watch.note("xid", number=31)
        watch.note("ecc", before=number, now=number + 1)
    watch.note("xid", number=79)
    row = watch.to_json()
    counts = [(one["before"], one["now"]) for one in row["events"] if one["what"] == "ecc"]
    assert counts[0] == (0, 1)
    assert counts[-1] == (39, 40)
    assert len(counts) == MOST_OF_A_KIND
    assert [one["number"] for one in row["events"] if one["what"] == "xid"].count(79) == 1
    assert row["event_counts"] == {"slowed": 40, "xid 31": 40, "ecc": 40, "xid 79": 1}
    assert len(told) == 121
    assert row["unwatched"] == "not a GPU"


class Card:
    """What NVML tells of a GPU, changed by the test; `fails` is the error that every reading but events ends with."""

    class NVMLError(Exception):
        value = 15

    class NVMLError_Timeout(NVMLError):  # noqa: N801, N818 - NVML's name
        pass

    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC, nvmlEventTypeXidCriticalError = 1, 0, 8  # noqa: N815

    def __init__(self, types=8):
        self.ecc, self.rows, self.temperature, self.reasons = 0, (9, 0, 0, 0), 40, 0
        self.xids, self.fails, self.types = [], None, types

    def nvmlDeviceGetSupportedEventTypes(self, handle):  # noqa: N802
        return self.types

    def nvmlEventSetCreate(self):  # noqa: N802
        return "events"

    def nvmlDeviceRegisterEvents(self, handle, types, events):  # noqa: N802
        assert (types, events) == (8, "events")

    def nvmlEventSetWait_v2(self, events, milliseconds):  # noqa: N802
        if not self.xids:
            raise self.NVMLError_Timeout
        return SimpleNamespace(eventData=self.xids.pop(0))

    def nvmlDeviceGetTotalEccErrors(self, handle, kind, counter):  # noqa: N802
        return self.ecc

    def nvmlDeviceGetRemappedRows(self, handle):  # noqa: N802
        return self.rows

    def sampled(self, *_):
        if self.fails:
            raise self.fails
        return Sample(health.time.monotonic(), 1980, 700.0, self.temperature, self.reasons)


@pytest.fixture
def watched(monkeypatch):
    """`watched(card)`: a watch of it that looks when it is told to."""

    def watch(card):
        monkeypatch.setattr(health, "INTERVAL_SECONDS", 3600.0)
        monkeypatch.setattr(health, "opened", lambda uuid: (card, "handle"))
        monkeypatch.setattr(health, "sampled", card.sampled)
        telemetry = Telemetry(None)
        telemetry.reason, telemetry.samples = None, [Sample(0.0, 1, 1.0, 1, 0)]  # from before the soak
        return Watch(telemetry, "GPU-1")

    return watch


def looked(watch, **changes):
    """What a further look finds, without its time, where the card has changed so."""
    card, before = changes.pop("card"), len(watch.events)
    for name, value in changes.items():
        setattr(card, name, value)
    watch._tick()
    return [
        {key: one for key, one in event.items() if key not in ("seconds", "utc")} for event in watch.events[before:]
    ]


def test_errors_of_the_memory_are_told_when_there_are_more_than_before(watched):
    card = Card()
    card.ecc, card.rows = 4, (9, 1, 0, 0)  # of earlier days
    watch = watched(card)
    assert looked(watch, card=card) == []
    assert looked(watch, card=card, ecc=6) == [{"what": "ecc", "before": 4, "now": 6}]
    assert looked(watch, card=card) == []
    row = {"what": "row", "uncorrected": 1, "pending": 1, "failure": 0}
    assert looked(watch, card=card, rows=(9, 1, 1, 0)) == [row]
    assert looked(watch, card=card, rows=(10, 1, 1, 0)) == []  # a corrected one is no matter
    assert looked(watch, card=card, rows=(10, 1, 0, 0)) == []
    assert watch.to_json()["ecc_uncorrected"] == 6
    watch.stop()


def test_a_gpu_is_lost_when_it_does_not_answer_three_times_in_a_row(watched):
    card = Card()
    watch, error = watched(card), Card.NVMLError("GPU is lost")
    assert looked(watch, card=card, fails=error) == []
    assert looked(watch, card=card) == []
    assert looked(watch, card=card, fails=None) == []
    assert [looked(watch, card=card, fails=error) for _ in range(4)] == [
        [],
        [],
        [{"what": "lost", "code": 15, "text": "GPU is lost"}],
        [],
    ]


def test_heat_and_the_drivers_errors_are_told_when_they_begin(watched):
    card = Card()
    watch = watched(card)
    hot = {"what": "slowed", "reasons": 0x40, "names": ["hardware thermal slowdown"], "temperature_c": 90}
    assert looked(watch, card=card, reasons=0x44, temperature=90) == [hot]
    assert looked(watch, card=card, reasons=0x40, temperature=80) == []
    assert looked(watch, card=card, reasons=0x4) == []  # the power cap is the normal state
    assert looked(watch, card=card, reasons=0x40) == [hot | {"temperature_c": 80}]
    assert looked(watch, card=card, xids=[79]) == [{"what": "xid", "number": 79}]
    told = watch.to_json()
    assert (told["temperature_c_max"], told["slowed_percent"], told["unwatched"]) == (90, 66.7, None)
    assert told["event_counts"] == {"slowed": 2, "xid 79": 1}
    assert watch.latest().reasons == 0x44  # every reason of its second
    assert len(watch._telemetry.samples) == 1


def test_a_reading_that_the_card_does_not_have_is_named_and_the_others_are_watched(watched):
    card = Card(types=1)
    watch = watched(card)
    assert list(watch.to_json()["unwatched"]) == ["xid"]
    assert looked(watch, card=card, ecc=1, xids=[79]) == [{"what": "ecc", "before": 0, "now": 1}]


def test_a_gpu_that_nvml_does_not_open_is_not_watched(watched):
    watch = watched(SimpleNamespace(sampled=None))
    assert watch.to_json()["unwatched"].startswith("NVML: ")
    assert watch.latest() is None
