"""Proves that an NVIDIA GPU is there, works, computes right and is as fast as it should be."""

__version__ = "0.1.0"
