"""What the facts of a machine mean, before any PyTorch: the rules of `doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gpusmoke.facts import Facts, listed
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.pixi import choice, installations, override
from gpusmoke.findings.platforms import version

CUDA_SUCCESS, CUDA_ERROR_NO_DEVICE, CUDA_ERROR_INVALID_DEVICE = 0, 100, 101


def gpu_present(facts: Facts) -> bool:
    """Whether this machine has an NVIDIA GPU, working or not."""
    return bool(
        facts.value("host.nvidia_cards")
        or facts.rows("nvml.gpus")
        or facts.rows("cuda.devices")
        or any(str(node)[6:].isdigit() for node in listed(facts.value("host.device_nodes")))
    )


def cuda_usable(facts: Facts) -> bool:
    """Whether CUDA starts and shows at least one GPU."""
    return facts.row("cuda.init").get("code") == CUDA_SUCCESS and bool(facts.rows("cuda.devices"))


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


def driver(facts: Facts) -> Iterator[Finding]:
    """Why CUDA does not start although there is a GPU; the most specific cause alone."""
    init = facts.row("cuda.init")
    evidence = facts.evidence(
        "cuda.init",
        "cuda.library",
        "host.kernel_module",
        "host.device_nodes",
        "host.container",
        "env.CUDA_VISIBLE_DEVICES",
    )
    if cuda_usable(facts):
        return
    if (probe := facts.text("cuda.probe")) is not None:
        yield finding("cuda-init-hung" if probe == "hung" else "cuda-init-crashed", facts.evidence("cuda.probe"))
    elif not gpu_present(facts):
        return
    elif facts.text("host.container") and not facts.value("host.device_nodes"):
        yield finding("container-without-gpu", evidence, container=facts.text("host.container"))
    elif not init:
        yield finding("no-driver", evidence, why="this machine has an NVIDIA GPU")
    elif init.get("code") in (CUDA_ERROR_NO_DEVICE, CUDA_ERROR_INVALID_DEVICE) or init.get("code") == CUDA_SUCCESS:
        if facts.text("env.CUDA_VISIBLE_DEVICES") is not None:
            yield finding("gpus-hidden", evidence, value=facts.text("env.CUDA_VISIBLE_DEVICES"))
        else:
            yield finding("no-driver", evidence, why="this machine has an NVIDIA GPU")
    else:
        name = init.get("name") or "a code this driver has no name for"
        yield finding(
            "cuda-init-failed", evidence, code=init.get("code"), name=name, text=init.get("text") or "no text"
        )


def nvml(facts: Facts) -> Iterator[Finding]:
    """NVML failing where CUDA or the hardware says there is a GPU, or one GPU failing in NVML."""
    code, probe = facts.row("nvml.init").get("code"), facts.text("nvml.probe")
    if gpu_present(facts) and (code or probe):
        evidence = facts.evidence("nvml.init", "nvml.probe")
        text = facts.row("nvml.init").get("text") if code else f"it {probe}"
        yield finding("nvml-failed", evidence, code=code or "unknown", text=text)
    for row in facts.rows("nvml.gpus"):
        if isinstance(error := row.get("error"), dict):
            # NVML counts all GPUs of the machine, CUDA the visible ones: the number is NVML's, not a CUDA ordinal.
            evidence = [f"NVML GPU {row.get('index')}: {error}"]
            yield finding("gpu-not-answering", evidence, library="NVML", code=error.get("code"), text=error.get("text"))


def builds(facts: Facts) -> Iterator[Finding]:
    """Which CUDA builds this driver runs, and whether the one asked for is among them."""
    runs, wanted = facts.text("cuda.driver_version"), facts.text("request.build_cuda")
    if not runs or not gpu_present(facts):
        return
    major = version(runs)[:1]
    evidence = facts.evidence("cuda.driver_version", "nvml.driver_version", "request.build_cuda")
    declared = {version(str(row["cuda"]))[:1] for row in facts.rows("pixi.platforms") if row.get("cuda")}
    if wanted and major < version(wanted)[:1]:
        yield finding("driver-too-old", evidence, runs=runs, wanted=version(wanted)[0])
    elif not wanted and declared and major < min(declared):
        yield finding("driver-too-old", evidence, runs=runs, wanted=min(declared)[0])
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
    driver,
    nvml,
    builds,
    pixi,
)


def diagnose(facts: Facts) -> list[Finding]:
    """Every finding of `doctor`, in the order in which a reader needs them."""
    return [found for rule in RULES for found in rule(facts)]
