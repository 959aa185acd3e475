"""Runs of nodes as fleet keeps them, and what its rules say of them: run('n1', gpu(rate=50.0), complete=False)."""

from gpusmoke.findings import fleet as rules
from gpusmoke.findings import slow
from gpusmoke.fleet.nodes import fleet
from gpusmoke.fleet.runs import READINGS, SETTINGS, Gpu, Model, Rate, Run, What

MODEL = Model("NVIDIA A10", "72", False)
WHAT = What("bf16 8192", "bf16 8192x8192x8192 NT settled", "matmul", "settled", "TFLOP/s", 2)
COPY = What("copy", "host-to-device 1 GB", "host-to-device", "settled", "GB/s", 2)
CALM = {"sm_clock_mhz": 1500, "memory_clock_mhz": 6251, "power_w": 149, "temperature_c": 60, "throttle_reasons": 4}
USUAL = {"memory_mib": 23028, "power_limit_w": 150, "ecc_mode": 1, "sm_clock_max_mhz": 1710, "nvlinks": 4}


def gpu(
    ordinal=0,
    rate=100.0,
    what=WHAT,
    uuid=None,
    model=MODEL,
    link=(4, 16),
    others=None,
    readings=(),
    settings=(),
    pci=None,
):
    rates = (Rate(what, rate, tuple((CALM | dict(readings))[name] for name in READINGS)),)
    held = tuple((USUAL | dict(settings))[name] for name in SETTINGS)
    return Gpu(ordinal, model, uuid, pci, held, link, others, rates)


def run(node, *gpus, **changes):
    values = {
        "path": f"{node}.json",
        "command": "smoke",
        "started": "2026-11-26T10:00:00Z",
        "complete": True,
        "problems": (),
        "warnings": (),
        "software": (("driver", "580.1"), ("PyTorch", "2.13")),
    }
    return Run(node=node, gpus=gpus, **(values | changes))


def healthy(count, *gpus, start=1):
    """Runs of nodes n1, n2, … with these GPUs, each with UUIDs of its own."""
    return [
        run(f"n{at}", *(one._replace(uuid=f"GPU-{at}-{one.ordinal}") for one in gpus or (gpu(),)))
        for at in range(start, start + count)
    ]


def judged(runs, expected=None):
    read = fleet(runs, expected)
    return rules.judge(read, slow.groups(read.nodes))


def told(runs, expected=None):
    """(id, nodes) of each line but the last, which counts the healthy ones."""
    return [(one.finding.id, one.nodes) for one in judged(runs, expected) if one.finding.id != "fleet-healthy"]


def only(runs, kind):
    (found,) = [one for one in judged(runs) if one.finding.id == kind]
    return found
