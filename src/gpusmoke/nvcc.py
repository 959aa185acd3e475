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
from collections.abc import Sequence
from pathlib import Path

from gpusmoke.findings import finding

FLAGS = ("-std=c++17", "-lineinfo")  # the last one lets profilers and sanitizers name lines
DEADLINE_SECONDS = 300
TOLD_LINES = 12  # of a compiler's words
SYSTEM = Path("/usr/local/cuda/bin")
OWN_VARIABLES = ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "NVCC_CCBIN")  # by which nvcc itself is told what to do
# How the header says it that knows which compilers it takes, and how nvcc does where one does not even run.
HOST_COMPILER = re.compile(r"host_config\.h[:(]\d|host compiler", re.IGNORECASE)


class NvccError(RuntimeError):
    """A kernel that could not be built: `finding` says why, and what to type, and `words` are what fills it in."""

    def __init__(self, kind: str, evidence: Sequence[str] = (), **words: str) -> None:
        self.words = words
        self.finding = why = finding(kind, evidence, None, **words)
        lines = [f"{why.title} [{why.id}]", *why.evidence, *(f"try: {step}" for step in why.advice)]
        super().__init__("\n".join(lines))

    def told(self) -> dict[str, object]:
        """As it stands in a child's facts: the kind of finding, its evidence and its words."""
        return {"failure": self.finding.id, "said": list(self.finding.evidence), **self.words}


def architecture(capability: tuple[int, int]) -> str:
    """What nvcc calls the architecture of a GPU, as in sm_90 for compute capability 9.0."""
    return "sm_{}{}".format(*capability)


def cubin(source: Path, architecture: str, anew: bool = False) -> Path:
    """The machine code of a .cu file for an architecture as nvcc names it ("sm_90", "sm_90a"), built where need be.

    It is kept by the content of the source and of the .cuh files beside it, the compiler's version and the flags;
    `anew` builds it although it is there. Raises NvccError with the finding `nvcc-missing`, `host-compiler-missing`,
    `host-compiler-unfit`, `nvcc-lacks-architecture` or `kernel-not-compiled`, and OSError where the source can't be
    read or the result not be kept.
    """
    nvcc = find_nvcc()
    content = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.cuh")))]
    told = [version(nvcc), *FLAGS, *own_variables().values()]
    key = hashlib.sha256(b"\0".join([*content, *(one.encode() for one in told)])).hexdigest()
    kept = cache() / f"{source.stem}-{architecture}-{key[:20]}.cubin"
    if kept.is_file() and not anew:
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:  # complete or not there, whoever builds at once
        built = Path(folder, kept.name)
        compile_to(built, nvcc, source, architecture)
        built.replace(kept)
    return kept


def compile_to(target: Path, nvcc: Path, source: Path, architecture: str, flags: Sequence[str] = FLAGS) -> None:
    """Run nvcc; raises NvccError where it does not succeed."""
    options = ["-cubin", *flags, f"-arch={architecture}", *host_compiler(nvcc)]
    command = [str(nvcc), *options, "-o", str(target), str(source)]
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
    except OSError as error:  # a program for another machine
        words = [f"error: nvcc does not run: {error}"]
    else:
        if done.returncode == 0:
            return
        words = (done.stderr + done.stdout).strip().splitlines() or [f"error: nvcc ended with {done.returncode}"]
    known = architectures(nvcc)
    if known and architecture.rstrip("af") not in known:  # it lists no sm_90a
        raise NvccError("nvcc-lacks-architecture", words[:1], version=release(nvcc), architecture=architecture)
    first = next((line for line in words if re.search(r"\berror\b|\bfatal\b", line)), words[0]).strip()
    if HOST_COMPILER.search(first):
        why = first.rpartition("#error -- ")[2].partition(" The nvcc flag ")[0]
        raise NvccError("host-compiler-unfit", words[:TOLD_LINES], version=release(nvcc), error=why)
    again = shlex.join([*command[:-3], "-o", os.devnull, command[-1]])
    told = {"source": source.name, "architecture": architecture, "error": first, "command": again}
    raise NvccError("kernel-not-compiled", words[:TOLD_LINES], **told)


def find_nvcc() -> Path:
    """The environment's own nvcc (Pixi's, or a wheel of PyPI), else that on PATH, of CUDA_HOME or of the system.

    Raises NvccError with the finding `nvcc-missing`.
    """
    found = shutil.which("nvcc", path=os.pathsep.join(map(str, places())))
    if found is None:
        raise NvccError("nvcc-missing", [f"looked in: {', '.join(map(str, places()))}"])
    return Path(found)


def places() -> dict[Path, str]:
    """The folders where nvcc is looked for, in this order, and whose each is."""
    wheels = Path(sysconfig.get_path("purelib"), "nvidia")
    homes = [name for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    named = [
        (Path(sys.prefix, "bin"), "this environment"),
        *((folder, "PyPI wheel") for folder in sorted(wheels.glob("cu*/bin"), reverse=True)),
        *((Path(folder), "PATH") for folder in os.get_exec_path()),
        *((Path(os.environ[name], "bin"), name) for name in homes),
        (SYSTEM, "system"),
    ]
    found: dict[Path, str] = {}
    for folder, whose in named:
        found.setdefault(folder, whose)
    return found


def host_compiler(nvcc: Path) -> list[str]:
    """The option that names nvcc's host compiler; empty where an environment variable of its own does.

    Raises NvccError with the finding `host-compiler-missing`.
    """
    if any("ccbin" in os.environ.get(name, "") for name in ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")):
        return []
    if os.environ.get("NVCC_CCBIN") or sys.platform == "win32":  # there it finds Visual Studio's itself
        return []
    beside = f"{platform.machine()}-conda-linux-gnu-c++"  # conda-forge's, which an activated environment has as $CXX
    path = os.pathsep.join([str(nvcc.parent), *os.get_exec_path()])
    for name in (os.environ.get("CXX"), beside, "g++", "c++", "clang++"):
        if name and (found := shutil.which(name, path=path)):
            return ["-ccbin", found]
    raise NvccError("host-compiler-missing", [f"looked for $CXX, g++, c++, clang++ in: {path}"], nvcc=str(nvcc))


def own_variables() -> dict[str, str]:
    """Those of nvcc's own environment variables that are set."""
    return {name: os.environ[name] for name in OWN_VARIABLES if os.environ.get(name)}


def run(nvcc: Path, option: str) -> str:
    """What nvcc, or any compiler, says of itself; nothing where it does not run."""
    try:
        return subprocess.run([str(nvcc), option], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


@functools.cache
def version(nvcc: Path) -> str:
    """All that nvcc says of its version, by which what it built is kept."""
    return run(nvcc, "--version")


def architectures(nvcc: Path) -> list[str]:
    """Those that it compiles for, as in sm_90."""
    return run(nvcc, "--list-gpu-code").split()


def release(nvcc: Path) -> str:
    """Its version for people, as in 13.3.73."""
    found = re.search(r"V(\d+(\.\d+)+)", version(nvcc))
    return found[1] if found else "of unknown version"


def cache() -> Path:
    """Where built kernels are kept, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "gpusmoke", "kernels")
