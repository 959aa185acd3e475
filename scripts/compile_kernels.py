"""Compiles every .cu of the repository with both of the lock's CUDA lines, for every architecture that they know.

    nox -s compile               # installs the compilers from PyPI into .nox, and runs this
    nox -s compile -- --to DIR   # also keeps the machine code, to be carried to a GPU

Code that is kept, and all for Hopper, is optimised as for users. For the rest it is enough that it compiles: optimised
less, in a third of the time.

CUDA 13.3 is nvcc itself. Of CUDA 12.9 PyPI has no nvcc that is whole, but NVRTC, the same compiler as a library.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpusmoke import nvcc

ROOT = Path(__file__).resolve().parents[1]
WHEELS = Path(sysconfig.get_path("purelib"), "nvidia")
# What not all GPUs have: instructions of Hopper alone, and such as came with an architecture.
ONLY = {"matmul_hopper": "sm_90a"}
SINCE = {"matmul_mma": 80}
QUICK = (*nvcc.FLAGS, "--Ofast-compile=mid")
Line = tuple[str, list[str], Callable[[Path, str, Path, Sequence[str]], None]]
"""A CUDA line: its compiler, the architectures, and a function that compiles a source for one of them to a file."""


def cuda13() -> Line:
    """The environment's nvcc."""
    compiler = nvcc.find_nvcc()

    def compile_to(source: Path, architecture: str, target: Path, flags: Sequence[str]) -> None:
        nvcc.compile_to(target, compiler, source, architecture, flags)

    return f"nvcc {nvcc.release(compiler)}", nvcc.architectures(compiler), compile_to


def cuda12() -> Line:
    """NVRTC, whose functions stand at https://docs.nvidia.com/cuda/nvrtc/."""
    nvrtc = ctypes.CDLL(str(WHEELS / "cuda_nvrtc/lib/libnvrtc.so.12"))
    headers = WHEELS / "cuda_runtime/include"

    def text(program: ctypes.c_void_p, size: str, content: str) -> bytes:
        length = ctypes.c_size_t()
        getattr(nvrtc, size)(program, ctypes.byref(length))
        buffer = ctypes.create_string_buffer(length.value)
        getattr(nvrtc, content)(program, buffer)
        return buffer.raw

    def compile_to(source: Path, architecture: str, target: Path, flags: Sequence[str]) -> None:
        program = ctypes.c_void_p()
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), str(source).encode(), 0, None, None)
        options = [*flags, f"-I{headers}", f"-I{source.parent}", f"-arch={architecture}"]
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        if nvrtc.nvrtcCompileProgram(program, len(options), array):
            raise RuntimeError(text(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").decode())
        target.write_bytes(text(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN"))

    count = ctypes.c_int()
    nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    nvrtc.nvrtcGetSupportedArchs(known)
    return "NVRTC 12.9", [f"sm_{number}" for number in known], compile_to


def those_for(source: str, architectures: list[str]) -> list[str]:
    """The architectures of a line that a source is for."""
    if source in ONLY:
        return [ONLY[source]]
    return [name for name in architectures if int(name.removeprefix("sm_")) >= SINCE.get(source, 0)]


def wrong(line: Line, source: Path, folder: Path, kept: bool, architecture: str) -> str | None:
    """Why a source does not compile for an architecture, or None where it does; the machine code goes to `folder`.

    `kept`: whether it is to be run from there.
    """
    name, _, compile_to = line
    target = folder / f"{source.stem}-{architecture}-{name.split()[-1]}.cubin"
    try:
        compile_to(source, architecture, target, nvcc.FLAGS if kept or architecture.startswith("sm_90") else QUICK)
    except RuntimeError as error:  # NvccError is one
        return f"{source.relative_to(ROOT)} does not compile by {name} for {architecture}:\n{error}"
    return None if target.stat().st_size else f"{target} is empty"


def main() -> int:
    """Compile all with both; returns 1 where one fails or there is nothing to compile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, metavar="DIR", help="keep what was compiled here")
    args = parser.parse_args()
    sources = sorted(ROOT.glob("src/**/*.cu"))
    if not sources:
        print("there is no .cu below src/", file=sys.stderr)
        return 1
    failed = False
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor() as pool:
        folder = args.to or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for line in (cuda13(), cuda12()):
            name, architectures, _ = line
            for source in sources:
                wanted = those_for(source.stem, architectures)
                failed |= not wanted
                tried = functools.partial(wrong, line, source, folder, args.to is not None)
                errors = [one for one in pool.map(tried, wanted) if one]
                failed |= bool(errors)
                print("\n".join(errors) or f"{source.relative_to(ROOT)}: {name}: {' '.join(wanted)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
