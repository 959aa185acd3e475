"""What one rank does for `collectives`: joins the others, and times and verifies each operation at each size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch.cuda import nccl

from gpusmoke import __version__
from gpusmoke.facts import Json
from gpusmoke.measuring import METHOD
from gpusmoke.measuring.collectives import (
    Message,
    algorithm_bandwidth,
    bus_factor,
    largest_value,
    messages,
    slowest,
)
from gpusmoke.measuring.formats import size_text
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


class Work(NamedTuple):
    """What is asked for: sizes in bytes, the timeout in seconds."""

    backend: str
    operations: Sequence[str]
    sizes: Sequence[int]
    dtype: str
    iterations: int
    warmup: int
    timeout: float


def collectives(report: Reporter, ordinal: int, **options: Json) -> None:
    """Be the rank that torchrun made this process, `ordinal`; rank 0 reports what was measured."""
    work, place = Work(**options), Place.told_by(os.environ)
    assert place is not None
    assert place.rank == ordinal
    os.environ.setdefault("NCCL_DEBUG", "WARN")  # its errors name their cause in lines that it would keep to itself
    report.step("while joining torchrun's store")
    roll = Roll(report, place, work.timeout)
    try:
        device = device_of(place, work.backend)
        rows = roll.enter(who(place, device))
        if place.rank == 0:
            report.fact("collectives.roll", rows, SOURCE)
            if not fit(rows):  # they would hang, or fail in words that say less
                roll.dismiss()
                return
            roll.say("go", None)
        assert device is not None
        join(roll, place, work, device)
        measure(report, roll, place, work, device, rows)
        # Not before all have verified: others may still read from this rank's memory.
        roll.step("while waiting for the other ranks to end")
        roll.agree("finished", None)
    except Exception as error:  # noqa: BLE001 - whatever a library raises is what ended this rank
        roll.fail(error)


def measure(
    report: Reporter, roll: Roll, place: Place, work: Work, device: str, rows: Sequence[dict[str, Json]]
) -> None:
    """Time and verify every operation at every size; rank 0, which has everybody's `rows`, reports each."""
    largest = largest_value(work.dtype, place.ranks)
    timer: Timer = CpuTimer() if device == "cpu" else CudaTimer()
    wrong: list[dict[str, Json]] = []
    asked = [
        (one, message) for one in work.operations for message in messages(one, work.sizes, work.dtype, place.ranks)
    ]
    for number, (operation, message) in enumerate(asked):
        what = f"{operation} of {size_text(message.size)}"
        roll.step(f"preparing {what}")
        exchange = Exchange(operation, message.elements, work.dtype, place.rank, place.ranks, largest, device)
        exchange.prepare()
        roll.step(f"in {what}")
        seconds = rounds(roll, exchange, timer, f"iterations/{number}", work)
        exchange.prepare()
        exchange.launch()
        roll.say(f"result/{number}/{place.rank}", {"seconds": seconds, "wrong": exchange.wrong()})
        if place.rank != 0:
            continue
        told = roll.gather(f"result/{number}")
        mistakes = [(rank, one["wrong"]) for rank, one in enumerate(told) if one["wrong"] is not None]
        wrong += [{"operation": operation, "size": message.size, "rank": rank, **one} for rank, one in mistakes]
        if mistakes:
            report.fact("collectives.wrong", wrong[:WRONG_TOLD], "every rank's comparison")
        report.measurement(row(operation, message, work, rows, slowest([one["seconds"] for one in told]), not mistakes))


def device_of(place: Place, backend: str) -> str | None:
    """Where this rank's data lies: its GPU (two share one where there are too few), the CPU, or None without a GPU."""
    if backend == "gloo":
        return "cpu"
    if not torch.cuda.is_available():
        return None
    return f"cuda:{place.local_rank % torch.cuda.device_count()}"


def who(place: Place, device: str | None) -> dict[str, Json]:
    """What this rank tells the others about itself."""
    on_gpu = device not in (None, "cpu")
    return {
        **place._asdict(),
        "gpusmoke": __version__,
        "torch": str(torch.__version__),
        "nccl": nccl_version() if on_gpu else None,
        "device": device,
        "name": torch.cuda.get_device_name(device) if on_gpu else "CPU",
        "uuid": f"GPU-{torch.cuda.get_device_properties(device).uuid}" if on_gpu else None,
    }


def nccl_version() -> str:
    """As PyTorch was built for; NCCL itself compares what was loaded."""
    version: tuple[int, ...] = nccl.version()  # type: ignore[no-untyped-call]
    return ".".join(map(str, version))


def join(roll: Roll, place: Place, work: Work, device: str) -> None:
    """Become a member of the group; its connections are made at once, so that they don't fail in an operation."""
    roll.step(f"while {work.backend} made its connections")
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group(
        work.backend,
        store=connect(work.timeout, "group"),
        rank=place.rank,
        world_size=place.ranks,
        timeout=timedelta(seconds=patience(work.timeout)),  # ours comes first: it knows which ranks are missing
        device_id=torch.device(device) if on_gpu else None,
    )
    dist.barrier()


def rounds(roll: Roll, exchange: Exchange, timer: Timer, key: str, work: Work) -> list[float]:
    """Seconds an operation took on this rank, a mean for each of ROUNDS rounds, which all ranks begin together."""

    def each(count: int) -> float:
        dist.barrier()
        start = timer.mark()
        for _ in range(count):
            exchange.launch()
        return timer.seconds(start, timer.mark()) / count

    for _ in range(work.warmup):
        exchange.launch()
    probed = each(PROBES)
    count: int = roll.agree(key, max(1, min(work.iterations, int(ROUND_SECONDS / max(probed, 1e-9)))))
    return [each(count) for _ in range(ROUNDS)]


def row(
    operation: str,
    message: Message,
    work: Work,
    rows: Sequence[dict[str, Json]],
    times: Sequence[float],
    right: bool,
) -> dict[str, Json]:
    """The measurement of one operation at one size, as it stands in a record; `times` in seconds, one a round."""
    value = algorithm_bandwidth(message.size, median(times))
    return {
        "quantity": operation,
        "gpu": None,
        "device": rows[0]["name"],
        "dtype": work.dtype,
        "shape": [message.size],
        "layout": None,
        "regime": "settled",
        "backend": work.backend,
        "method": METHOD,
        "unit": "GB/s",
        "value": rounded(value),
        "statistic": "median",
        **spread([algorithm_bandwidth(message.size, seconds) for seconds in times]),
        "telemetry": {},
        "verified": {"method": "bitwise", "passed": right, "error": 0.0, "bound": 0.0, "repeats_equal": None},
        "ranks": len(rows),
        "nodes": len({one["node"] for one in rows}),
        "count": message.elements,
        "time_us": rounded(1e6 * median(times)),
        "bus_gb_s": rounded(value * bus_factor(operation, len(rows))),
    }
