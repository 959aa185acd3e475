"""How fast bytes move: within the device's memory, and between host and device; every copy is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from gpusmoke.measuring.timing import estimate, interleaved
from gpusmoke.measuring.verify import Verification
from gpusmoke.workers.device import Device
from gpusmoke.workers.turns import turn

DEVICE_BYTES = 1 << 30  # a buffer; far beyond any cache
HOST_BYTES = 256 << 20  # pinned: what the link can do, not what the page tables cost
CPU_BYTES = 256 << 20
MEMORY_SHARE = 0.25  # of what is free, at most
TURN_SECONDS = 0.05
HOST_TURN_SECONDS = 0.015  # three copies at least by PCIe 5.0; GPUs wait for each other
WARM_TURNS, TURNS = 2, 10


@dataclass(frozen=True)
class Transfer:
    """One way of moving bytes: how many a launch reads and writes, the rates seen in GB/s, and whether all arrived."""

    quantity: str
    bytes_moved: int
    rates: list[float]
    spans: list[tuple[float, float]]
    verified: Verification


def transfers(device: Device, triad: bool) -> Iterator[Transfer]:
    """Device memory (a copy, and with `triad` a = b + 3 c), and on a GPU the link both ways."""
    size = min(DEVICE_BYTES if device.kind == "cuda" else CPU_BYTES, int(MEMORY_SHARE * device.free_bytes()) // 4)
    size -= size % 4096
    source = pattern(size, device.torch_name, device.generator)
    target = torch.zeros_like(source)
    yield moved(device, "memory-copy", 2 * size, lambda _: target.copy_(source), lambda: torch.equal(target, source))
    if triad:
        b, c = source.view(torch.int32), torch.ones_like(source.view(torch.int32))
        a = torch.zeros_like(b)
        launch = lambda _: torch.add(b, c, alpha=3, out=a)  # noqa: E731 - as the others, in one line
        yield moved(device, "memory-triad", 3 * size, launch, lambda: torch.equal(a, b + 3))
        del a, b, c
    if device.kind == "cuda":
        size = min(HOST_BYTES, size)
        here = pattern(size, "cpu", torch.Generator().manual_seed(device.generator.initial_seed())).pin_memory()
        there, back = (
            torch.zeros(size, dtype=torch.uint8, device=device.torch_name),
            torch.zeros_like(here).pin_memory(),
        )
        to, home = (lambda _: there.copy_(here, non_blocking=True)), (lambda _: back.copy_(there, non_blocking=True))

        def arrived() -> bool:
            """Whether what was sent is there; asked in pinned memory, since others wait for their turn meanwhile."""
            return torch.equal(back.copy_(there), here)

        # GPUs that copied at the same time would share the host's memory, and some a PCIe switch.
        with turn("host-copies"):
            yield moved(device, "host-to-device", size, to, arrived, HOST_TURN_SECONDS)
            back.zero_()  # or what has come back by now would stand in for what has to
            yield moved(device, "device-to-host", size, home, lambda: torch.equal(back, here), HOST_TURN_SECONDS)


def pattern(size: int, where: str, generator: torch.Generator) -> torch.Tensor:
    """Random bytes."""
    return torch.randint(0, 256, (size,), dtype=torch.uint8, device=where, generator=generator)


def moved(
    device: Device,
    quantity: str,
    count: int,
    launch: Callable[[int], object],
    arrived: Callable[[], bool],
    seconds: float | None = None,
) -> Transfer:
    """Launch it back to back for a dozen turns of so many seconds; `count` bytes are moved by each launch."""
    each = max(estimate(launch, device.timer), 1e-6)
    turns = interleaved([(launch, max(1, round((seconds or TURN_SECONDS) / each)))], device.timer)
    rates, ends = [], []
    for _, (_who, seconds, at) in zip(range(WARM_TURNS + TURNS), turns, strict=False):
        rates.append(count / seconds / 1e9)
        ends.append(at)
    if device.kind == "cuda":
        torch.cuda.synchronize()
    passed = bool(arrived())
    verified = Verification("bitwise", passed, 0.0, 0.0, None)
    return Transfer(quantity, count, rates[WARM_TURNS:], [(ends[WARM_TURNS - 1], ends[-1])], verified)
