"""Which libraries and which PyTorch a child really has: real paths, whatever the environment promises."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import re
import sys
from pathlib import Path

from gpusmoke.facts import Json

LIBRARY = re.compile(r"lib(cuda|cudart|cublas|cublasLt|cudnn|nvrtc|nccl|cusparse|cusolver|cufft|nvJitLink)\.so[.\d]*$")


def mapped() -> list[str]:
    """The real paths of the CUDA libraries that this process has loaded (Linux only); one may be there twice."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[5] for line in lines if line.count("/")}
    return [path for path in sorted(paths) if LIBRARY.search(path)]


def own_copies(loaded: list[str]) -> dict[str, str]:
    """Of the loaded libraries, those outside this environment that it has a copy of: their path, and the copy's."""
    prefix = os.path.realpath(sys.prefix)
    wheels = [Path(path) / "nvidia" for path in sys.path if path.endswith("-packages")]
    copies = {}
    for path in loaded:
        stem = Path(path).name.split(".so")[0]
        if stem == "libcuda" or path.startswith(f"{prefix}/"):
            continue  # libcuda is the driver's, and never the environment's
        held = [*(Path(sys.prefix) / "lib").glob(f"{stem}.so*")]
        held += [copy for folder in wheels for copy in folder.glob(f"*/lib/{stem}.so*")]
        if held and path not in map(os.path.realpath, held):
            copies[path] = str(held[0])
    return copies


def torch_installations() -> list[str]:
    """The PyTorch that is imported, and those of this environment that it mixes with: more than one is too many.

    One that lies behind it on the path, in another environment, is never reached, and not told.
    """
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions(name="torch"):
        place = os.path.realpath(str(distribution.locate_file("torch")))
        found.setdefault(place, f"torch {distribution.version} in {place}")
    prefix = os.path.realpath(sys.prefix)
    told = [line for at, (place, line) in enumerate(found.items()) if at == 0 or place.startswith(f"{prefix}/")]
    version = (conda_pytorch() or "").split("-")[1:2]
    if version and not any(line.startswith(f"torch {version[0]} in") for line in told):
        told.append(f"{conda_pytorch()} in conda-meta")
    return told


def conda_pytorch() -> str | None:
    """The conda package that PyTorch came with, as NAME-VERSION-BUILD, or None where it did not come so."""
    records = sorted((Path(sys.prefix) / "conda-meta").glob("pytorch-[0-9]*.json"))
    return records[0].stem if records else None


def cudart_version(loaded: list[str]) -> str | None:
    """The version of the CUDA runtime that is loaded, by its own word, or None where it is linked in.

    Of several the oldest: that is the one which can't do what is asked of it.
    """
    versions, number = [], ctypes.c_int()
    for path in loaded:
        if Path(path).name.startswith("libcudart.so"):
            failed = ctypes.CDLL(path).cudaRuntimeGetVersion(ctypes.byref(number))
            versions += [] if failed else [number.value]
    return f"{min(versions) // 1000}.{min(versions) % 1000 // 10}" if versions else None


def library_facts() -> dict[str, Json]:
    """What is loaded now, what is shadowed by it, and which runtime speaks."""
    loaded = mapped()
    return {"loaded": loaded, "shadowed": own_copies(loaded), "cudart": cudart_version(loaded)}
