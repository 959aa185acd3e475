"""The program that each child runs: `python -m gpusmoke.workers.child JOB OPTIONS`, OPTIONS being a JSON object."""

from __future__ import annotations

import json
import sys

from gpusmoke.workers.pytorch import describe
from gpusmoke.workers.reporter import Reporter


def main(job: str, options: str) -> None:
    """Run one job and say that it is done."""
    report = Reporter()
    # Imported late: what measures needs PyTorch to be imported at all, and a failing import is the check's to report.
    if job == "bench" and describe(report) is not None:
        from gpusmoke.workers.bench import bench

        bench(report, **json.loads(options))
    elif job == "soak" and describe(report) is not None:
        from gpusmoke.workers.soak import soak

        soak(report, **json.loads(options))
    elif job == "check":
        from gpusmoke.workers.check import check

        check(report, **json.loads(options))
    report.done()


if __name__ == "__main__":
    main(*sys.argv[1:])
