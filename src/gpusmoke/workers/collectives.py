"""What one rank does for `collectives`: joins the others, and times and verifies each operation at each size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist

from gpusmoke import __version__
from gpusmoke.facts import Json
from gpusmoke.measuring import METHOD
from gpusmoke.measuring.collectives import (
    Message,
    algorithm_bandwidth,
    bus_factor,
    largest_value,
    messages,
    size_text,
    slowest,
)
from gpusmoke.measuring.ranks import Place, fit
from gpusmoke.measuring.statistics import median, rounded
from gpusmoke.measuring.timing import CpuTimer, CudaTimer, Timer
from gpusmoke.workers.exchange import Exchange
from gpusmoke.workers.reporter import Reporter
from gpusmoke.workers.roll import SOURCE, Roll, connect, patience
from gpusmoke.workers.rows import spread

ROUNDS = 5
ROUND_SECONDS = 0.2  # at most, where not a single operation takes longer
PROBES = 2
WRONG_TOLD = 16


def collectives(
    report: Reporter,
    ordinal: int,
    backend: str,
    operations: Sequence[str],
    sizes: Sequence[int],
    dtype: str,
    iterations: int,
    warmup: int,
    timeout: float,
) -> None:
    """Be the rank that torchrun made this process, `ordinal`; rank 0 reports what was measured."""
    place = Place.told_by(os.environ)
    assert place is not None
    assert place.rank == ordinal
    os.environ.setdefault("NCCL_DEBUG", "WARN")  # its errors name their cause in lines that it would keep to itself
    report.step("while joining torchrun's store")
    roll = Roll(report, place, timeout)
    try:
        device = device_of(place, backend)
        rows = roll.enter(who(place, backend, device))
        if place.rank == 0:
            report.fact("collectives.roll", rows, SOURCE)
            if not fit(rows):  # it would hang, or fail in words that say less
                roll.dismiss()
                return
            roll.say("go", None)
        assert device is not None
        join(roll, place, backend, device, timeout)
        largest = largest_value(dtype, place.ranks)
        wrong: list[dict[str, Json]] = []
        number = 0
        for operation in operations:
            for message in messages(operation, sizes, dtype, place.ranks):
                number += 1
                what = f"{operation} of {size_text(message.size)}"
                roll.step(f"preparing {what}")
                exchange = Exchange(operation, message.count, dtype, place.rank, place.ranks, largest, device)
                exchange.prepare()
                roll.step(f"in {what}")
                seconds = rounds(roll, exchange, timer_of(device), f"iterations/{number}", warmup, iterations)
                exchange.prepare()
                exchange.launch()
                roll.say(f"row/{number}/{place.rank}", {"seconds": seconds, "wrong": exchange.wrong()})
                if place.rank == 0:
                    told = roll.gather(f"row/{number}")
                    wrong += [
                        {"operation": operation, "size": message.size, "rank": rank, **one["wrong"]}
                        for rank, one in enumerate(told)
                        if one["wrong"] is not None
                    ]
                    if wrong:
                        report.fact("collectives.wrong", wrong[:WRONG_TOLD], "every rank's comparison")
                    report.measurement(row(operation, message, dtype, backend, rows, told))
        # Not before all have verified: others may still read from this rank's memory.
        roll.step("while waiting for the other ranks to end")
        roll.agree("finished", None)
    except Exception as error:  # noqa: BLE001 - whatever a library raises is what ended this rank
        roll.fail(error)


def device_of(place: Place, backend: str) -> torch.device | None:
    """Where this rank's data lies: its GPU (two share one where there are too few), the CPU, or None without a GPU."""
    if backend == "gloo":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        return None
    return torch.device("cuda", place.local_rank % torch.cuda.device_count())


def who(place: Place, backend: str, device: torch.device | None) -> dict[str, Json]:
    """What this rank tells the others about itself."""
    on_gpu = device is not None and device.type == "cuda"
    return {
        **place._asdict(),
        "gpusmoke": __version__,
        "torch": str(torch.__version__),
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if on_gpu else None,
        "device": None if device is None else str(device),
        "name": torch.cuda.get_device_name(device) if on_gpu else "CPU",
        "uuid": f"GPU-{torch.cuda.get_device_properties(device).uuid}" if on_gpu else None,
    }


def join(roll: Roll, place: Place, backend: str, device: torch.device, timeout: float) -> None:
    """Become a member of the group; its connections are made at once, so that they don't fail in an operation."""
    roll.step(f"while {backend} made its connections")
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group(
        backend,
        store=dist.PrefixStore("group", connect(timeout)),
        rank=place.rank,
        world_size=place.ranks,
        timeout=timedelta(seconds=patience(timeout)),  # ours comes first: it knows which ranks are missing
        device_id=device if on_gpu else None,
    )
    dist.barrier()


def timer_of(device: torch.device) -> Timer:
    """The clock of the device."""
    return CudaTimer() if device.type == "cuda" else CpuTimer()


def rounds(roll: Roll, exchange: Exchange, timer: Timer, key: str, warmup: int, iterations: int) -> list[float]:
    """Seconds an operation took on this rank, a mean for each of ROUNDS rounds, which all ranks begin together."""

    def each(count: int) -> float:
        dist.barrier()
        start = timer.mark()
        for _ in range(count):
            exchange.launch()
        return timer.seconds(start, timer.mark()) / count

    for _ in range(warmup):
        exchange.launch()
    probed = each(PROBES)
    count: int = roll.agree(key, max(1, min(iterations, int(ROUND_SECONDS / max(probed, 1e-9)))))
    return [each(count) for _ in range(ROUNDS)]


def row(
    operation: str,
    message: Message,
    dtype: str,
    backend: str,
    rows: Sequence[dict[str, Json]],
    told: Sequence[dict[str, Json]],
) -> dict[str, Json]:
    """The measurement of one operation at one size, as it stands in a record."""
    times = slowest([one["seconds"] for one in told])
    value = algorithm_bandwidth(message.size, median(times))
    right = all(one["wrong"] is None for one in told)
    return {
        "quantity": operation,
        "gpu": None,
        "device": rows[0]["name"],
        "dtype": dtype,
        "shape": [message.size],
        "layout": None,
        "regime": "settled",
        "backend": backend,
        "method": METHOD,
        "unit": "GB/s",
        "value": rounded(value),
        "statistic": "median",
        **spread([algorithm_bandwidth(message.size, seconds) for seconds in times]),
        "telemetry": {},
        "verified": {"method": "bitwise", "passed": right, "error": 0.0, "bound": 0.0, "repeats_equal": None},
        "ranks": len(rows),
        "nodes": len({one["node"] for one in rows}),
        "count": message.count,
        "time_us": rounded(1e6 * median(times)),
        "bus_gb_s": rounded(value * bus_factor(operation, len(rows))),
    }
