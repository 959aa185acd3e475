"""The program that each child runs: `python -m gpusmoke.workers.child JOB ORDINAL`; its parent then says what to do."""

from __future__ import annotations

import importlib
import sys

from gpusmoke.workers.pytorch import describe, share_cores
from gpusmoke.workers.reporter import Reporter


def main(job: str) -> None:
    """Run one job, a function in the module of its name, with the options that the parent sends; say that it is done.

    ORDINAL only tells the children of a parent apart, where people look at the processes of a machine.
    """
    report = Reporter()
    available = describe(report)
    if available:
        share_cores()
    if available is not None:
        report.step("while waiting for its task")
        # Imported late: what measures needs PyTorch to be imported at all.
        work = getattr(importlib.import_module(f"gpusmoke.workers.{job}"), job)
        work(report, **report.heard())
    report.done()


if __name__ == "__main__":
    main(sys.argv[1])
