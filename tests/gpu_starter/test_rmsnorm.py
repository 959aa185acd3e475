"""The norm against its definition."""

import pytest

torch = pytest.importorskip("torch")

from gpu_starter.rmsnorm import rmsnorm  # noqa: E402 - needs torch


def test_each_row_has_a_mean_square_of_one():
    assert torch.allclose(rmsnorm(torch.randn(4, 256)).square().mean(dim=-1), torch.ones(4), atol=1e-4)
