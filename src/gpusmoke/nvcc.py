"""Compiles a CUDA source to machine code of one GPU architecture, with the environment's own nvcc, and keeps it.

Machine code alone, without PTX: what a newer nvcc writes as PTX, an older driver refuses with error 222. And nothing is
linked: neither PyTorch's headers nor a build system is needed, a build takes seconds, and any process can load the
result (launch.py).
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from gpusmoke.findings import Finding, finding

FLAGS = ("-std=c++17", "-lineinfo")  # the last one lets profilers and sanitizers name lines
DEADLINE_SECONDS = 300
TOLD_LINES = 12  # of a compiler's words
SYSTEM = Path("/usr/local/cuda/bin")


class NvccError(RuntimeError):
    """A kernel that could not be built: `finding` says why, and what to type."""

    def __init__(self, why: Finding) -> None:
        self.finding = why
        lines = [f"{why.title} [{why.id}]", *why.evidence, *(f"try: {step}" for step in why.advice)]
        super().__init__("\n".join(lines))


def cubin(source: Path, architecture: str) -> Path:
    """The machine code of a .cu file for an architecture as nvcc names it ("sm_90", "sm_90a"), built where need be.

    It is kept by the content of the source and of the .cuh files beside it, the compiler's version and the flags.
    Raises NvccError with the finding `nvcc-missing`, `host-compiler-missing`, `nvcc-lacks-architecture` or
    `kernel-not-compiled`, and OSError where the source can't be read or the result not be kept.
    """
    nvcc = find_nvcc()
    content = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.cuh")))]
    key = hashlib.sha256(b"\0".join([*content, version(nvcc).encode(), " ".join(FLAGS).encode()])).hexdigest()
    kept = cache() / f"{source.stem}-{architecture}-{key[:20]}.cubin"
    if kept.is_file():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:  # complete or not there, whoever builds at once
        built = Path(folder, kept.name)
        compile_to(built, nvcc, source, architecture)
        built.replace(kept)
    return kept


def compile_to(target: Path, nvcc: Path, source: Path, architecture: str) -> None:
    """Run nvcc; raises NvccError where it does not succeed."""
    flags = ["-cubin", *FLAGS, f"-arch={architecture}", *host_compiler(nvcc)]
    command = [str(nvcc), *flags, "-o", str(target), str(source)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        words = [f"error: nvcc did not end within {DEADLINE_SECONDS} s"]
    else:
        if done.returncode == 0:
            return
        words = (done.stderr + done.stdout).strip().splitlines() or [f"error: nvcc ended with {done.returncode}"]
    if architecture.rstrip("af") not in run(nvcc, "--list-gpu-code").split():  # it lists no sm_90a
        raise NvccError(finding("nvcc-lacks-architecture", words[:1], version=release(nvcc), architecture=architecture))
    first = next((line for line in words if re.search(r"\berror\b|\bfatal\b", line)), words[0])
    again = shlex.join([*command[:-3], "-o", os.devnull, command[-1]])
    told = {"source": source.name, "architecture": architecture, "error": first.strip(), "command": again}
    raise NvccError(finding("kernel-not-compiled", words[:TOLD_LINES], None, **told))


def find_nvcc() -> Path:
    """The environment's own nvcc (Pixi's, or a wheel of PyPI), else that on PATH, of CUDA_HOME or of the system."""
    wheels = Path(sysconfig.get_path("purelib"), "nvidia")
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    places = [Path(sys.prefix, "bin"), *sorted(wheels.glob("cu*/bin"), reverse=True)]
    places += [*map(Path, os.get_exec_path()), *(Path(home, "bin") for home in homes), SYSTEM]
    found = shutil.which("nvcc", path=os.pathsep.join(map(str, places)))
    if found is None:
        raise NvccError(finding("nvcc-missing", [f"looked in: {', '.join(dict.fromkeys(map(str, places)))}"]))
    return Path(found)


def host_compiler(nvcc: Path) -> list[str]:
    """The option that names nvcc's host compiler; empty where an environment variable of its own does."""
    if any("ccbin" in os.environ.get(name, "") for name in ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")):
        return []
    if os.environ.get("NVCC_CCBIN") or sys.platform == "win32":  # there it finds Visual Studio's itself
        return []
    beside = f"{platform.machine()}-conda-linux-gnu-c++"  # conda-forge's, which an activated environment has as $CXX
    path = os.pathsep.join([str(nvcc.parent), *os.get_exec_path()])
    for name in (os.environ.get("CXX"), beside, "g++", "c++", "clang++"):
        if name and (found := shutil.which(name, path=path)):
            return ["-ccbin", found]
    raise NvccError(finding("host-compiler-missing", [f"looked for $CXX, g++, c++, clang++ in: {path}"], nvcc=nvcc))


def run(nvcc: Path, option: str) -> str:
    """What nvcc says of itself; nothing where it does not run."""
    try:
        return subprocess.run([str(nvcc), option], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


@functools.cache
def version(nvcc: Path) -> str:
    """All that nvcc says of its version, by which what it built is kept."""
    return run(nvcc, "--version")


def release(nvcc: Path) -> str:
    """Its version for people, as in 13.3.73."""
    found = re.search(r"V(\d+(\.\d+)+)", version(nvcc))
    return found[1] if found else "of unknown version"


def cache() -> Path:
    """Where built kernels are kept, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "gpusmoke", "kernels")
