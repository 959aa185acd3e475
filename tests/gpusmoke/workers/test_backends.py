"""What multiplies: PyTorch's own product, or a compiler's, which says what it can't do before it is asked."""

import pytest

torch = pytest.importorskip("torch")

from gpusmoke.measuring.dtypes import DTYPES  # noqa: E402 - needs torch
from gpusmoke.workers.backends import multiplier  # noqa: E402


def test_cublas_is_pytorchs_own_product():
    assert [multiplier(name, DTYPES["fp8"]) for name in ("cublas", "cpu")] == [None, None]


@pytest.mark.parametrize("name", ["fp8", "int8", "fp64"])
def test_a_format_that_triton_is_not_given_is_refused(name):
    with pytest.raises(RuntimeError, match=f"the Triton backend does not multiply in {name}"):
        multiplier("triton", DTYPES[name])


def test_what_triton_makes_lands_in_the_output_that_is_verified(monkeypatch):
    """Compiling takes a GPU and ten seconds: what is compiled runs as it stands here."""
    asked = {}
    monkeypatch.setattr(torch, "compile", lambda function, **how: asked.update(how) or function)
    multiply = multiplier("triton", DTYPES["fp32"])
    a, b, out = torch.randn(5, 7), torch.randn(3, 7), torch.full((5, 3), float("nan"))
    multiply(a, b, out)
    assert torch.equal(out, a @ b.t())
    assert asked["options"]["max_autotune_gemm_backends"] == "TRITON"  # or autotuning would choose cuBLAS
