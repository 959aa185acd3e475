"""How much longer each command takes with all GPUs of a machine than with one. Nothing else may be on them:

    PYTHONPATH=src python benchmarks/several.py

One GPU and all take turns, of which each is the first in every other round. Before them PyTorch's modules are compiled,
where the installer has not done so: that takes seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

COMMANDS = ("doctor", "check", "bench --quick", "smoke", "bench")
DEADLINE_SECONDS = 600
ONE, ALL = {"CUDA_VISIBLE_DEVICES": "0"}, dict[str, str]()


def seconds(command: str, results: str, env: Mapping[str, str]) -> float:
    """How long a command takes, which has to find nothing wrong."""
    kept = ["--results", results] if command not in ("doctor", "check") else []
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-P", "-m", "gpusmoke", *command.split(), *kept, "--json"],
        env=os.environ | env,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    return time.monotonic() - started


def main() -> None:
    """Print a line for each command: the median with one GPU, with all, and how much more that is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each (default: 2)")
    parser.add_argument("--only", nargs="*", choices=COMMANDS, default=COMMANDS, help="some of the commands")
    args = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each run compiles them anew
    with tempfile.TemporaryDirectory() as results:
        seconds("check", results, ALL)
        for command in args.only:
            taken: list[list[float]] = [[], []]
            for turn in range(args.rounds):
                for which in (turn % 2, 1 - turn % 2):
                    taken[which].append(seconds(command, results, (ONE, ALL)[which]))
            one, every = map(statistics.median, taken)
            spread = "; ".join(", ".join(f"{each:.1f}" for each in some) for some in taken)
            print(
                f"{command:14} {one:5.1f} s {every:5.1f} s {100 * (every / one - 1):+4.0f} %   ({spread})", flush=True
            )


if __name__ == "__main__":
    main()
