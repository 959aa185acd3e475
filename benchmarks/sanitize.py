"""Has compute-sanitizer look at every kernel, and at kernels with a fault that it must find. On a machine with a GPU:

    PYTHONPATH=src python benchmarks/sanitize.py [--family mma]

Exit code 1: something was found where nothing is wrong, or a planted fault was not.
"""

from __future__ import annotations

import argparse
import os
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
SIMT_BARRIER = "        __syncthreads(); // one"
MMA_BARRIER = "                __syncthreads();\n"
SIMT_RESULT, MMA_RESULT = "= sums[i][j];", "<uint2 *>(out + j * 8) = four;"
# Tool, family, what stands in its file, and what is planted there: an edge that is not looked at, or a place outside of
# the block's shared memory; a barrier that only a warp keeps; one that not all threads come to; a result that depends
# on what stood there. Of what the copy engine and wgmma do in matmul_hopper memcheck alone was seen to notice
# something: not racecheck that rows fell on one place, nor initcheck that an operand was never written.
FAULTS = [
    ("memcheck", "simt", "if (at < m && to < n)", "if (at < m + 64 && to < n)"),
    ("memcheck", "mma", "at < m ? n - to - j * 8 : 0", "n - to - j * 8"),
    ("memcheck", "hopper", "store_matrices(result + ", "store_matrices(result + (1 << 18) + "),
    ("racecheck", "simt", SIMT_BARRIER, SIMT_BARRIER.replace("__syncthreads", "__syncwarp")),
    ("racecheck", "mma", MMA_BARRIER, MMA_BARRIER.replace("__syncthreads", "__syncwarp")),
    ("synccheck", "mma", MMA_BARRIER, MMA_BARRIER.replace("__", "if (threadIdx.x % 32 < 16) __")),
    ("initcheck", "simt", SIMT_RESULT, "= sums[i][j] + (at + to ? 0 : c[0]);"),
    ("initcheck", "mma", MMA_RESULT, MMA_RESULT.replace("four", "at + to ? four : *reinterpret_cast<uint2 *>(c)")),
]
# Every kernel of a family by turns: layouts, formats, edges, several tiles; of those with a fault the first.
PROGRAM = """\
import itertools
import sys
import torch
from pathlib import Path
from gpusmoke.kernels import matmul, simt
family, folder, most = sys.argv[1:]
matmul.HERE, simt.SOURCE = Path(folder), Path(folder, "matmul_simt.cu")
dtypes = [torch.float32] if family == "simt" else [torch.bfloat16, torch.float16]
products = itertools.product(dtypes, ((300, 520, 200), (65, 264, 72)), (False, True), (False, True))
for dtype, (m, n, k), turn_a, turn_b in itertools.islice(products, int(most)):
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
MOST = 16  # of two formats, two shapes, and four layouts
# Each tensor is an allocation of its own: the tools know where it ends, and that nothing has been written to it.
ENVIRONMENT = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}


def found(tool: str, family: str, folder: Path, most: int = MOST) -> int | None:
    """How many errors the tool reports of a family's kernels; None where it says nothing."""
    command = ["compute-sanitizer", "--tool", tool, "--show-backtrace", "no"]
    command += [sys.executable, "-P", "-c", PROGRAM, family, str(folder), str(most)]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False, env=environment
    )
    match = SUMMARY.search(done.stdout)
    return int(match[1]) if match and ("all launched" in done.stdout or int(match[1])) else None


def main() -> int:
    """Run all, and print a line for each; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=FAMILIES, help="one kernel alone")
    chosen = parser.parse_args().family
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        clean = variant(Path(scratch, "clean"), [])
        for family in [chosen] if chosen else FAMILIES:
            counts = {tool: found(tool, family, clean) for tool in TOOLS}
            failed += any(count != 0 for count in counts.values())
            print(f"matmul_{family}: {', '.join(f'{tool} {count}' for tool, count in counts.items())}", flush=True)
            for number, (tool, _, old, new) in enumerate(fault for fault in FAULTS if fault[1] == family):
                faulty = variant(Path(scratch, f"{family}{number}"), [(f"matmul_{family}.cu", old, new)])
                count = found(tool, family, faulty, most=1)
                failed += not count
                print(f"matmul_{family} with {new.strip()}: {tool} {count}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
