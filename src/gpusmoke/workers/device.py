"""The device that a child measures, and what depends on its kind."""

from __future__ import annotations

import torch

from gpusmoke.measuring.dtypes import Dtype
from gpusmoke.measuring.formats import ON_CPU
from gpusmoke.measuring.telemetry import Telemetry, others
from gpusmoke.measuring.timing import CpuTimer, CudaTimer

SEED = 20261124


class Device:
    """A GPU as PyTorch names it ("cuda:0"), or "cpu"; telemetry begins with it."""

    def __init__(self, name: str) -> None:
        self.kind = "cpu" if name == "cpu" else "cuda"
        self.torch_name = name
        if self.kind == "cpu":
            self.name, self.capability, self.multiprocessors, self.l2_bytes = "CPU", (0, 0), 0, 0
            self.uuid: str | None = None
            self.timer: CpuTimer | CudaTimer = CpuTimer()
        else:
            properties = torch.cuda.get_device_properties(name)
            self.name, self.capability = properties.name, (properties.major, properties.minor)
            self.multiprocessors, self.l2_bytes = properties.multi_processor_count, properties.L2_cache_size
            self.uuid = f"GPU-{properties.uuid}"
            self.timer = CudaTimer()
        self.others = others(self.uuid)  # before this process is one of them
        self.telemetry = Telemetry(self.uuid)
        if self.kind == "cuda":
            torch.cuda.set_device(name)
        self.generator = torch.Generator(device=name).manual_seed(SEED)

    def look_again(self) -> None:
        """Whether others have come to the GPU meanwhile: all that compute there now, less this process."""
        before, now = (seen["processes"] for seen in (self.others, others(self.uuid)))
        if now is not None:
            self.others["processes"] = max(before or 0, now - 1)

    @property
    def library(self) -> str:
        """What PyTorch multiplies with there, as records call it."""
        return "cublas" if self.kind == "cuda" else "cpu"

    def free_bytes(self) -> int:
        """Memory that can still be had."""
        if self.kind == "cpu":
            return 8 << 30
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info()[0])

    def unsupported(self, dtype: Dtype) -> str | None:
        """Why this device can't multiply in this format, or None."""
        if self.kind == "cpu":
            return None if dtype.name in ON_CPU else "not measured on a CPU"
        if self.capability < dtype.least_capability:
            return "needs compute capability {}.{}".format(*dtype.least_capability)
        return None


def device_failed(error: RuntimeError) -> bool:
    """Whether PyTorch tells of the device failing, rather than of a combination that it does not offer."""
    text = str(error)
    if "NOT_SUPPORTED" in text:  # cuBLAS's way to say the latter
        return False
    return isinstance(error, torch.OutOfMemoryError) or "CUDA error" in text or "CUDA driver error" in text
