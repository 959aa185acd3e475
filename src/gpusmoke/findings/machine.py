"""What the facts of a machine mean, before any PyTorch: the rules of `doctor`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

from gpusmoke.facts import Facts, listed
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.driver import cuda_usable, driver, gpu_present, nvml, paths, too_old
from gpusmoke.findings.health import health
from gpusmoke.findings.pixi import choice, installations, override
from gpusmoke.findings.platforms import version
from gpusmoke.findings.topology import links

GPU_NAME = re.compile(r"[0-9]+|GPU-[0-9A-Fa-f-]+", re.ASCII)  # in CUDA_VISIBLE_DEVICES; a UUID may be cut short


def hardware(facts: Facts) -> Iterator[Finding]:
    """The GPUs that CUDA shows, or that there are none."""
    for ordinal, row in enumerate(facts.rows("cuda.devices") if cuda_usable(facts) else []):
        memory, error = row.get("memory_mib"), row.get("error")
        if isinstance(error, dict):
            yield finding(
                "gpu-not-answering",
                [f"{row.get('failed_call')}: {error}"],
                gpu=ordinal,
                library="CUDA",
                code=error.get("code"),
                text=error.get("name") or "no name",
            )
            continue
        yield finding(
            "gpu-found",
            [f"{key}: {row.get(key)}" for key in ("uuid", "pci")],
            gpu=ordinal,
            name=row.get("name"),
            capability=row.get("capability"),
            memory=f"{memory / 1024:.0f}" if isinstance(memory, int) else "?",
        )
    if not gpu_present(facts):
        yield finding("no-gpu", facts.evidence("host.nvidia_cards", "host.device_nodes", "cuda.library"))


def surroundings(facts: Facts) -> Iterator[Finding]:
    """What stands between this process and the machine's GPUs without hiding them all."""
    if kind := facts.text("host.container"):
        yield finding("surroundings", facts.evidence("host.container"), place=f"a container ({kind})")
    if facts.flag("host.wsl"):
        yield finding("surroundings", facts.evidence("host.wsl"), place="WSL")
    value, count = facts.text("env.CUDA_VISIBLE_DEVICES"), len(facts.rows("cuda.devices"))
    if value is not None and cuda_usable(facts):
        total = max(count, len(facts.rows("nvml.gpus")))
        yield finding("gpus-chosen", facts.evidence("env.CUDA_VISIBLE_DEVICES"), value=value, count=count, total=total)


def absent(facts: Facts) -> Iterator[Finding]:
    """GPUs that should be there, and that CUDA leaves out without a word."""
    if not cuda_usable(facts):
        return
    value, count = facts.text("env.CUDA_VISIBLE_DEVICES"), len(facts.rows("cuda.devices"))
    if unstarted := listed(facts.value("nvml.unstarted_nodes")):
        yield finding("gpu-not-started", facts.evidence("nvml.unstarted_nodes"), nodes=paths(unstarted))
    elif value is not None and (names := named(facts, value)) > count:
        evidence = facts.evidence("env.CUDA_VISIBLE_DEVICES", "host.nvidia_cards", "host.device_nodes")
        yield finding("gpu-missing", evidence, value=value, named=names, count=count)


def named(facts: Facts, value: str) -> int:
    """How many GPUs CUDA_VISIBLE_DEVICES names before an entry that can't be one's number or UUID, as -1 or a typo.

    0 where MIG may divide one, of whose parts CUDA shows but the first.
    """
    rows, names = facts.rows("nvml.gpus"), map(str.strip, value.split(","))
    whole = bool(rows) and all(row.get("mig_mode") != 1 for row in rows)
    return len(list(itertools.takewhile(GPU_NAME.fullmatch, names))) if whole else 0


def builds(facts: Facts) -> Iterator[Finding]:
    """Which CUDA builds this driver runs, and whether the one asked for is among them."""
    runs, wanted = facts.text("cuda.driver_version"), facts.text("request.build_cuda")
    if not runs or not gpu_present(facts):
        return
    major = version(runs)[:1]
    evidence = facts.evidence("cuda.driver_version", "nvml.driver_version", "request.build_cuda")
    declared = {version(str(row["cuda"]))[:1] for row in facts.rows("pixi.platforms") if row.get("cuda")}
    if wanted and major < version(wanted)[:1]:
        yield too_old(facts, version(wanted)[0])
    elif not wanted and declared and major < min(declared):
        yield too_old(facts, min(declared)[0])
    else:
        majors = [str(m) for m in range(major[0], 10, -1)][:2] if major else []
        name = facts.text("nvml.driver_version") or facts.text("host.kernel_module") or "version unknown"
        yield finding("driver-runs", evidence, driver=name, builds=" and ".join(majors), runs=runs)


def pixi(facts: Facts) -> Iterator[Finding]:
    """What Pixi runs here."""
    yield from override(facts)
    yield from choice(facts, cuda_usable(facts))
    yield from installations(facts)


RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    hardware,
    surroundings,
    absent,
    driver,
    nvml,
    health,
    links,
    builds,
    pixi,
)


def diagnose(facts: Facts) -> list[Finding]:
    """Every finding of `doctor`, in the order in which a reader needs them."""
    return [found for rule in RULES for found in rule(facts)]
