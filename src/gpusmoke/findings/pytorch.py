"""Whether this PyTorch, its build and its libraries, can use the GPU that is here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gpusmoke.facts import Facts, listed
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.builds import architectures, code, runs_on
from gpusmoke.findings.driver import cuda_usable, gpu_present, too_old
from gpusmoke.findings.platforms import version


def cuda_environment(facts: Facts) -> bool:
    """Whether the running Python lies in an environment that Pixi installed for a platform with __cuda."""
    return facts.row("pixi.current").get("cuda") is not None


def torch_build(facts: Facts) -> Iterator[Finding]:
    """Why PyTorch does not use the GPU, where there should be one; the most specific cause alone."""
    torch, said = facts.text("torch.version"), (facts["torch.available"].reason if "torch.available" in facts else None)
    if "torch.version" in facts and torch is None:
        evidence = facts.evidence("torch.version", "torch.installations", "env.LD_LIBRARY_PATH")
        yield finding("torch-missing", evidence, text=facts["torch.version"].reason)
    if torch is None or facts.value("torch.available") is not False:
        return
    runs = facts.text("cuda.driver_version")
    evidence = facts.evidence("torch.version", "torch.cuda", "torch.available", "pixi.current", "cuda.init")
    if cuda_environment(facts) and not gpu_present(facts):
        yield finding("no-driver", evidence, why="this environment was installed for CUDA")
    elif gpu_present(facts) and facts.text("torch.cuda") is None:
        yield finding("cpu-build", evidence, version=torch)
    elif gpu_present(facts) and runs and version(facts.text("torch.cuda"))[:1] > version(runs)[:1]:
        yield too_old(facts, version(facts.text("torch.cuda"))[0])
    elif cuda_usable(facts):
        yield finding("gpu-unused", evidence, version=torch, text=said or "torch.cuda.is_available() is False.")
    # A GPU that CUDA itself can't use is named by the machine's rules.


def installations(facts: Facts) -> Iterator[Finding]:
    """More than one PyTorch in one environment."""
    found = [str(one) for one in listed(facts.value("torch.installations"))]
    if len(found) > 1:
        yield finding("two-torches", found, count=len(found))


def libraries(facts: Facts) -> Iterator[Finding]:
    """Libraries of another CUDA than the one that came with this PyTorch."""
    row, built, cudnn = facts.row("torch.libraries"), facts.text("torch.cuda"), facts.value("torch.cudnn")
    shadowed = row.get("shadowed")
    if isinstance(shadowed, dict) and shadowed:
        evidence = [f"loaded: {path}; in the environment: {own}" for path, own in shadowed.items()]
        path = next(iter(shadowed))
        evidence += facts.evidence("env.LD_LIBRARY_PATH")
        kind = "shadowed-libraries" if facts.text("torch.version") else "shadowed-libraries-break"
        yield finding(kind, evidence, path=path)
    runtime = row.get("cudart")
    if built and version(runtime) and (version(runtime)[:1] != version(built)[:1] or version(runtime) < version(built)):
        yield finding("cudart-mismatch", facts.evidence("torch.cuda", "torch.libraries"), runtime=runtime, built=built)
    if "torch.cudnn" in facts and cudnn is None and (said := facts["torch.cudnn"].reason):
        yield finding("cudnn-mismatch", facts.evidence("torch.cudnn", "env.LD_LIBRARY_PATH"), text=said)


def build_fits(facts: Facts) -> Iterator[Finding]:
    """Whether the build holds code for each GPU, and what the table says that it does."""
    held = [str(one) for one in listed(facts.value("torch.architectures"))]
    built, runs = facts.text("torch.cuda"), facts.text("cuda.driver_version")
    if not held or built is None:
        return
    jit = version(runs) >= version(built)
    for ordinal, row in enumerate(facts.rows("cuda.devices") if cuda_usable(facts) else []):
        capability = row.get("capability")
        if isinstance(capability, str) and runs_on(capability, held, jit=jit) is False:
            evidence = facts.evidence("torch.version", "torch.architectures")
            yield finding("arch-not-in-build", evidence, ordinal, capability=capability, held=" ".join(held))
    told = architectures("conda-forge", built) if facts.text("torch.package") else None
    if told is not None and machine_code(told) != machine_code(held):
        yield finding("architectures-differ", facts.evidence("torch.architectures"), built=built, told=" ".join(told))


def machine_code(entries: Iterable[str]) -> set[tuple[int, ...]]:
    """The compute capabilities that an architecture list holds machine code for, however it is written."""
    return {one.capability for one in map(code, entries) if one is not None and one.machine}


def pytorch(facts: Facts) -> list[Finding]:
    """Every finding about this PyTorch."""
    return [*torch_build(facts), *installations(facts), *libraries(facts), *build_fits(facts)]
