"""Whatever differs is found, where it is: the ring of results on the CPU."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from gpusmoke.measuring.dtypes import DTYPES  # noqa: E402 - needs torch
from gpusmoke.measuring.shapes import Item  # noqa: E402
from gpusmoke.workers import soak  # noqa: E402
from gpusmoke.workers.device import Device  # noqa: E402
from gpusmoke.workers.product import Product  # noqa: E402
from gpusmoke.workers.ring import Ring  # noqa: E402

SIZE, BUFFERS = 16, 4
ON_CPU = ("bf16", "fp16", "fp32", "fp64")


def ring_of(dtype="bf16", buffers=BUFFERS):
    ring = Ring(Product(Device("cpu"), Item(dtype, (SIZE, SIZE, SIZE))))
    ring.fill(ring.bytes_fixed + buffers * ring.bytes_each)
    return ring


def fill(ring, at):
    for buffer in range(len(ring.buffers)):
        ring.write(buffer, at)


def compare(ring):
    held = range(len(ring.buffers))
    for buffer in held:
        ring.compare(buffer)
    return ring.wrong(held)


@pytest.mark.parametrize("dtype", ON_CPU)
def test_products_that_are_right_differ_in_nothing(dtype):
    ring = ring_of(dtype)
    assert ring.verify(1.0).passed
    for at in (0, 1, 0):
        fill(ring, at)
        assert compare(ring) == []


@settings(max_examples=60)
@given(
    st.sampled_from(ON_CPU),
    st.sets(st.tuples(st.integers(0, BUFFERS - 1), st.integers(0, 2 * SIZE * SIZE - 1), st.integers(0, 7)), max_size=9),
)
def test_every_bit_that_flips_after_it_was_written_is_found(dtype, flips):
    ring = ring_of(dtype)
    fill(ring, 1)
    for buffer, byte, bit in flips:
        ring.buffers[buffer].view(torch.uint8).view(-1)[byte] ^= 1 << bit
    wide, found = DTYPES[dtype].output.itemsize, {one.buffer: one for one in compare(ring)}
    assert set(found) == {buffer for buffer, _, _ in flips}
    for buffer, one in found.items():
        elements = sorted({byte // wide for where, byte, _ in flips if where == buffer})
        assert (one.elements, one.byte) == (len(elements), wide * elements[0])
        changed = sum(
            1 << 8 * (byte % wide) + bit for where, byte, bit in flips if (where, byte // wide) == (buffer, elements[0])
        )
        assert int(one.expected, 16) ^ int(one.found, 16) == changed
        assert len(one.found) == 2 + 2 * wide


def test_a_zero_of_the_other_sign_is_another_result_and_a_nan_its_own():
    ring = ring_of("fp32")
    for result, value in zip(ring.expected, (0.0, float("nan")), strict=True):
        result[3, 3] = value
    ring.fill(0)
    fill(ring, 0)
    for buffer in ring.buffers:
        buffer.copy_(ring.expected[0])
    ring.buffers[1][3, 3] = -0.0
    assert [(one.buffer, one.expected, one.found) for one in compare(ring)] == [(1, "0x00000000", "0x80000000")]
    fill(ring, 1)
    for buffer in ring.buffers:
        buffer.copy_(ring.expected[1])
    assert compare(ring) == []


def test_a_product_that_was_never_written_shows_in_every_pass():
    ring = ring_of()
    ring.product.multiply = lambda a, b, out: None
    for at in (0, 1):
        fill(ring, at)
        assert [one.buffer for one in compare(ring)] == [0, 1, 2, 3]
    for buffer in ring.buffers:
        buffer.copy_(ring.expected[0])  # what the pass before would have left
    fill(ring, 1)
    assert all(one.elements > SIZE for one in compare(ring))


def test_a_result_is_compared_once():
    ring = ring_of()
    fill(ring, 0)
    ring.buffers[2].zero_()
    assert [one.buffer for one in compare_held(ring)] == [2]
    assert compare_held(ring) == []


def compare_held(ring):
    for buffer, held in enumerate(ring.holds):
        if held is not None:
            ring.compare(buffer)
    return ring.wrong(range(len(ring.buffers)))


def test_a_result_that_can_not_be_right_is_told_before_others_are_compared_with_it():
    ring = ring_of()
    ring.expected[1][2, 2] += 50
    assert not ring.verify(1.0).passed


@pytest.mark.parametrize(("there", "left"), [(9, 8), (3, 2), (2, 2)])
def test_less_memory_than_was_told_makes_a_smaller_ring(monkeypatch, there, left):
    made, full_like = [], torch.full_like

    def fails(tensor, value):
        if len(made) == there:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made.append(full_like(tensor, value))
        return made[-1]

    monkeypatch.setattr(torch, "full_like", fails)
    assert len(ring_of(buffers=20).buffers) == left


def test_no_memory_at_all_is_an_error(monkeypatch):
    def fails(tensor, value):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "full_like", fails)
    with pytest.raises(torch.OutOfMemoryError):
        ring_of()


def test_where_comparing_would_cost_too_much_the_sum_is_made_longer(monkeypatch):
    device = Device("cpu")
    device.kind, device.free_bytes = "cuda", lambda: 8 << 30
    monkeypatch.setattr(soak, "scaled", lambda device, item: Item(item.dtype, (64, 64, 64)))
    monkeypatch.setattr(soak, "comparing_share", lambda ring: 12.8 / ring.product.item.shape[2])
    assert soak.item_for(device, "fp32", 1 << 30).shape == (64, 64, 128)
    monkeypatch.setattr(soak, "comparing_share", lambda ring: 0.9)
    assert soak.item_for(device, "fp32", 1 << 30).shape == (64, 64, 64 * soak.MOST_TERMS)


def test_a_small_share_of_the_memory_makes_the_product_smaller(monkeypatch):
    monkeypatch.setattr(soak, "scaled", lambda device, item: Item(item.dtype, (2048, 2048, 2048)))
    assert soak.item_for(Device("cpu"), "fp32", 1 << 30).shape == (2048, 2048, 2048)
    assert soak.item_for(Device("cpu"), "fp32", 1 << 20).shape == (1024, 1024, 1024)
