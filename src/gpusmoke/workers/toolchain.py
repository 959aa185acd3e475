"""What check's child does with --nvcc: has nvcc compile a kernel now, and on a GPU multiplies with it, verified."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gpusmoke import nvcc
from gpusmoke.facts import Json
from gpusmoke.kernels.simt import SOURCE, architecture_of, multiply
from gpusmoke.launch import LaunchError
from gpusmoke.workers.pytorch import error_code
from gpusmoke.workers.reporter import Reporter

if TYPE_CHECKING:
    from gpusmoke.workers.product import Multiply


def toolchain(report: Reporter, ordinal: int, device: str, product: Callable[[Multiply], dict[str, Json]]) -> None:
    """Report as the fact nvcc.ORDINAL which compilers there are, and how the kernel fared; on the CPU none is launched.

    `product` computes and verifies a product by a function of (a, b, out).
    """
    row: dict[str, Json] = {}
    try:
        report.step("in a compilation by nvcc")
        compile_kernel(row, device)
        if device != "cpu":
            report.fact(f"nvcc.{ordinal}", row, "nvcc")  # kept if the child ends at what follows
            report.step("in a product by a kernel that nvcc built")
            torch.cuda.set_device(device)
            row["product"] = product(multiply)
    except nvcc.NvccError as error:
        row |= error.told()
    except (RuntimeError, OSError) as error:  # OSError: what was built can't be kept
        code = error.code if isinstance(error, LaunchError) else error_code(error)
        row |= {"error_text": str(error).split("\n")[0][:300], "error_code": code}
    report.fact(f"nvcc.{ordinal}", row, "nvcc")


def compile_kernel(row: dict[str, Json], device: str) -> None:
    """Compile the kernel for the device, whatever was kept of an earlier day, with in `row` what it is done with.

    For the CPU, which has no use for it, into a folder that goes. Raises NvccError and OSError.
    """
    compiler = nvcc.find_nvcc()
    row |= {"nvcc": str(compiler), "version": nvcc.release(compiler), "origin": nvcc.places().get(compiler.parent)}
    row["variables"] = nvcc.own_variables()
    host = next(iter(nvcc.host_compiler(compiler)[1:]), None) or named_by_variable()
    row |= {"host_compiler": host, "host_version": first_line(nvcc.run(Path(host), "--version")) if host else None}
    row["architecture"] = architecture = newest(compiler) if device == "cpu" else architecture_of(device)
    started = time.monotonic()
    if device == "cpu":
        with tempfile.TemporaryDirectory() as folder:
            nvcc.compile_to(Path(folder, "kernel.cubin"), compiler, SOURCE, architecture)
    else:
        nvcc.cubin(SOURCE, architecture, anew=True)
    row["seconds"] = round(time.monotonic() - started, 2)


def named_by_variable() -> str | None:
    """The host compiler that a variable of nvcc's own names: conda-forge's nvcc comes with NVCC_PREPEND_FLAGS so."""
    flags = " ".join(text for name, text in nvcc.own_variables().items() if name != "NVCC_CCBIN")
    found = re.search(r"-ccbin[= ]\s*(\S+)", flags)
    return found[1] if found else os.environ.get("NVCC_CCBIN")


def newest(compiler: Path) -> str:
    """The newest architecture that nvcc knows; where it tells none, any will show why."""
    return max(nvcc.architectures(compiler), key=lambda name: int(re.sub(r"\D", "", name)), default="sm_90")


def first_line(text: str) -> str | None:
    """The first line, or None where there is none."""
    return next(iter(text.splitlines()), None)
