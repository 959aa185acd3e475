"""What PyTorch says of itself, before anything is asked of a device."""

from __future__ import annotations

import warnings

from gpusmoke.workers.reporter import Reporter


def describe(report: Reporter) -> bool | None:
    """Report the facts torch.* and return torch.cuda.is_available(), or None where PyTorch can't be imported."""
    report.step("while importing PyTorch")
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything from OSError to SyntaxError
        report.fact("torch.version", None, "import torch", f"{type(error).__name__}: {error}"[:500])
        return None
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
    return available
