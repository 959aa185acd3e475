"""Every kernel on the GPU; conftest.py collects this where there is one."""

import pytest

pytest.importorskip("torch")

import torch

from gpusmoke.kernels import matmul as module
from gpusmoke.kernels.matmul import matmul, multiply
from gpusmoke.kernels.plan import FAMILIES, Plan
from gpusmoke.measuring.dtypes import DTYPES
from gpusmoke.workers.kernels import Case, cases

KERNELS = [(family, dtype) for dtype, families in FAMILIES.items() for family in families]


def uniform(rows, columns, dtype="bf16", seed=0):
    return DTYPES[dtype].random(rows, columns, torch.Generator("cuda").manual_seed(seed))


@pytest.mark.parametrize(("family", "dtype"), KERNELS)
def test_random_products_are_right_to_the_last_element_and_repeat_bit_by_bit(family, dtype):
    generator, ran = torch.Generator("cuda").manual_seed(1), 0
    for case in cases(family, DTYPES[dtype], 200, seed=7):
        checked = case.run(generator)
        assert checked is None or checked.passed, (case, checked)
        ran += checked is not None
    possible = family != "hopper" or torch.cuda.get_device_capability() == (9, 0)
    assert ran == (200 if possible and torch.cuda.get_device_capability() >= (8, 0) else 0)


def test_a_wrong_element_and_one_beside_the_result_are_seen(monkeypatch):
    case = Case("mma", "bf16", (65, 33, 20), "NT", (0, 0), (0, 0, 3), other_stream=False)
    generator = torch.Generator("cuda").manual_seed(1)
    assert case.run(generator).passed
    for row, column in ((64, 32), (64, 33)):  # the last one, and the first beside it

        def wrong(a, b, out, family, at=(row, column)):
            answer = multiply(a, b, out, family)
            out.as_strided((65, 36), (36, 1))[at] = 7.0
            return answer

        monkeypatch.setattr("gpusmoke.workers.kernels.multiply", wrong)
        assert not case.run(generator).passed


def test_a_launch_follows_what_is_ahead_of_it_in_its_stream():
    a, b = uniform(4096, 4096), uniform(4096, 4096, seed=1)
    right = torch.empty_like(a)
    multiply(a, b, right)
    chain = [torch.empty_like(a) for _ in range(3)]
    for _ in range(20):
        for one in chain:
            one.fill_(float("nan"))
        multiply(a, b, chain[0])
        multiply(chain[0], b, chain[1])  # reads what the one before it writes
        multiply(a, b, chain[0])  # writes what that one reads
        multiply(chain[0], b, chain[2])
        assert torch.equal(chain[0], right)
        assert torch.equal(chain[1], chain[2])


def test_it_can_be_captured_in_a_graph_and_compiled():
    a, b = uniform(512, 256), uniform(256, 384, seed=1)
    out, right = torch.empty(512, 384, dtype=a.dtype, device="cuda"), matmul(a, b)
    multiply(a, b, out)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        multiply(a, b, out)
    out.zero_()
    graph.replay()
    assert torch.equal(out, right)
    assert torch.equal(torch.compile(matmul, fullgraph=True, backend="eager")(a, b), right)


def test_what_no_kernel_can_do_is_pytorchs(monkeypatch):
    monkeypatch.setattr(module, "prepare", lambda *_: "none")
    a, b = uniform(16, 8), uniform(8, 24)
    assert multiply(a, b, torch.empty(16, 24, dtype=a.dtype, device="cuda")) == "none"
    assert torch.equal(matmul(a, b), a @ b)


def test_nothing_to_add_up_is_zero():
    out = torch.ones(4, 8, dtype=torch.bfloat16, device="cuda")
    assert isinstance(multiply(uniform(4, 0), uniform(0, 8), out), str)
    assert out.eq(0).all()
    assert matmul(uniform(0, 8), uniform(8, 4)).shape == (0, 4)


def test_the_plan_of_a_launch_says_which_kernel_it_was():
    a = uniform(64, 64, "fp32")
    chosen = multiply(a, a, torch.empty_like(a))
    assert isinstance(chosen, Plan)
    assert chosen.kernel == "matmul_simt_fp32"


def test_what_had_to_be_copied_is_told():
    a, b, out = uniform(64, 41), uniform(41, 40), torch.empty(64, 40, dtype=torch.bfloat16, device="cuda")
    assert multiply(a, b, out).note == "copied, for rows that are multiples of 16 bytes: A"
    assert multiply(a[:, 1:].contiguous(), b[1:], out).note is None
    wide = torch.empty(64, 48, dtype=torch.bfloat16, device="cuda")[:, :33]
    assert multiply(a, b[:, :33], wide).note == "copied, for rows that are multiples of 16 bytes: A, C"


@pytest.mark.parametrize("dtype", FAMILIES)
def test_a_result_may_be_stored_column_by_column(dtype):
    a, b = uniform(64, 40, dtype), uniform(40, 72, dtype, seed=1)
    out = torch.empty(72, 64, dtype=a.dtype, device="cuda").t()
    assert multiply(a, b, out).note == "copied, for rows that are multiples of 16 bytes: C"
    assert torch.equal(out, matmul(a, b))
