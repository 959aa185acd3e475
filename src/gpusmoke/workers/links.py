"""What one child does with all GPUs at once: copies from each to each, verified, and how fast they are.

That the driver offers peer access says nothing of whether bytes arrive: PCI Access Control Services and the IOMMU may
hold them up, or drop them without a word. So every byte is compared on the GPU that it was sent to, with a pattern that
this one makes itself.

PyTorch copies between two GPUs by their own engines, over NVLink or PCIe, where each can access the other's memory, and
through the host's memory where not (aten/src/ATen/native/cuda/Copy.cu). It does so in the order of both GPUs' streams.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from gpusmoke.facts import Json
from gpusmoke.measuring.timing import CpuTimer, CudaTimer, Mark
from gpusmoke.workers.pytorch import error_code
from gpusmoke.workers.reporter import Reporter
from gpusmoke.workers.rows import peer_row

PROOF_BYTES = 16 << 20
COPY_BYTES = 256 << 20
MEMORY_SHARE = 1 / 16  # of what is free: two buffers on each GPU, and what the patterns need
ROUNDS = 8  # there and back, in the order of streams alone
TURN_SECONDS, TURNS = 0.008, 3
MOST_COPIES = 64
# Odd, so that multiplying by it moves every bit; the golden ratio's, as in Knuth's multiplicative hashing.
MIXER = -1640531527


def is_gpu(device: str) -> bool:
    """Whether PyTorch's name of a device is a GPU's: what else there is to copy between is the CPU, in tests."""
    return device.startswith("cuda")


def pattern(count: int, salt: int, device: str | torch.device) -> torch.Tensor:
    """`count` 32-bit words that any device makes alike, each another one than with another salt."""
    words = torch.arange(count, dtype=torch.int32, device=device)
    return words.add_(salt * 0x10001).mul_(MIXER).bitwise_xor_(words >> 15)


def stream(device: str) -> torch.cuda.Stream:
    """A stream beside the device's usual one."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Way:
    """Copies from one device to another, on streams of its own, so that the way back can be busy at the same time."""

    def __init__(self, source: str, target: str, count: int, salt: int) -> None:
        self.source, self.target, self.salt, self.count = source, target, salt, count
        self._streams = [stream(one) for one in (target, source)] if is_gpu(source) else []
        self.timer = CudaTimer() if is_gpu(source) else CpuTimer()
        with self.streams():
            self.sent = pattern(count, salt, source)
            self.arrived = torch.zeros(count, dtype=torch.int32, device=target)

    @contextlib.contextmanager
    def streams(self) -> Iterator[None]:
        """Both devices' current streams are this way's; the source is the current device."""
        with contextlib.ExitStack() as stack:
            for one in self._streams:
                stack.enter_context(torch.cuda.stream(one))
            yield

    def copy(self) -> None:
        """Enqueue one copy of everything."""
        self.arrived.copy_(self.sent, non_blocking=True)

    def forget(self) -> None:
        """Let go of what has arrived, in the order of this way's streams, so that it has to arrive again."""
        with self.streams():
            self.arrived.zero_()

    def right(self) -> bool:
        """Whether everything that was sent has arrived, to the last bit; waits for it."""
        with self.streams():
            return bool(torch.equal(self.arrived, pattern(self.count, self.salt, self.target)))

    def plain(self) -> bool:
        """One copy by the devices' engines."""
        with self.streams():
            self.copy()
        return self.right()

    def strided(self) -> bool:
        """A copy of every second word, for which a kernel of the source writes the target's memory."""
        with self.streams():
            self.arrived.fill_(-1)
            self.arrived[::2].copy_(self.sent[::2], non_blocking=True)
            expected = pattern(self.count, self.salt, self.target)
            expected[1::2] = -1
            return bool(torch.equal(self.arrived, expected))

    def ordered(self) -> bool:
        """There and back, each end adding 1 before it sends, with nothing but streams to keep it all in order."""
        with self.streams():
            here, there = self.sent.clone(), self.arrived
            for _ in range(ROUNDS):
                there.copy_(here.add_(1), non_blocking=True)
                here.copy_(there.add_(1), non_blocking=True)
            ends = [(here, 2 * ROUNDS), (there, 2 * ROUNDS)]
            return all(torch.equal(end, pattern(self.count, self.salt, end.device).add_(steps)) for end, steps in ends)


PROOFS: dict[str, Callable[[Way], bool]] = {"plain": Way.plain, "strided": Way.strided, "ordered": Way.ordered}


def prove(way: Way) -> list[str]:
    """The proofs that a way fails; raises RuntimeError where PyTorch or CUDA does."""
    return [name for name, proof in PROOFS.items() if not proof(way)]


def rates(groups: Sequence[Sequence[Way]]) -> list[list[float]]:
    """GB/s of each group of ways, all of them at once: TURNS samples of some milliseconds, by the sources' own clocks.

    The rate of a group is of all that its ways moved, until the last of it has arrived.
    """
    moved = [sum(4 * way.count for way in group) for group in groups]
    ways = [way for group in groups for way in group]

    def marks() -> list[Mark]:
        found = []
        for way in ways:
            with way.streams():
                found.append(way.timer.mark())
        return found

    def turn(copies: int) -> list[float]:
        starts = marks()
        for _ in range(copies):
            for way in ways:
                with way.streams():
                    way.copy()
        ends = marks()  # all of them before one is waited for: that would delay the next
        seconds = (way.timer.seconds(*both) for way, *both in zip(ways, starts, ends, strict=True))
        return [max(itertools.islice(seconds, len(group))) / copies for group in groups]

    turn(1)  # the first wakes the link
    copies = min(MOST_COPIES, max(1, round(TURN_SECONDS / max(*turn(2), 1e-9))))
    turns = [turn(copies) for _ in range(TURNS)]
    return [[count / one[at] / 1e9 for one in turns] for at, count in enumerate(moved)]


