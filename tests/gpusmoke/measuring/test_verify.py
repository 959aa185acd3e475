"""Verification lets right products pass and catches wrong ones; on the CPU, with the code that runs on the GPU."""

import pytest

torch = pytest.importorskip("torch")

from gpusmoke.measuring.dtypes import DTYPES, set_precision  # noqa: E402 - needs torch
from gpusmoke.measuring.verify import elementwise, freivalds, same_bits, verify  # noqa: E402

ON_CPU = ("bf16", "fp16", "fp32", "fp64")
SHAPES = [(1, 1, 1), (7, 13, 31), (64, 48, 100), (1500, 40, 257)]


def product(name, m, n, k, seed=1):
    """Operands and their product as the CPU computes it, in the formats that PyTorch multiplies there."""
    dtype, generator = DTYPES[name], torch.Generator().manual_seed(seed)
    a, b = dtype.random(m, k, generator), dtype.random(n, k, generator)
    if name in ("int8", "fp8", "tf32"):  # the CPU has no such product: round the exact one as the format asks
        return dtype, a, b, (a.double() @ b.double().t()).to(dtype.output)
    set_precision(name)
    out = torch.empty(m, n, dtype=dtype.output)
    dtype.product()(a, b, out)
    return dtype, a, b, out


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", DTYPES)
def test_a_right_product_passes_both_ways(name, shape):
    dtype, a, b, c = product(name, *shape)
    whole = elementwise(a, b, c, dtype)
    assert whole.passed, whole
    sampled = freivalds(a, b, c, dtype, torch.Generator().manual_seed(2))
    assert sampled.passed, sampled


def spoil(c, how):
    c = c.clone()
    if how == "sign":
        c[3, 5] = -c[3, 5] - (1 if c.dtype == torch.int32 else 0)
    elif how == "rows swapped":
        c[[0, 1]] = c[[1, 0]]
    elif how == "scaled":
        c *= 2
    elif how == "never written":
        c[2, 2] = float("nan") if c.is_floating_point() else -1
    elif how == "exponent":
        c[4, 4] = c[4, 4] * 4 + (4 if c.dtype == torch.int32 else 0)
    return c


@pytest.mark.parametrize("how", ["sign", "rows swapped", "scaled", "never written", "exponent"])
@pytest.mark.parametrize("name", DTYPES)
def test_a_wrong_product_is_caught_elementwise(name, how):
    dtype, a, b, c = product(name, 64, 48, 100)
    found = elementwise(a, b, spoil(c, how), dtype)
    assert not found.passed
    assert not found.error <= found.bound


@pytest.mark.parametrize("how", ["rows swapped", "scaled", "never written"])
@pytest.mark.parametrize("name", DTYPES)
def test_a_wrong_product_is_caught_by_freivalds(name, how):
    dtype, a, b, c = product(name, 64, 48, 100)
    assert not freivalds(a, b, spoil(c, how), dtype, torch.Generator().manual_seed(2)).passed


def test_the_method_is_chosen_by_time_and_format():
    dtype, a, b, c = product("fp32", 3000, 64, 64)
    generator = torch.Generator().manual_seed(2)
    assert verify(a, b, c, dtype, generator).method == "elementwise"
    assert verify(a, b, c, dtype, generator, seconds=0).method == "freivalds"
    dtype, a, b, c = product("fp64", 64, 64, 64)
    assert verify(a, b, c, dtype, generator).method == "freivalds"


def test_a_verdict_with_nan_can_be_stored():
    dtype, a, b, c = product("fp32", 8, 8, 8)
    row = elementwise(a, b, spoil(c, "never written"), dtype).to_json()
    assert row["passed"] is False
    assert row["error"] == "nan"


# Mantissa bits of the result, and of how many, from the top, docs/measuring.md says that a flip is seen.
SEEN = {"bf16": (7, 6), "fp16": (10, 8), "fp8": (7, 1), "tf32": (23, 9), "fp32": (23, 11), "fp64": (52, 30)}
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@pytest.mark.parametrize("name", SEEN)
def test_the_smallest_error_that_is_seen_is_the_one_that_is_promised(name):
    """One bit of one element of typical size flipped, K = 8192: each that counts is seen by the numeric check alone."""
    dtype, a, b, c = product(name, 24, 24, 8192)
    mantissa, seen = SEEN[name]
    width = 8 * c.element_size()
    row, column = divmod(int(((c.abs() > 16) & (c.abs() < 32)).flatten().float().argmax()), 24)
    assert 16 < abs(float(c[row, column])) < 32
    for bit in range(mantissa - seen, width):
        flipped = c.clone()
        mask = 1 << bit if bit < width - 1 else -(1 << bit)
        flipped.view(INTEGERS[c.element_size()])[row, column] ^= mask
        generator = torch.Generator().manual_seed(2)
        assert not verify(a, b, flipped, dtype, generator).passed, f"bit {bit}"


def test_any_wrong_integer_is_seen():
    dtype, a, b, c = product("int8", 24, 24, 8192)
    for bit in range(32):
        flipped = c.clone()
        flipped[7, 7] ^= 1 << bit if bit < 31 else -(1 << 31)
        assert not verify(a, b, flipped, dtype, torch.Generator().manual_seed(2)).passed


@pytest.mark.parametrize("bit", range(16))
def test_any_bit_that_differs_between_repeats_is_seen(bit):
    _, _, _, c = product("bf16", 16, 16, 16)
    flipped = c.clone()
    flipped.view(torch.int16)[5, 5] ^= torch.tensor(1 << bit if bit < 15 else -(1 << 15), dtype=torch.int16)
    assert same_bits(c, c.clone())
    assert not same_bits(c, flipped)


def test_nan_is_the_same_as_itself():
    poisoned = torch.full((4, 4), float("nan"))
    assert same_bits(poisoned, poisoned.clone())


def test_tf32_operands_lose_nothing_in_tf32():
    values = DTYPES["tf32"].random(64, 64, torch.Generator().manual_seed(3))
    assert int((values.view(torch.int32) & 0x1FFF).count_nonzero()) == 0
    assert values.abs().max() > 0.9
    assert values.min() < -0.9
