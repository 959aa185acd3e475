"""The operator where there need not be a GPU."""

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.kernels.matmul import lies, matmul, misfits, padded
from gpusmoke.kernels.plan import FAMILIES
from gpusmoke.measuring.dtypes import DTYPES
from gpusmoke.measuring.verify import elementwise
from gpusmoke.workers.backends import multiplier
from gpusmoke.workers.kernels import SIZES, THIN, cases

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
KERNELS = [(family, dtype) for dtype, families in FAMILIES.items() for family in families]
on_a_gpu = pytest.mark.parametrize("device", DEVICES[1:])  # none where there is none


def uniform(rows, columns, device, dtype="bf16", seed=0):
    generator = torch.Generator(device).manual_seed(seed)
    return DTYPES[dtype].random(rows, columns, generator)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", FAMILIES)
def test_it_is_the_product(device, dtype):
    a, b = uniform(130, 72, device, dtype), uniform(72, 264, device, dtype, seed=1)
    checked = elementwise(a, b.t(), matmul(a, b), DTYPES[dtype])
    assert checked.passed, checked


@pytest.mark.parametrize("device", DEVICES)
def test_it_is_a_whole_operator(device):
    a, b = uniform(16, 24, device), uniform(24, 8, device)
    torch.library.opcheck(matmul, (a, b), test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("device", DEVICES)
def test_what_can_not_be_multiplied_is_refused_in_a_sentence(device):
    a = uniform(4, 3, device)
    with pytest.raises(ValueError, match=r"M x K and K x N, not \(4, 3\) and \(4, 3\)$"):
        matmul(a, a)
    with pytest.raises(ValueError, match=r"M x K and K x N, not \(4, 3\) and \(3,\)$"):
        matmul(a, a[0])
    with pytest.raises(
        ValueError, match=r"both alike and on one device, not torch.bfloat16 on .* and torch.float16 on"
    ):
        matmul(a, a.t().half())
    with pytest.raises(ValueError, match=r"takes bfloat16, float16 or float32, .*torch.float64"):
        matmul(a.double(), a.t().double())


def test_as_a_backend_it_says_what_it_can_not_multiply():
    with pytest.raises(RuntimeError, match=r"^no kernel of nvcc's multiplies in fp64$"):
        multiplier("nvcc", DTYPES["fp64"])
    a = uniform(8, 8, "cpu")
    with pytest.raises(RuntimeError, match=r"^the kernels that nvcc builds need a GPU$"):
        multiplier("nvcc-mma", DTYPES["bf16"])(a, a, torch.empty_like(a))


def where(x):
    return x.data_ptr(), x.shape, x.stride()


@pytest.mark.parametrize(
    ("view", "along", "stride"),
    [
        (lambda x: x, True, 48),
        (lambda x: x.t(), False, 48),
        (lambda x: x[:, 8:24], True, 48),
        (lambda x: x[::2], True, 96),
        (lambda x: x[:1, :5], True, 8),  # a single row: any stride will do
        (lambda x: x[:, :1], True, 48),
        (lambda x: x[:1, :5].t(), False, 8),  # the same, read the other way
        (lambda x: x.flatten()[:350].view(7, 50), None, None),  # rows of 100 bytes
        (lambda x: x[:, 1:], None, None),  # not from a multiple of 16 bytes on
        (lambda x: x.flatten()[:31].view(31, 1), False, 32),  # a single column, which is consecutive
        (lambda x: x[:, ::2], None, None),
        (lambda x: x[:1].expand(32, 48), None, None),  # all its rows are one
        (lambda x: x[:, :1].expand(32, 48), None, None),
        (lambda x: x.as_strided((32, 48), (1, 1)), None, None),  # they overlap
    ],
)
def test_an_operand_is_taken_as_it_lies_where_that_is_possible(view, along, stride):
    whole = uniform(32, 48, "cpu")
    x = view(whole)
    assert lies(where(x)) == (None if along is None else (along, stride))
    if along is not None:
        rows, columns = x.shape if along else x.shape[::-1]
        flat = torch.as_strided(x, (rows, columns), (stride, 1))  # the very elements
        assert torch.equal(flat if along else flat.t(), x)


def test_what_has_to_be_copied_is_named():
    a, b, out = uniform(32, 48, "cpu"), uniform(48, 40, "cpu"), uniform(32, 40, "cpu")
    assert misfits(where(a), where(b.t()), where(out)) == []
    assert misfits(where(a), where(b.t()), where(uniform(32, 48, "cpu"))) == []  # wider: there is room
    assert misfits(where(a[:, 1:]), where(b.t()[:, 1:]), where(out)) == ["A"]
    assert misfits(where(a), where(b.t()), where(uniform(40, 32, "cpu").t())) == ["C"]  # column by column
    assert misfits(where(a), where(b.t()[:33]), where(out[:, :33])) == ["C"]  # what stands beside it is not ours
    assert misfits(where(a[:, 1:]), where(b[:, :33].contiguous().t()), where(uniform(32, 33, "cpu"))) == ["A", "B", "C"]


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.booleans())
def test_a_copy_with_room_always_fits(shape, turned):
    """What would not fit would be copied for ever."""
    x = torch.empty(shape[0], padded(shape[1]), dtype=torch.bfloat16)[:, : shape[1]]
    assert lies(where(x.t() if turned else x)) is not None
    wide = torch.empty(shape[0], padded(shape[1]), dtype=torch.bfloat16)
    assert misfits(where(x), where(x), where(wide)) == []


def test_the_random_products_hold_what_is_difficult():
    found = [case for family, dtype in KERNELS for case in cases(family, DTYPES[dtype], 200)]
    sizes = {size for case in found for size in case.shape}
    assert {1, 2, 3, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 509, 1021} <= sizes
    assert {case.shape for case in found if case.family == "mma"} >= set(THIN)
    assert {case.layout for case in found if case.family == "hopper"} == {"NT", "NN", "TN", "TT"}
    assert {case.other_stream for case in found} == {True, False}
    assert any(1 in case.offsets for case in found if case.family == "mma")
    assert len({case.shape for case in found}) > len(SIZES) * 10
