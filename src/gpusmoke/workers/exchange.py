"""The collective operations of torch.distributed, with results that every rank can verify to the last bit.

What a rank contributes are small whole numbers, so that sums are exact in whichever order a library makes them. They
repeat with a prime period: no shift by a power of two, as of a block that went astray, leaves them as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist

from gpusmoke.facts import Json

DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp64": torch.float64,
    "int8": torch.int8,
}
PERIOD = 65521
POISON = -1  # no rank contributes it, so that an element that was never written shows
ROWS_AT_ONCE = 1024  # of PERIOD elements: what comparing needs is 64 MiB
ROOT = 0

# Named anew in PyTorch 2.13, which warns of the old names.
all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def pattern(rank: int, largest: int) -> torch.Tensor:
    """One period of what a rank contributes: whole numbers from 0 to `largest`, other ones for each rank."""
    mixed = (torch.arange(PERIOD) * 2654435761 + (rank + 1) * 40503) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 2246822519) & 0x7FFFFFFF
    return (mixed >> 7) % (largest + 1)


def shifted(period: torch.Tensor, start: int) -> torch.Tensor:
    """The period as it runs from element `start` on."""
    return torch.roll(period, -(start % PERIOD))


def fill(target: torch.Tensor, period: torch.Tensor) -> None:
    """Write the period into the tensor again and again."""
    whole = target.numel() // PERIOD * PERIOD
    target[:whole].view(-1, PERIOD).copy_(period)
    target[whole:].copy_(period[: target.numel() - whole])


def first_wrong(found: torch.Tensor, period: torch.Tensor) -> int | None:
    """The index of the first element that is not what the repeated period has there, or None."""
    whole = found.numel() // PERIOD * PERIOD
    at = 0
    for rows in (*found[:whole].view(-1, PERIOD).split(ROWS_AT_ONCE), found[whole:]):  # type: ignore[no-untyped-call]
        wrong = rows.ne(period if rows.dim() == 2 else period[: rows.numel()])
        if bool(wrong.any()):
            return at + int(wrong.flatten().nonzero()[0])
        at += rows.numel()
    return None


class Exchange:
    """One operation with `count` elements a rank (see collectives.Message): to be filled, launched, and verified."""

    def __init__(
        self, operation: str, count: int, dtype: str, rank: int, ranks: int, largest: int, device: str
    ) -> None:
        self._rank, self._ranks, self._largest = rank, ranks, largest
        self._dtype, self._device = DTYPES[dtype], device
        self._mine = self._period(pattern(rank, largest))
        parts = {"all-gather": (1, ranks), "reduce-scatter": (ranks, 1)}.get(operation)
        sent, received = parts or (1, 1)
        self._input = torch.empty(count * sent, dtype=self._dtype, device=device)
        # Broadcast and all-reduce work in place.
        self._output = torch.empty(count * received, dtype=self._dtype, device=device) if parts else self._input
        self._operation, self._count = operation, count
        self.launch = self._launcher()

    def _period(self, period: torch.Tensor) -> torch.Tensor:
        return period.to(self._dtype).to(self._device)

    def _launcher(self) -> Callable[[], object]:
        source, target = self._input, self._output
        return {
            "all-reduce": lambda: dist.all_reduce(target),
            "broadcast": lambda: dist.broadcast(target, ROOT),
            "all-gather": lambda: all_gather(target, source),
            "reduce-scatter": lambda: reduce_scatter(target, source),
        }[self._operation]

    def prepare(self) -> None:
        """Write what this rank contributes, and poison where results will be."""
        self._output.fill_(POISON)
        if self._operation != "broadcast" or self._rank == ROOT:
            fill(self._input, self._mine)

    def wrong(self) -> dict[str, Json] | None:
        """The first wrong element of this rank's result: its index, what it is and what it should be; or None."""
        for start, period in self._expected():
            part = self._output[start : start + self._count]
            on_device = self._period(period)
            if (index := first_wrong(part, on_device)) is not None:
                expected, found = on_device[index % PERIOD].item(), part[index].item()
                return {"index": start + index, "expected": expected, "found": str(found)}
        return None

    def _expected(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Where each part of the result begins, and its period."""
        if self._operation == "broadcast":
            yield 0, pattern(ROOT, self._largest)
        elif self._operation == "all-gather":
            for rank in range(self._ranks):
                yield rank * self._count, pattern(rank, self._largest)
        else:
            total = torch.zeros(PERIOD, dtype=torch.int64)
            for rank in range(self._ranks):
                total += pattern(rank, self._largest)
            yield 0, total if self._operation == "all-reduce" else shifted(total, self._rank * self._count)
