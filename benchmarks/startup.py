"""How long doctor and check take, beside what people type instead. Run it on a machine with a GPU:

    PYTHONPATH=src python benchmarks/startup.py

Commands are run in turns, so that a busy machine or a cold file cache hits all alike; the first turn is not counted: it
compiles PyTorch's modules where the installer has not, which takes seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PYTHON = sys.executable
COMMANDS = {
    "doctor": [PYTHON, "-P", "-m", "gpusmoke", "doctor"],
    "import torch; torch.cuda.is_available()": [PYTHON, "-c", "import torch; torch.cuda.is_available()"],
    "check": [PYTHON, "-P", "-m", "gpusmoke", "check"],
    "torch.utils.collect_env": [PYTHON, "-m", "torch.utils.collect_env"],
}
DEADLINE_SECONDS = 120


def seconds(command: list[str]) -> float:
    """Wall time of one whole process, which must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_SECONDS)
    return time.perf_counter() - started


def main() -> None:
    """Time every command and print the table; `--json FILE` keeps all samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--turns", type=int, default=5, help="counted runs of each command (default: 5; doctor twice that)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples here")
    args = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each run compiles them anew
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(args.turns + 1):
        for name, command in COMMANDS.items():
            for _ in range(2 if name == "doctor" else 1):
                taken = seconds(command)
                if turn:
                    samples[name].append(taken)
    base = statistics.median(samples["import torch; torch.cuda.is_available()"])
    for name, taken in samples.items():
        middle = statistics.median(taken)
        print(
            f"{name:42} {middle:6.3f} s  ({min(taken):.3f}-{max(taken):.3f}, {len(taken)} runs)  {middle / base:5.2f}x"
        )
    faster = statistics.median(samples["torch.utils.collect_env"]) / statistics.median(samples["doctor"])
    print(f"doctor answers {faster:.0f} times as fast as collect_env")
    if args.json:
        args.json.write_text(json.dumps(samples, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
