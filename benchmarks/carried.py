"""Has the GPU run machine code that was built elsewhere, by other compilers than its own machine has:

    nox -s compile -- --to DIR                          # where the compilers are
    PYTHONPATH=src python benchmarks/carried.py DIR     # on the machine with the GPU

Every kernel of each compiler is loaded by that machine's driver, and verified: the products as `kernels` does, the
starter package's against float64. Exit code 1: one was wrong, or there was nothing for this GPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from gpusmoke import launch
from gpusmoke.kernels.plan import FAMILIES
from gpusmoke.measuring.dtypes import DTYPES
from gpusmoke.nvcc import architecture
from gpusmoke.workers.kernels import cases

from gpu_starter import add_rms_norm, rms_norm

CASES = 200  # of each kernel and number format
DEADLINE_SECONDS = 300
SIZES = ((1, 1), (3, 7), (64, 1000), (257, 4096), (16, 12289), (2000, 64))


def run(folder: Path, compiler: str) -> int:
    """Launch and verify all that one compiler built; returns how many were wrong or missing."""
    loaded = set()

    def carried(source: Path, architecture: str) -> Path:
        loaded.add(name := f"{source.stem}-{architecture}-{compiler}.cubin")
        return folder / name

    launch.cubin = carried
    generator, wrong = torch.Generator("cuda").manual_seed(1), 0
    for dtype, families in FAMILIES.items():
        for family in families:
            checked = [case.run(generator) for case in cases(family, DTYPES[dtype], CASES)]
            passed = sum(one is not None and one.passed for one in checked)
            print(f"{compiler}: matmul_{family} in {dtype}: {passed} of {CASES} random products right", flush=True)
            wrong += CASES - passed
    for dtype in rms_norm.KERNELS:
        for shape in SIZES:
            x, residual = (torch.randn(shape, device="cuda", dtype=dtype) for _ in range(2))
            weight = torch.randn(shape[1:], device="cuda", dtype=dtype)
            y, s = add_rms_norm(x, residual, weight)
            wide = s.double()
            exact = wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight.double()
            right = torch.equal(s, x + residual) and torch.allclose(y, exact.to(dtype), rtol=1e-2, atol=1e-5)
            wrong += not right
    print(f"{compiler}: add_rms_norm: {len(rms_norm.KERNELS) * len(SIZES)} cases; loaded: {', '.join(sorted(loaded))}")
    return wrong


def main() -> int:
    """One process for each compiler, since what is loaded stays; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="what `nox -s compile -- --to DIR` has left")
    parser.add_argument("--compiler", metavar="VERSION", help="only this one's, in this process")
    args = parser.parse_args()
    if args.compiler:
        return int(run(args.folder, args.compiler) > 0)
    mine = f"matmul_simt-{architecture(torch.cuda.get_device_capability())}-"
    compilers = sorted(path.stem.removeprefix(mine) for path in args.folder.glob(f"{mine}*.cubin"))
    if not compilers:
        print(f"{args.folder} has nothing for this GPU: no {mine}*.cubin", file=sys.stderr)
        return 1
    command = [sys.executable, "-P", __file__, str(args.folder), "--compiler"]
    return max(subprocess.run([*command, one], timeout=DEADLINE_SECONDS).returncode for one in compilers)


if __name__ == "__main__":
    sys.exit(main())
