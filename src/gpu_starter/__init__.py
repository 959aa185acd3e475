"""Your own package: a CUDA kernel as a PyTorch operator to begin with. `pixi run rename NAME` gives it your name."""

from gpu_starter.rms_norm import add_rms_norm

__all__ = ["add_rms_norm"]
