"""How well two whole runs of bench agree. Run it on a machine with a GPU and nothing else on it:

PYTHONPATH=src python benchmarks/repeat.py --results results
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

DEADLINE_SECONDS = 300


def rates(results: Path) -> tuple[dict[str, float], float]:
    """One run's rates by what was measured, and how many seconds the whole run took."""
    command = [sys.executable, "-m", "gpusmoke", "bench", "--json", "--results", str(results)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=DEADLINE_SECONDS).stdout
    record = json.loads(out)
    return {name(row): row["value"] for row in record["measurements"]}, record["seconds"]


def name(row: dict) -> str:
    """Quantity or format, shape and regime."""
    return f"{row['dtype'] or row['quantity']:14} {'x'.join(map(str, row['shape'])):16} {row['regime']:8}"


def main() -> None:
    """Run bench twice in a row and print both and their difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="where both records go (default: results)"
    )
    args = parser.parse_args()
    (first, seconds), (second, again) = rates(args.results), rates(args.results)
    for key, value in first.items():
        print(f"{key} {value:8.2f} {second[key]:8.2f} {100 * (second[key] / value - 1):+6.2f} %")
    print(f"whole run: {seconds:.1f} s and {again:.1f} s")


if __name__ == "__main__":
    main()
