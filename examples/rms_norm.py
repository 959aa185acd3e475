"""The operator where it is used: between two layers, under torch.compile, with gradients.

    pixi run -e cuda13 python examples/rms_norm.py

It ends in a comparison with PyTorch's own operations.
"""

import torch
from torch import Tensor

from gpu_starter import add_rms_norm

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
x, residual = (torch.randn(256, 1024, device=device, requires_grad=True) for _ in range(2))
weight = torch.ones(1024, device=device, requires_grad=True)


@torch.compile
def block(x: Tensor, residual: Tensor, weight: Tensor) -> Tensor:
    """What follows a norm in most models, in small."""
    y, residual = add_rms_norm(x, residual, weight)
    return torch.relu(y) + residual


block(x, residual, weight).square().sum().backward()
found = [one.grad.clone() for one in (x, residual, weight)]

# The same by PyTorch's own operations.
for one in (x, residual, weight):
    one.grad = None
s = x + residual
(torch.relu(torch.nn.functional.rms_norm(s, (1024,), weight, 1e-6)) + s).square().sum().backward()
for ours, one in zip(found, (x, residual, weight), strict=True):
    torch.testing.assert_close(ours, one.grad, rtol=1e-4, atol=1e-3)
print(f"add_rms_norm and its gradients agree with PyTorch's on {device}")
