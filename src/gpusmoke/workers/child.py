"""The program that each child runs: `python -m gpusmoke.workers.child JOB OPTIONS`, OPTIONS being a JSON object."""

from __future__ import annotations

import importlib
import json
import sys

from gpusmoke.workers.pytorch import describe
from gpusmoke.workers.reporter import Reporter


def main(job: str, options: str) -> None:
    """Run one job, a function in the module of its name, and say that it is done."""
    report = Reporter()
    # Imported late: what measures needs PyTorch to be imported at all, and a failing import is the check's to report.
    if job == "check" or describe(report) is not None:
        getattr(importlib.import_module(f"gpusmoke.workers.{job}"), job)(report, **json.loads(options))
    report.done()


if __name__ == "__main__":
    main(*sys.argv[1:])