def rounds(gpus: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
    """Every two GPUs once, the smaller number first, in as few rounds as can be, in none of which a GPU has two.

    One keeps its seat and the others go round the table: the circle method of tournaments, by Kirkman (1847).
    """
    seats: list[int | None] = [*gpus, None] if len(gpus) % 2 else [*gpus]
    for _ in seats[1:]:
        half = len(seats) // 2
        facing = zip(seats[:half], reversed(seats[half:]), strict=True)
        yield sorted((min(a, b), max(a, b)) for a, b in facing if a is not None and b is not None)
        seats.insert(1, seats.pop())


def sized(devices: Sequence[str], most: int) -> int:
    """How many 32-bit words a buffer holds: of `most` bytes, or what the fullest device has room for."""
    free = [torch.cuda.mem_get_info(one)[0] for one in devices if is_gpu(one)]
    return int(min([most, *(MEMORY_SHARE * one for one in free)])) // 4


class Links:
    """The copies between several devices, and what is reported of them."""

    def __init__(self, report: Reporter, devices: Mapping[int, str]) -> None:
        self.report, self.devices = report, devices

    def begin(self, what: str, pairs: Sequence[tuple[int, int]]) -> None:
        """Say whose turn it is: it stands in links.now, so that one that hangs is named."""
        self.report.step(f"in {what} from GPU {', '.join(f'{a} to GPU {b}' for a, b in pairs)}")
        self.report.fact("links.now", [[a, b] for a, b in pairs], "the program itself")

    def ended(self) -> None:
        """Say that nobody has its turn."""
        self.report.fact("links.now", None, "the program itself", "all have ended")

    def prove(self) -> bool:
        """Prove every pair in each direction; returns whether all could be tried.

        Each is an element of the fact links.GPU of its source: {to, access, failed: the proofs that it failed}, or what
        PyTorch or CUDA said instead.
        """
        count, rows = sized(list(self.devices.values()), PROOF_BYTES), dict[int, list[dict[str, Json]]]()
        for salt, (a, b) in enumerate(itertools.permutations(self.devices, 2), 1):
            self.begin("copies", [(a, b)])
            source, target = self.devices[a], self.devices[b]
            row: dict[str, Json] = {"to": b}
            row["access"] = is_gpu(source) and torch.cuda.can_device_access_peer(source, target)
            try:
                row["failed"] = prove(Way(source, target, count, salt))
            except RuntimeError as error:  # every CUDA error is one, and nothing works in this process after it
                row |= {"error_text": str(error).split("\n")[0][:300], "error_code": error_code(error)}
            rows.setdefault(a, []).append(row)
            self.report.fact(f"links.{a}", rows[a], "torch.cuda.can_device_access_peer, and copies")
            if "failed" not in row:
                return False
        self.ended()
        return True

    def measure(self, at_once: bool) -> None:
        """How fast each pair is, one way, and both ways at once; with `at_once` pairs that share no GPU together."""
        count, salts = sized(list(self.devices.values()), COPY_BYTES), itertools.count(1)

        def ways(pairs: Sequence[tuple[int, int]]) -> list[Way]:
            return [Way(self.devices[a], self.devices[b], count, next(salts)) for a, b in pairs]

        together = rounds(list(self.devices))
        for pairs in together if at_once else ([pair] for one in together for pair in one):
            opposite = [(b, a) for a, b in pairs]
            self.begin("timed copies", pairs)
            there = ways(pairs)
            self.tell_rates("peer-copy", pairs, [[way] for way in there])
            self.begin("timed copies", opposite)
            back = ways(opposite)
            self.tell_rates("peer-copy", opposite, [[way] for way in back])
            self.begin("timed copies both ways", pairs)
            for way in (*there, *back):
                way.forget()
            self.tell_rates("peer-copy-both-ways", pairs, [list(both) for both in zip(there, back, strict=True)])
        self.ended()

    def tell_rates(self, quantity: str, pairs: Sequence[tuple[int, int]], groups: Sequence[Sequence[Way]]) -> None:
        """Measure each pair's group of ways, verify what arrived, and report."""
        for pair, group, sampled in zip(pairs, groups, rates(groups), strict=True):
            name = torch.cuda.get_device_name(group[0].source) if is_gpu(group[0].source) else "CPU"
            passed = all(way.right() for way in group)
            self.report.measurement(peer_row(quantity, pair, name, 4 * group[0].count * len(group), sampled, passed))


def links(report: Reporter, gpus: Sequence[int], at_once: bool, measure: bool) -> None:
    """Prove the copies between `gpus` and, with `measure`, time them; `at_once`: pairs that share no GPU together."""
    devices = {gpu: f"cuda:{gpu}" for gpu in gpus}
    report.step("while opening the GPUs")
    with ThreadPoolExecutor(len(devices)) as pool:  # each takes the driver a while
        list(pool.map(torch.cuda.synchronize, devices.values()))
    every = Links(report, devices)
    if every.prove() and measure:
        every.measure(at_once)
