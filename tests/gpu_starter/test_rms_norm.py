"""The operator against PyTorch's own, on the CPU and, where there is one, on the GPU."""

import random
import runpy
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_starter import add_rms_norm

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def expected(x, residual, weight, eps):
    """In float64 from the sum on, which is rounded as the operator rounds it."""
    s = x + residual
    wide = s.double()
    y = wide / (wide.square().mean(-1, keepdim=True) + eps).sqrt() * weight.double()
    return y.to(x.dtype), s


def tensors(shape, dtype, device, seed=0, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    sizes = (shape, shape, shape[-1:])
    return [(scale * torch.randn(size, generator=draw)).to(device, dtype) for size in sizes]


def strided(tensor, how):
    """The same values, laid out otherwise."""
    if how == "transposed":
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if how == "shifted":  # not at a multiple of 16 bytes
        return torch.cat([tensor.new_zeros(1), tensor.flatten()])[1:].view(tensor.shape)
    if how == "every other":
        return torch.stack([tensor, tensor], -1)[..., 0]
    return tensor


shapes = st.one_of(
    st.tuples(st.integers(0, 40), st.integers(1, 700)),
    st.tuples(st.integers(0, 5), st.integers(1, 5), st.sampled_from([1, 8, 31, 64, 1000, 1024])),
    st.tuples(st.integers(1, 3), st.sampled_from([4096, 12288, 12289, 24576, 24577, 30000])),
    st.tuples(st.integers(1, 2000)),
    st.sampled_from([(0, 16), (3, 0), (0,)]),
)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=250 if "cuda" in DEVICES else 30)  # on the CPU it is PyTorch against itself
@given(
    shape=shapes,
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(["plain", "transposed", "shifted", "every other"]),
    eps=st.sampled_from([1e-6, 1e-5, 0.5]),
    scale=st.sampled_from([1.0, 1e-3, 30.0]),
    seed=st.integers(0, 1 << 30),
)
def test_it_is_what_pytorch_computes(device, shape, dtype, layout, eps, scale, seed):
    x, residual, weight = (strided(one, layout) for one in tensors(shape, dtype, device, seed, scale))
    y, s = add_rms_norm(x, residual, weight, eps)
    right_y, right_s = expected(x, residual, weight, eps)
    assert y.is_contiguous()
    assert s.is_contiguous()
    assert torch.equal(s, right_s)
    torch.testing.assert_close(y, right_y, equal_nan=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_a_whole_operator(device, dtype):
    """Schema, fake implementation and gradient hold together, as torch.compile needs them."""
    x, residual, weight = (one.requires_grad_() for one in tensors((4, 6, 64), dtype, device))
    torch.library.opcheck(add_rms_norm, (x, residual, weight, 1e-5))
    torch.library.opcheck(add_rms_norm, (x.transpose(0, 1), residual.transpose(0, 1), weight, 1e-5))


@pytest.mark.parametrize("device", DEVICES)
def test_its_gradients_are_those_of_finite_differences(device):
    arguments = [one.requires_grad_() for one in tensors((3, 5, 7), torch.float64, device)]
    assert torch.autograd.gradcheck(lambda *a: add_rms_norm(*a, 1e-3), arguments)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_its_gradients_are_those_of_pytorch(device, dtype):
    ours = [one.requires_grad_() for one in tensors((8, 512), dtype, device)]
    theirs = [one.detach().double().requires_grad_() for one in ours]
    grads = [torch.randn(8, 512, generator=torch.Generator().manual_seed(seed)).to(device, dtype) for seed in (1, 2)]
    torch.autograd.backward(add_rms_norm(*ours, 1e-6), grads)
    s = theirs[0] + theirs[1]
    y = torch.nn.functional.rms_norm(s, (512,), theirs[2], 1e-6)
    torch.autograd.backward((y, s), [one.double() for one in grads])
    loose = {"rtol": 3e-2, "atol": 6e-2} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-4}
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, **loose)


@pytest.mark.parametrize("device", DEVICES)
def test_it_is_one_node_of_a_compiled_graph(device):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    @torch.compile(backend=backend, fullgraph=True)
    def layer(x, residual, weight):
        y, residual = add_rms_norm(2 * x, residual, weight)
        return y.relu() + residual

    x, residual, weight = tensors((4, 256), torch.float32, device)
    y, s = expected(2 * x, residual, weight, 1e-6)
    torch.testing.assert_close(layer(x, residual, weight), y.relu() + s)
    assert [str(node.target) for node in graphs[0].graph.nodes].count("gpu_starter.add_rms_norm.default") == 1


@pytest.mark.parametrize("device", DEVICES)
def test_it_is_ordered_with_what_surrounds_it_on_each_stream(device):
    """A stream that it did not respect would read what is not written yet."""
    draw = random.Random(0)  # noqa: S311 - not a secret
    streams = [torch.cuda.Stream() for _ in range(3)] if device == "cuda" else [None]
    results, rows = [], 2048 if device == "cuda" else 16
    for step in range(30):
        with torch.cuda.stream(draw.choice(streams)):
            x, residual, weight = (torch.full((rows, 512), float(step), device=device) for _ in range(3))
            weight = weight[0] * 0 + 2
            for _ in range(3):  # work that a kernel on another stream would overtake
                x = (x @ torch.eye(512, device=device)).clone()
            y, s = add_rms_norm(x, residual, weight, 0.0)
            results.append((step, y.mean(), s.mean()))
    if device == "cuda":
        torch.cuda.synchronize()
    for step, y, s in results[1:]:
        assert (float(y), float(s)) == pytest.approx((2.0, 2.0 * step), rel=1e-4)


def test_what_does_not_fit_together_is_refused_in_one_sentence():
    x, residual, weight = tensors((4, 8), torch.float32, "cpu")
    for wrong in (
        (x, residual[:2], weight),
        (x, residual, weight[:4]),
        (x[0, 0], residual[0, 0], weight),
    ):
        with pytest.raises(ValueError, match=r"^add_rms_norm takes x and residual of shape \(\.\.\., D\)"):
            add_rms_norm(*wrong)
    for wrong in ((x, residual.half(), weight), (x, residual, weight.to("meta")), (x.long(), x.long(), weight.long())):
        with pytest.raises(ValueError, match="one floating-point format on one device, not torch"):
            add_rms_norm(*wrong)


def test_the_example_ends_well(monkeypatch, capsys):
    """Without a compiler, which would take most of a minute: that it is one node of a graph is tested above."""
    monkeypatch.setattr("torch._dynamo.config.disable", True)
    runpy.run_path(str(Path(__file__).parents[2] / "examples/rms_norm.py"))
    assert "agree with PyTorch's" in capsys.readouterr().out
