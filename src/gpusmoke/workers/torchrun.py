"""Starts ranks on this machine: torchrun, in a child with a deadline like everything that imports PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from gpusmoke import python
from gpusmoke.workers.attend import RELAY
from gpusmoke.workers.reporter import Reporter


def torchrun(report: Reporter, ordinal: int, ranks: int, arguments: Sequence[str]) -> None:
    """Run `gpusmoke collectives ARGUMENTS` as `ranks` ranks; rank 0 speaks to our parent in our place."""
    assert ordinal == 0  # the one launcher of this machine
    report.step("in torchrun")
    report.hand_on()
    os.environ[RELAY] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun would, with a warning
    program = python.command("-m", "gpusmoke", "collectives", *arguments)
    try:
        run.main(["--standalone", f"--nproc-per-node={ranks}", "--no-python", *program])
    except ChildFailedError as error:
        failures = [{"rank": rank, "exit_code": one.exitcode} for rank, one in error.failures.items()]
        first = error.get_first_failure()[0]
        report.fact("collectives.torchrun", {"first": first, "failures": failures}, "torchrun")
