"""The program that each child runs: `python -m gpusmoke.workers.child JOB ORDINAL`; its parent then says what to do."""

from __future__ import annotations

import importlib
import os
import sys

from gpusmoke.workers.pytorch import import_pytorch, look_for_cuda
from gpusmoke.workers.reporter import Reporter


def main(job: str) -> None:
    """Run one job, a function in the module of its name, and say that it is done.

    The task is {visible: CUDA_VISIBLE_DEVICES, or None to leave it alone, options: the job's}. ORDINAL only tells the
    children of a parent apart, where people look at the processes of a machine.
    """
    report = Reporter()
    if import_pytorch(report):
        report.step("while waiting for its task")
        task = report.heard()
        if task["visible"] is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = task["visible"]  # which CUDA reads when it is first used
        look_for_cuda(report, task["visible"])
        # Imported late: most of what measures needs PyTorch to be imported at all.
        getattr(importlib.import_module(f"gpusmoke.workers.{job}"), job)(report, **task["options"])
    report.done()


if __name__ == "__main__":
    main(sys.argv[1])
