"""Results that fill a device's memory, each compared bit for bit before it is overwritten."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gpusmoke.measuring.verify import Verification, verify
from gpusmoke.workers.product import Product

FEWEST_BUFFERS = 2
ELEMENTS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers as wide as an element: as such NaN equals itself, and 0 differs from -0."""


@dataclass(frozen=True)
class Difference:
    """A result that is not what it should be: how many elements differ, and the first of them.

    0 elements: the comparison saw a difference and, asked again, none; then there is no first one.
    """

    buffer: int
    elements: int
    byte: int | None
    expected: str | None
    found: str | None


class Ring:
    """Buffers that results are written to in turn, and the results that they must hold.

    Each of the product's sets of operands has one result; by changing sets from pass to pass every write changes what
    a buffer holds, so that one that never happened shows.
    """

    def __init__(self, product: Product) -> None:
        self.product = product
        # The same library on the same stream gives the same bits each time:
        # https://docs.nvidia.com/cuda/cublas/#results-reproducibility
        self.expected = product.outputs
        for at, (a, b) in enumerate(product.operands):
            product.multiply(a, b, self.expected[at])
        first = self.expected[0]
        self.bytes_each = first.nbytes
        self._words = [self._as_words(one) for one in self.expected]
        self._differs = torch.empty(first.numel(), dtype=torch.bool, device=first.device)
        self._differs_words = self._differs[: self._words[0].numel()]
        self._differs_eight = self._differs_words.view(torch.int64)
        operands = sum(a.nbytes + b.nbytes for a, b in product.operands)
        self.bytes_fixed = operands + self.sets * self.bytes_each + self._differs.nbytes
        self.buffers: list[torch.Tensor] = []
        self.holds: list[int | None] = []
        """Which result each buffer was given and has not been compared with."""

    @staticmethod
    def _as_words(tensor: torch.Tensor) -> torch.Tensor:
        """The same memory eight bytes at a time."""
        return tensor.view(ELEMENTS[tensor.element_size()]).flatten().view(torch.int64)

    def fill(self, budget: float) -> None:
        """Take `budget` bytes, of which the operands already have some, or what there is; two buffers at least."""
        count = max(FEWEST_BUFFERS, int(budget - self.bytes_fixed) // self.bytes_each)
        poison = self.product.dtype.poison
        try:
            self.buffers.extend(torch.full_like(self.expected[0], poison) for _ in range(count))
        except torch.OutOfMemoryError:  # another program took what was free
            del self.buffers[max(FEWEST_BUFFERS, len(self.buffers) - 1) :]
            if len(self.buffers) < FEWEST_BUFFERS:
                raise
        self._buffer_words = [self._as_words(buffer) for buffer in self.buffers]
        self._wrong = torch.zeros(len(self.buffers), dtype=torch.bool, device=self._differs.device)
        self._wrong_at = list(self._wrong.unbind())
        self.forget()

    @property
    def sets(self) -> int:
        """How many different results there are."""
        return len(self.expected)

    def verify(self, seconds: float) -> Verification:
        """The verdict on the results that all others are compared with: the one that came nearest to failing."""
        product = self.product
        checked = [
            verify(a, b, c, product.dtype, product.device.generator, seconds)
            for (a, b), c in zip(product.operands, self.expected, strict=True)
        ]
        return max(checked, key=lambda one: (not one.passed, one.error / one.bound if one.bound else 0.0))

    def forget(self) -> None:
        """Take what the buffers hold for nothing."""
        self.holds = [None] * len(self.buffers)

    def write(self, buffer: int, at: int) -> None:
        """Enqueue the product of one set of operands, into a buffer."""
        self.product.multiply(*self.product.operands[at], self.buffers[buffer])
        self.holds[buffer] = at

    def compare(self, buffer: int) -> None:
        """Enqueue the comparison of all that a buffer holds; `wrong` tells what came out."""
        at = self.holds[buffer]
        assert at is not None
        torch.ne(self._buffer_words[buffer], self._words[at], out=self._differs_words)
        torch.any(self._differs_eight, out=self._wrong_at[buffer])

    def wrong(self, buffers: range) -> list[Difference]:
        """The differences in those of the buffers that were compared; waits for the device."""
        flags = self._wrong[buffers.start : buffers.stop].tolist()
        found = []
        for buffer, flag in zip(buffers, flags, strict=True):
            if self.holds[buffer] is not None:
                if flag:
                    found.append(self._difference(buffer))
                self.holds[buffer] = None
        return found

    def _difference(self, buffer: int) -> Difference:
        at = self.holds[buffer]
        assert at is not None
        size = self.expected[at].element_size()
        right, there = (one.view(ELEMENTS[size]).flatten() for one in (self.expected[at], self.buffers[buffer]))
        torch.ne(there, right, out=self._differs)
        count = int(self._differs.sum())
        if not count:
            return Difference(buffer, 0, None, None, None)
        first = int(self._differs.view(torch.uint8).argmax())
        return Difference(buffer, count, first * size, bits(right[first]), bits(there[first]))


def bits(element: torch.Tensor) -> str:
    """One element in hexadecimal."""
    size = element.element_size()
    return f"0x{int(element) & (1 << 8 * size) - 1:0{2 * size}x}"
