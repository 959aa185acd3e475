"""Has compute-sanitizer look at every kernel, and at kernels with a fault that it must find. On a machine with a GPU:

    PYTHONPATH=src python benchmarks/sanitize.py

Exit code 1: something was found where nothing is wrong, or a planted fault was not.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from variants import variant

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
FAMILIES = ("simt", "mma", "hopper")
DEADLINE_SECONDS = 300
SUMMARY = re.compile(r"(?:ERROR SUMMARY|RACECHECK SUMMARY): (\d+)")
SIMT, MMA = "matmul_simt.cu", "matmul_mma.cu"
SIMT_BARRIER = "        __syncthreads(); // one"
MMA_BARRIER = "                __syncthreads();\n"
# Tool, family, and what is changed: an edge that is not looked at, a barrier that only a warp keeps, and one that not
# all threads come to.
FAULTS = [
    ("memcheck", "simt", SIMT, "if (at < m && to < n)", "if (at < m + 64 && to < n)"),
    ("memcheck", "mma", MMA, "at < m ? n - to - j * 8 : 0", "n - to - j * 8"),
    ("racecheck", "simt", SIMT, SIMT_BARRIER, SIMT_BARRIER.replace("__syncthreads", "__syncwarp")),
    ("racecheck", "mma", MMA, MMA_BARRIER, MMA_BARRIER.replace("__syncthreads", "__syncwarp")),
    ("synccheck", "mma", MMA, MMA_BARRIER, MMA_BARRIER.replace("__", "if (threadIdx.x % 32 < 16) __")),
]
# Every kernel of a family by turns: layouts, formats, edges, several tiles.
PROGRAM = """\
import sys
import torch
from pathlib import Path
from gpusmoke.kernels import matmul, simt
family, folder = sys.argv[1:]
matmul.HERE, simt.SOURCE = Path(folder), Path(folder, "matmul_simt.cu")
for dtype in [torch.float32] if family == "simt" else [torch.bfloat16, torch.float16]:
    for m, n, k in ((300, 520, 200), (65, 264, 72)):
        for turn_a in (False, True):
            for turn_b in (False, True):
                a, b = torch.rand(m, k, device="cuda").to(dtype), torch.rand(k, n, device="cuda").to(dtype)
                a = a.t().contiguous().t() if turn_a else a
                b = b.t().contiguous().t() if turn_b else b
                out = torch.empty(m, n, device="cuda", dtype=dtype)
                answer = matmul.multiply(a, b, out, family)
                if isinstance(answer, str):
                    sys.exit(answer)
torch.cuda.synchronize()
print("all launched")
"""


def found(tool: str, family: str, folder: Path) -> int | None:
    """How many errors the tool reports of a family's kernels; None where it says nothing."""
    command = ["compute-sanitizer", "--tool", tool, sys.executable, "-P", "-c", PROGRAM, family, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    match = SUMMARY.search(done.stdout)
    return int(match[1]) if match and ("all launched" in done.stdout or int(match[1])) else None


def main() -> int:
    """Run all, and print a line for each; returns the exit code."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        clean = variant(Path(scratch, "clean"), [])
        for family in FAMILIES:
            counts = {tool: found(tool, family, clean) for tool in TOOLS}
            failed += any(count != 0 for count in counts.values())
            print(f"matmul_{family}: {', '.join(f'{tool} {count}' for tool, count in counts.items())}", flush=True)
        for number, (tool, family, name, old, new) in enumerate(FAULTS):
            count = found(tool, family, variant(Path(scratch, str(number)), [(name, old, new)]))
            failed += not count
            print(
                f"matmul_{family} with {new.strip() or 'no ' + old.split(chr(10))[0].strip()!r}: {tool} {count}",
                flush=True,
            )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
