"""One product, ready to be launched again and again: rotating operands, poisoned outputs, a verdict on the result."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from gpusmoke.measuring.dtypes import DTYPES, Dtype
from gpusmoke.measuring.shapes import Item, Shape
from gpusmoke.measuring.timing import estimate
from gpusmoke.measuring.verify import Verification, same_bits, verify
from gpusmoke.workers.device import Device

MOST_SETS = 512  # of operands too small to fill the cache: launching them takes longer than computing
L2_MULTIPLE = 2  # operands rotate over at least twice the L2 cache (NVIDIA CUTLASS, measurement guidelines)
# What is shorter is launched as a CUDA graph: PyTorch takes some 10 µs to launch one product.
GRAPH_BELOW_SECONDS = 50e-6
LONGEST_PRODUCT_SECONDS = 0.06
BELIEVED_SECONDS = 0.005  # of a launch: a host that is busy holds up shorter ones
MEMORY_SHARE = 0.8  # of what is free; verification needs float64 copies beside the operands
SMALLEST = 1024  # of the cubes that are tried where 8192 is too large

Multiply = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]


class Product:
    """C = A B in one format, shape (M, N, K) and layout, on `sets` sets of operands in turn.

    `a` is M x K and `b` is N x K whatever their layout: that is how they are stored. One launch is `batch` products.
    """

    def __init__(self, device: Device, item: Item, multiply: Multiply | None = None) -> None:
        self.device, self.item, self.dtype = device, item, DTYPES[item.dtype]
        m, n, k = item.shape
        self.sets = sets_of(self.dtype, item.shape, device.l2_bytes)
        self.operands = [self._operands() for _ in range(self.sets)]
        self.outputs = [
            torch.full((m, n), self.dtype.poison, dtype=self.dtype.output, device=device.torch_name)
            for _ in range(self.sets)
        ]
        self.multiply = multiply or self.dtype.product()
        self.batch = 1
        self._graph: torch.cuda.CUDAGraph | None = None
        self.flop = 2 * m * n * k

    def _operands(self) -> tuple[torch.Tensor, torch.Tensor]:
        m, n, k = self.item.shape
        layout, generator = self.item.layout, self.device.generator
        left = self.dtype.random(m, k, generator) if layout[0] == "N" else self.dtype.random(k, m, generator).t()
        right = self.dtype.random(n, k, generator) if layout[1] == "T" else self.dtype.random(k, n, generator).t()
        return left, right

    def launch(self, number: int) -> None:
        """Enqueue the next product, or the graph of `batch` of them."""
        if self._graph is not None:
            self._graph.replay()
        else:
            self._multiply(number % self.sets)

    def _multiply(self, at: int) -> None:
        self.multiply(*self.operands[at], self.outputs[at])

    def prepare(self) -> float:
        """Roughly the seconds of one launch; what is too short to be launched one by one becomes a CUDA graph."""
        each = estimate(self.launch, self.device.timer)
        if self.device.kind == "cuda" and each < GRAPH_BELOW_SECONDS:
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for at in range(self.sets):
                    self._multiply(at)
            self.batch, self._graph = self.sets, graph
            each = estimate(self.launch, self.device.timer)
        return each

    def told(self) -> dict[str, str]:
        """What its backend has to say of how it multiplied last: fields of a measurement."""
        return getattr(self.multiply, "told", dict)()

    def rate(self, seconds: float) -> float:
        """TFLOP/s (TOP/s for int8) of a launch that takes so long."""
        return self.flop * self.batch / seconds / 1e12

    def verify(self, seconds: float) -> Verification:
        """Verify what the last launches left, and that one more gives the same bits."""
        (a, b), c = self.operands[0], self.outputs[0]
        checked = verify(a, b, c, self.dtype, self.device.generator, seconds)
        kept = c.clone()
        self._multiply(0)
        equal = same_bits(kept, c)
        return Verification(checked.method, checked.passed and equal, checked.error, checked.bound, equal)


def operand_bytes(dtype: Dtype, shape: Shape) -> int:
    """The size of one set of operands."""
    m, n, k = shape
    return dtype.operand.itemsize * (m * k + n * k)


def sets_of(dtype: Dtype, shape: Shape, l2_bytes: int) -> int:
    """How many sets of operands it takes that none is found in the cache when its turn comes again; two at least."""
    return min(MOST_SETS, max(2, math.ceil(L2_MULTIPLE * l2_bytes / operand_bytes(dtype, shape))))


def bytes_needed(dtype: Dtype, shape: Shape, l2_bytes: int = 0) -> int:
    """Device memory for the operands, outputs and the float64 copies that verification makes."""
    m, n, k = shape
    one_set = operand_bytes(dtype, shape) + dtype.output.itemsize * m * n
    return sets_of(dtype, shape, l2_bytes) * one_set + 8 * (n * k + 3 * 1024 * max(n, k))


def fits(device: Device, item: Item) -> bool:
    """Whether the device's free memory holds it."""
    return bytes_needed(DTYPES[item.dtype], item.shape, device.l2_bytes) <= MEMORY_SHARE * device.free_bytes()


def groups(device: Device, chosen: Sequence[Item]) -> list[list[Item]]:
    """The items by format, in order; what the memory does not hold at once is split."""
    room, parts = MEMORY_SHARE * device.free_bytes(), list[list[Item]]()
    for _, same in itertools.groupby(chosen, key=lambda item: item.dtype):
        parts.append([])
        used = 0.0
        for item in same:
            used += (needed := bytes_needed(DTYPES[item.dtype], item.shape, device.l2_bytes))
            if used > room and parts[-1]:
                parts.append([])
                used = needed
            parts[-1].append(item)
    return parts


def shrunk(shape: Shape, size: int) -> Shape:
    """The shape, its longest side halved until there are no more multiply-adds than in a cube of this size."""
    sides = list(shape)
    while math.prod(sides) > size**3:
        at, half = sides.index(max(sides)), max(sides) // 2
        sides[at] = half - half % 128  # some formats want multiples
    return sides[0], sides[1], sides[2]


def guess(device: Device, item: Item, most: float) -> float:
    """Roughly the seconds of one product, before anything so large is launched: judged by a small one of its kind.

    Where that tells of more than `most` it was the host, perhaps, that was slow: then by larger ones, up to one that
    takes long enough to be believed.
    """
    size, small = SMALLEST, replace(item, shape=shrunk(item.shape, SMALLEST))
    while True:
        seconds = estimate(Product(device, small).launch, device.timer)
        each = seconds * math.prod(item.shape) / math.prod(small.shape)
        larger = replace(item, shape=shrunk(item.shape, 2 * size))
        if each <= most or seconds >= BELIEVED_SECONDS or larger == small or not fits(device, larger):
            return each
        size, small = 2 * size, larger


def scaled(device: Device, item: Item) -> Item:
    """The item, or its largest smaller version that the memory holds and that is short enough to average many.

    Halved in every direction until it is. Told by the item's shape.
    """
    per_term = guess(device, item, LONGEST_PRODUCT_SECONDS) / math.prod(item.shape)
    m, n, k = item.shape
    while m * n * k > SMALLEST**3:
        whole = replace(item, shape=(m, n, k))
        if fits(device, whole) and per_term * m * n * k <= LONGEST_PRODUCT_SECONDS:
            break
        m, n, k = m // 2, n // 2, k // 2
    return replace(item, shape=(m, n, k))
