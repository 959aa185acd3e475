"""What is kept of a long watch."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

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
