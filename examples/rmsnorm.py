"""gpu-starter's norm: PYTHONPATH=src python examples/rmsnorm.py."""

import torch

from gpu_starter.rmsnorm import rmsnorm

assert torch.allclose(rmsnorm(torch.ones(2, 8)), torch.ones(2, 8), atol=1e-3)
