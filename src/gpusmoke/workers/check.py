"""What one child does for `check`: what PyTorch says, then copies and products on one device, verified."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from gpusmoke.facts import Json
from gpusmoke.workers.libraries import library_facts
from gpusmoke.workers.pytorch import error_code, own_device
from gpusmoke.workers.reporter import Reporter

SIZE = 1024  # enough for the tensor cores, small enough for a float64 product on the CPU in some 10 ms
COPY_BYTES = 16 << 20
SEED = 20261124


def check(report: Reporter, ordinal: int, nvcc: bool = False) -> None:
    """Exercise GPU `ordinal`; where PyTorch sees none, one child exercises the CPU."""
    device = own_device(ordinal)
    if device is not None:
        exercise(report, ordinal, device, nvcc)


def exercise(report: Reporter, ordinal: int, device: str, nvcc: bool = False) -> None:
    """Copy, multiply and verify on one device; each step becomes a row of the fact check.ORDINAL.

    With `nvcc` a kernel that nvcc builds comes last (toolchain.py).
    """
    import torch

    from gpusmoke.measuring.dtypes import DTYPES, set_precision
    from gpusmoke.measuring.telemetry import pcie_link
    from gpusmoke.measuring.verify import elementwise, same_bits

    rows: list[dict[str, Json]] = []
    row: dict[str, Json] = {"device": device, "name": "CPU", "steps": rows}

    def step(what: str, do: Callable[[], dict[str, Json]]) -> bool:
        report.step(f"in {what}")
        started = time.monotonic()
        try:
            outcome = do()
        except RuntimeError as error:  # every CUDA error is one, out of memory included
            text = str(error).split("\n")[0][:300]
            outcome = {"passed": False, "error_text": text, "error_code": error_code(error)}
        rows.append({"step": what, "seconds": round(time.monotonic() - started, 4), **outcome})
        report.fact(f"check.{ordinal}", row, "PyTorch")
        return "error_text" not in outcome

    def opened() -> dict[str, Json]:
        row["name"] = torch.cuda.get_device_name(device)
        row["capability"] = "{}.{}".format(*torch.cuda.get_device_capability(device))
        return {"passed": bool((torch.ones(2, device=device) + 1 == 2).all())}  # the first context, and kernel

    def copies() -> dict[str, Json]:
        sent = torch.randint(0, 256, (COPY_BYTES,), dtype=torch.uint8)
        passed = same_bits(sent.to(device).clone().cpu(), sent)
        if device != "cpu":
            row["link"] = pcie_link(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        return {"passed": passed}

    def product(name: str, multiply: Callable[..., object] | None = None) -> dict[str, Json]:
        dtype = DTYPES[name]
        set_precision(name)
        generator = torch.Generator().manual_seed(SEED)
        a, b = dtype.random(SIZE, SIZE, generator), dtype.random(SIZE, SIZE, generator)
        out = torch.full((SIZE, SIZE), float("nan"), dtype=dtype.output, device=device)
        (multiply or dtype.product())(a.to(device), b.to(device), out)
        # Verified on the CPU: a GPU that multiplies wrong must not be its own judge.
        checked = elementwise(a, b, out.cpu(), dtype)
        assert checked is not None
        return checked.to_json()

    if device != "cpu" and not step("a first sum", opened):
        return  # after an error in CUDA nothing else would work in this process
    step("copies both ways", copies)
    half = "bf16" if device == "cpu" or torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    for dtype_name in (half, "fp32"):
        step(f"{dtype_name} product of {SIZE} x {SIZE}", lambda: product(dtype_name))  # noqa: B023
    if nvcc:
        from gpusmoke.workers.toolchain import toolchain

        toolchain(report, ordinal, device, functools.partial(product, "fp32"))
    report.fact("torch.libraries", library_facts(), "/proc/self/maps")
