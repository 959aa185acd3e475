"""Why CUDA does not start although there is a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpusmoke.facts import Facts, Json, listed
from gpusmoke.findings import Finding, finding, ids_for
from gpusmoke.findings.platforms import system, version

CUDA_SUCCESS, CUDA_ERROR_NO_DEVICE, CUDA_ERROR_INVALID_DEVICE, CUDA_ERROR_OPERATING_SYSTEM = 0, 100, 101, 304
CUDA_ERROR_UNKNOWN = 999
# The driver starts, and shows CUDA no device.
NO_DEVICE_CODES = (CUDA_SUCCESS, CUDA_ERROR_NO_DEVICE, CUDA_ERROR_INVALID_DEVICE)
NVML_SUCCESS, NVML_BLOCKED = 0, 17
# NVML knows of a GPU: no permission, lost, in need of a reset, a kernel module of another version.
NVML_CODES_OF_A_GPU = (4, 15, 16, 18)
# NVML_GPU_FABRIC_STATE_…: how far Fabric Manager has come with a GPU.
FABRIC_STATES = {0: "not supported", 1: "not started", 2: "in progress", 3: "completed"}
CUDA_OF_OLDEST_BUILD = 12
WSL_LIBRARIES = "/usr/lib/wsl/"
READ = ("cuda.probe", "cuda.init", "cuda.library", "nvml.init", "host.kernel_module", "host.device_nodes")
READ_WHERE_SET = (
    "cuda.refused_nodes",
    "nvml.unstarted_nodes",
    "host.container",
    "env.CUDA_VISIBLE_DEVICES",
    "env.LD_LIBRARY_PATH",
)

Cause = tuple[str, dict[str, object]]


def gpu_present(facts: Facts) -> bool:
    """Whether this machine has an NVIDIA GPU, working or not."""
    nvml, code = facts.row("nvml.init").get("code"), facts.row("cuda.init").get("code")
    return bool(
        facts.value("host.nvidia_cards")
        or facts.rows("nvml.gpus")
        or facts.rows("cuda.devices")
        or any(str(node)[6:].isdigit() for node in listed(facts.value("host.device_nodes")))
        or nvml in NVML_CODES_OF_A_GPU
        # There the card is not on a PCI bus that can be read: a driver of Windows, or one that fails, speaks for it.
        or (facts.flag("host.wsl") and (facts.flag("host.wsl_driver") or nvml == NVML_BLOCKED))
        or (system(facts) == "Windows" and code not in (None, CUDA_SUCCESS, CUDA_ERROR_NO_DEVICE))
    )


def cuda_usable(facts: Facts) -> bool:
    """Whether CUDA starts and shows at least one GPU."""
    return facts.row("cuda.init").get("code") == CUDA_SUCCESS and bool(facts.rows("cuda.devices"))


def driver(facts: Facts) -> Iterator[Finding]:
    """Why CUDA does not start: the most specific cause leads, and the others that fit are named as possible."""
    if cuda_usable(facts):
        return
    causes: dict[str, dict[str, object]] = {}
    for kind, words in all_causes(facts):
        causes.setdefault(kind, words)
    if not causes and gpu_present(facts):
        causes["cuda-no-device" if facts.row("cuda.init").get("code") in NO_DEVICE_CODES else "cuda-init-failed"] = {}
    if not causes:
        return
    lead, *others = causes
    init = facts.row("cuda.init")
    told = {
        "code": init.get("code"),
        "name": init.get("name") or "a code this driver has no name for",
        "text": init.get("text") or "no text",
        "library": facts.text("cuda.library"),
        "count": "",
        "why": "this machine has an NVIDIA GPU",
    }
    names = [*READ, *(name for name in READ_WHERE_SET if facts.value(name) not in (None, []))]
    links = fabric_states(facts) if "fabric-manager-down" in causes else []
    evidence = [*facts.evidence(*names), *links, *also_possible(others)]
    yield finding(lead, evidence, None, **(told | causes[lead]))


def fabric_states(facts: Facts) -> list[str]:
    """How far the links between the GPUs are set up, as evidence; a GPU without a word on it has no line.

    No cause by themselves: where CUDA starts nonetheless, a GPU that is alone has no links to wait for.
    """
    states = [(row.get("index"), row.get("fabric_state")) for row in facts.rows("nvml.gpus")]
    return [
        f"NVML GPU {index}: fabric_state: {state}, {FABRIC_STATES.get(state, 'unknown')}"
        for index, state in states
        if isinstance(state, int)
    ]


def also_possible(kinds: list[str]) -> list[str]:
    """The other causes that fit, as evidence."""
    return [f"also possible: {kind}; pixi run doctor --explain {kind}" for kind in kinds]


def all_causes(facts: Facts) -> Iterator[Cause]:
    """Every cause that fits, the most specific first, each with the words for its sentence."""
    if (probe := facts.text("cuda.probe")) is not None:
        yield ("cuda-init-hung" if probe == "hung" else "cuda-init-crashed"), {}
    if not gpu_present(facts):
        return
    code, nvml = facts.row("cuda.init").get("code"), facts.row("nvml.init").get("code")
    nodes, container = listed(facts.value("host.device_nodes")), facts.text("host.container")
    if container and not nodes:
        yield "container-without-gpu", {"container": container}
    if facts.flag("host.wsl"):
        yield from wsl(facts)
    if code in NO_DEVICE_CODES:
        yield from no_device(facts)
    if code == CUDA_ERROR_UNKNOWN and ("nvidia-uvm" not in nodes or "nvidia_uvm" not in loaded(facts)):
        yield "uvm-missing", {}
    for library, number in (("cuda", code), ("nvml", nvml)):
        for kind in ids_for(library, number):
            yield kind, {}
    if code == CUDA_ERROR_UNKNOWN:
        yield "uvm-missing", {}
        yield from hidden(facts)
    if code == CUDA_ERROR_OPERATING_SYSTEM and listed(facts.value("host.closed_nodes")):
        yield "device-node-permission", {}
    if code is None and "cuda.probe" not in facts:
        kernel = nvml == NVML_SUCCESS or facts.text("host.kernel_module") is not None
        yield ("libcuda-missing" if kernel else "no-driver"), {}


def loaded(facts: Facts) -> list[Json]:
    """The names of the kernel modules that are loaded, of those that matter here."""
    return listed(facts.value("host.modules"))


def wsl(facts: Facts) -> Iterator[Cause]:
    """What keeps CUDA from the driver of Windows."""
    library = facts.text("cuda.library")
    if library and not library.startswith(WSL_LIBRARIES):
        yield "wsl-wrong-driver", {"why": f"{library} is loaded, not the driver of Windows in {WSL_LIBRARIES}lib"}
    elif facts.row("nvml.init").get("code") == NVML_BLOCKED:
        yield "wsl-wrong-driver", {"why": "Windows does not let it, or its driver is too old"}
    elif not library:
        yield "wsl-wrong-driver", {"why": f"the driver of Windows in {WSL_LIBRARIES}lib is not found"}


def no_device(facts: Facts) -> Iterator[Cause]:
    """Why the driver starts and shows CUDA no device; what was seen comes before what may be."""
    nvml, rows = facts.row("nvml.init").get("code"), facts.rows("nvml.gpus")
    nodes, closed = listed(facts.value("host.device_nodes")), listed(facts.value("host.closed_nodes"))
    refused, unstarted = listed(facts.value("cuda.refused_nodes")), listed(facts.value("nvml.unstarted_nodes"))
    if closed:
        yield "device-node-permission", {}
    elif refused:
        yield "gpu-not-granted", {"nodes": paths(refused)}
    elif unstarted:
        yield "gpu-not-started", {"nodes": paths(unstarted)}
    driver_loaded = nvml == NVML_SUCCESS or facts.text("host.kernel_module") is not None or "nvidia" in loaded(facts)
    if not driver_loaded:
        yield "no-driver", {}
    elif system(facts) == "Linux" and not facts.flag("host.wsl"):
        missing = [] if "nvidiactl" in nodes else ["/dev/nvidiactl"]
        missing += [] if any(str(node)[6:].isdigit() for node in nodes) else ["/dev/nvidia0"]
        if not refused and not unstarted and (missing or nvml == NVML_BLOCKED or (nvml == NVML_SUCCESS and not rows)):
            yield "device-node-missing", {"missing": ", ".join(missing) or "one of them is no device file"}
    if rows and all(row.get("mig_mode") == 1 and row.get("mig_devices") == 0 for row in rows):
        yield "mig-no-instance", {}
    yield from hidden(facts)


def paths(nodes: Sequence[Json]) -> str:
    """Device files in words."""
    return ", ".join(f"/dev/{node}" for node in nodes)


def hidden(facts: Facts) -> Iterator[Cause]:
    """Whether CUDA_VISIBLE_DEVICES is what hides the GPUs: not where it names one that NVML has, and names it once."""
    value = facts.text("env.CUDA_VISIBLE_DEVICES")
    first, rows = (value or "").split(",")[0].strip(), facts.rows("nvml.gpus")
    there = (first.isdecimal() and int(first) < len(rows)) or any(
        len(first) > len("GPU-") and str(row.get("uuid")).lower().startswith(first.lower()) for row in rows
    )
    twice = facts.row("cuda.init").get("code") == CUDA_ERROR_INVALID_DEVICE
    if value is not None and (twice or not there):
        empty = value.strip() in ("", "-1") or value.startswith("-1,")
        yield ("visible-devices-empty" if empty else "visible-devices-invalid"), {"value": value}


def nvml(facts: Facts) -> Iterator[Finding]:
    """NVML failing where CUDA works (else it is among the evidence of why CUDA does not), or one GPU failing in it."""
    code, probe = facts.row("nvml.init").get("code"), facts.text("nvml.probe")
    if cuda_usable(facts) and (code or probe):
        evidence = [*facts.evidence("nvml.init", "nvml.probe"), *also_possible(ids_for("nvml", code))]
        text = facts.row("nvml.init").get("text") if code else f"it {probe}"
        yield finding("nvml-failed", evidence, code=code or "unknown", text=text)
    for row in facts.rows("nvml.gpus"):
        if isinstance(error := row.get("error"), dict):
            # NVML counts all GPUs of the machine, CUDA the visible ones: the number is NVML's, not a CUDA ordinal.
            evidence = [f"NVML GPU {row.get('index')}: {error}"]
            kind = next(iter(ids_for("gpu", error.get("code"))), "gpu-not-answering")
            yield finding(kind, evidence, library="NVML", code=error.get("code"), text=error.get("text"))


def too_old(facts: Facts, wanted: int) -> Finding:
    """A driver that can't run a build of the CUDA major `wanted`, and what runs meanwhile."""
    runs = facts.text("cuda.driver_version")
    instead = "pixi run smoke # Pixi picks the CUDA 12 build, which this driver runs"
    if version(runs)[:1] < (CUDA_OF_OLDEST_BUILD,):
        instead = "pixi run -e cpu smoke # on the CPU, until the driver is newer"
    evidence = facts.evidence("cuda.driver_version", "nvml.driver_version", "request.build_cuda", "torch.cuda")
    return finding("driver-too-old", evidence, runs=runs, wanted=wanted, instead=instead)
