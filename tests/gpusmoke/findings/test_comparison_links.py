"""Copies between GPUs in two records: the same pair is found again, whatever its GPUs are called now."""

from itertools import permutations

import pytest

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.comparison import judge
from gpusmoke.record import Record

TELEMETRY = {"sm_clock_mhz": 1365, "power_w": 698.0, "temperature_c": 62, "throttle_reasons": 4}


def row(quantity, unit, samples, telemetry, **changes):
    checked = {"method": "bitwise", "passed": True, "error": 0.0, "bound": 0.0, "repeats_equal": None}
    same = {"device": "a GPU", "regime": "settled", "method": 2, "value": samples[0], "verified": checked}
    return {"quantity": quantity, "unit": unit, "samples": samples, "telemetry": telemetry, **same, **changes}


def run(uuids, slow=None):
    """A run on these GPUs with copies between them; those of `slow`, from one UUID to another, are slower."""
    rows = []
    for gpu, uuid in enumerate(uuids):
        product = {"dtype": "bf16", "shape": [8192] * 3, "layout": "NT", "backend": "cublas", "gpu": gpu}
        rows.append(row("matmul", "TFLOP/s", [680.0, 681.0, 679.0, 680.0], TELEMETRY, **product))
        copy = {"dtype": None, "shape": [1 << 28], "layout": None, "backend": "cuda", "gpu": gpu}
        for peer, other in enumerate(uuids):
            if peer != gpu:
                rate = 300.0 if (uuid, other) == slow else 380.0
                rows.append(row("peer-copy", "GB/s", [rate] * 3, {}, **copy, peer=peer))
    facts = {"cuda.devices": [{"ordinal": at, "uuid": uuid} for at, uuid in enumerate(uuids)]}
    facts |= {f"bench.{at}": {"name": "a GPU", "multiprocessors": 132} for at in range(len(uuids))}
    told = Facts({name: Fact(value, "a test") for name, value in facts.items()})
    return Record("bench", "2026-11-26T02:17:51Z", facts=told, measurements=rows)


@pytest.mark.parametrize("now", [*permutations(["GPU-a", "GPU-b", "GPU-c"])])
def test_copies_between_gpus_are_compared_pair_by_pair_however_they_are_numbered(now):
    older, newer = run(("GPU-a", "GPU-b", "GPU-c")), run(now, slow=("GPU-a", "GPU-b"))
    (one,) = [one for one in judge(older, newer) if one.id == "slower"]
    assert one.gpu == now.index("GPU-a")
    assert f"peer-copy to GPU {now.index('GPU-b')} 0.27 GB: 380 to 300 GB/s (-21.1 %)" in one.evidence[0]
    assert len(one.evidence) == 1
    assert [one.id for one in judge(newer, older) if one.severity == "problem"] == []
    assert {one.id for one in judge(older, run(now))} == {"no-change"}
