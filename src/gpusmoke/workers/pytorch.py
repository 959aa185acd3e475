"""What PyTorch says of itself, before anything is asked of a device."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import threading
import warnings

from gpusmoke.facts.host import usable_cores
from gpusmoke.facts.probe_cuda import LIBRARY
from gpusmoke.workers.libraries import conda_pytorch, library_facts, torch_installations
from gpusmoke.workers.reporter import Reporter

CUDA_ERROR_OUT_OF_MEMORY = 2
MOST_CUDA_ERROR = 1000


def start_cuda(report: Reporter) -> None:
    """Start CUDA while PyTorch is imported: the driver lets one process at a time do so, and each takes 0.3 s.

    What it answers is not used: PyTorch asks again. It makes no context, of which a GPU in exclusive mode has but one.
    """
    with contextlib.suppress(OSError, AttributeError):  # no driver, or what is none
        start = ctypes.CDLL(LIBRARY).cuInit
        report.step("while importing PyTorch and starting CUDA")
        threading.Thread(target=start, args=(0,), daemon=True).start()


def describe(report: Reporter) -> bool | None:
    """Report the facts torch.* and return torch.cuda.is_available(), or None where PyTorch can't be imported."""
    report.step("while importing PyTorch")
    installations = torch_installations()
    report.fact("torch.installations", installations, "importlib.metadata, conda-meta")
    package = conda_pytorch()
    report.fact("torch.package", package, "conda-meta", None if package else "no package of conda's")
    if installations:  # what does not ask a driver can't hang in it
        start_cuda(report)
    gc.disable()  # what an import makes stays: to look for garbage in it takes a sixth of its time
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything from OSError to SyntaxError
        report.fact("torch.version", None, "import torch", f"{type(error).__name__}: {error}"[:500])
        report.fact("torch.libraries", library_facts(), "/proc/self/maps")
        return None
    finally:
        gc.enable()
    report.fact("torch.version", torch.__version__, "torch.__version__")
    report.fact("torch.cuda", torch.version.cuda, "torch.version.cuda", None if torch.version.cuda else "a CPU build")
    report.step("in torch.cuda.is_available()")
    # It never raises: what went wrong stands in the text of a warning.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    said = "; ".join(str(warning.message) for warning in caught).split(" (Triggered internally")[0]
    report.fact("torch.available", available, "torch.cuda.is_available()", said or None)
    if available:
        report.fact("torch.devices", torch.cuda.device_count(), "torch.cuda.device_count()")
        report.fact("torch.architectures", torch.cuda.get_arch_list(), "torch.cuda.get_arch_list()")
        try:
            version = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
            report.fact("torch.cudnn", version, "torch.backends.cudnn.version()")
        except RuntimeError as error:  # the one that is loaded does not fit the one that was compiled for
            report.fact("torch.cudnn", None, "torch.backends.cudnn.version()", str(error)[:300])
    return available


def share_cores() -> None:
    """Keep a child to its part of the machine's cores: there is one child for each GPU, and one copies between them.

    With a thread of each of them on every core, a product that verifies took five times as long.
    """
    import torch

    share = usable_cores() // (torch.cuda.device_count() + 1)
    torch.set_num_threads(max(1, min(torch.get_num_threads(), share)))


def own_device(ordinal: int) -> str | None:
    """PyTorch's name of the GPU that a child is for; where it sees none the CPU for the first child, and else None."""
    import torch

    if torch.cuda.is_available():
        return f"cuda:{ordinal}"
    return "cpu" if ordinal == 0 else None


def error_code(error: Exception) -> int | None:
    """The CUDA error number behind an exception of PyTorch: its own word, else that of the driver's text in it."""
    import torch

    code = getattr(error, "error_code", None)  # torch.AcceleratorError, since PyTorch 2.8
    if isinstance(code, int):
        return code
    if isinstance(error, torch.OutOfMemoryError):
        return CUDA_ERROR_OUT_OF_MEMORY
    told = re.match(r"CUDA(?: driver)? error: (.+)", str(error))
    return error_number(told[1].strip()) if told else None


def error_number(text: str) -> int | None:
    """The number that the CUDA driver has this text for, or None."""
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    answer = ctypes.c_char_p()
    for code in range(1, MOST_CUDA_ERROR):
        if cuda.cuGetErrorString(code, ctypes.byref(answer)) == 0 and (answer.value or b"").decode() == text:
            return code
    return None
