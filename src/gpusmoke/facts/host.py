"""Facts about the machine itself: files below the root, and environment variables."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from gpusmoke.facts import Fact, Json, root

NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"  # PCI class of VGA and 3D controllers; 0x04 is the sound device of the same card

# What changes which GPU, driver or CUDA a program gets. Values of these hold no secrets.
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "CONDA_OVERRIDE_CUDA",
    "LD_LIBRARY_PATH",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
)
DEVICE_NODES = r"nvidia(\d+|ctl|-uvm|-nvswitch.*)|dxg"
MODULES = ("nvidia", "nvidia_uvm", "nouveau")
WSL_DRIVER = "usr/lib/wsl/lib/libcuda.so.1"  # what Windows lends, where it has an NVIDIA driver
CONTAINER_FILES = {".dockerenv": "docker", "run/.containerenv": "podman", ".singularity.d": "apptainer"}


def read(path: Path) -> str:
    """The file's text, or the empty string where it can't be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def names(folder: Path, pattern: str) -> list[str]:
    """The sorted names in a folder that match the pattern; none where the folder can't be read."""
    try:
        return sorted(path.name for path in folder.iterdir() if re.fullmatch(pattern, path.name))
    except OSError:
        return []


def uname() -> tuple[str, str, str]:
    """The operating system, its release and the kind of processor, as Python's `platform` names them."""
    if sys.platform != "win32":
        named = os.uname()
        return named.sysname, named.release, named.machine
    import platform  # which takes doctor a twentieth of its time, for little else than these

    return platform.system(), platform.release(), platform.machine()


def container(base: Path) -> str | None:
    """The kind of container this runs in, or None."""
    for name, kind in CONTAINER_FILES.items():
        if (base / name).exists():
            return kind
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else None


def nvidia_cards(base: Path) -> list[str]:
    """The PCI addresses of NVIDIA display and 3D controllers, driver or not."""
    devices = base / "sys/bus/pci/devices"
    return [
        name
        for name in names(devices, r".+")
        if read(devices / name / "vendor").strip() == NVIDIA_VENDOR
        and read(devices / name / "class").startswith(DISPLAY_CLASS)
    ]


def near_cpus(base: Path) -> list[dict[str, Json]]:
    """Each NVIDIA card's PCI address, NUMA node and the processors beside it; what the system does not tell is None."""
    rows = []
    for address in nvidia_cards(base):
        folder = base / "sys/bus/pci/devices" / address
        node, cpus = read(folder / "numa_node").strip(), read(folder / "local_cpulist").strip()
        # -1 is what the kernel says of machines, virtual ones above all, in which no node is nearer than another.
        rows.append({"pci": address, "node": int(node) if node.isdecimal() else None, "cpus": cpus or None})
    return rows


def usable_cpus(base: Path) -> str | None:
    """The processors that this process may use, as in "0-15,32-47": what os.sched_getaffinity tells, below the root."""
    found = re.search(r"^Cpus_allowed_list:\s*(\S+)", read(base / "proc/self/status"), re.MULTILINE)
    return found and found[1]


def usable_cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_nodes() -> int:
    """For how many GPUs the driver has made device files: before CUDA is asked, the best guess of how many it has."""
    return len(names(root() / "dev", r"nvidia\d+"))


def memory_mib(base: Path) -> int | None:
    """The machine's memory in MiB, or None where the system does not tell (Windows)."""
    if total := re.search(r"^MemTotal:\s+(\d+) kB", read(base / "proc/meminfo"), re.MULTILINE):
        return int(total[1]) >> 10
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (AttributeError, ValueError, OSError):
        return None


def host_facts() -> dict[str, Fact]:
    """Facts named host.* and env.*."""
    base = root()
    module = re.search(
        r"(?:Kernel Module|NVRM version:.*?)\s+(\d+\.\d+(?:\.\d+)?)", read(base / "proc/driver/nvidia/version")
    )
    kind = container(base)
    nodes = names(base / "dev", DEVICE_NODES)
    closed = [name for name in nodes if not os.access(base / "dev" / name, os.R_OK | os.W_OK)]
    modules = [name for name in MODULES if re.search(rf"^{name} ", read(base / "proc/modules"), re.MULTILINE)]
    system, release, machine = uname()
    smi, memory, cpus = shutil.which("nvidia-smi"), memory_mib(base), usable_cpus(base)
    facts = {
        "host.system": Fact(f"{system} {release}", "uname"),
        "host.machine": Fact(machine, "uname"),
        "host.memory_mib": Fact(memory, "/proc/meminfo, sysconf", None if memory else "not told"),
        "host.python": Fact(sys.version.split()[0], sys.implementation.name),
        "host.container": Fact(
            kind, "/.dockerenv, /run/.containerenv, /.singularity.d", None if kind else "no container"
        ),
        "host.wsl": Fact("microsoft" in read(base / "proc/version").lower(), "/proc/version"),
        "host.wsl_driver": Fact((base / WSL_DRIVER).exists(), f"/{WSL_DRIVER}"),
        "host.nvidia_cards": Fact(nvidia_cards(base), "/sys/bus/pci/devices"),
        "host.near_cpus": Fact(near_cpus(base), "/sys/bus/pci/devices/*/numa_node and local_cpulist"),
        "host.usable_cpus": Fact(cpus, "/proc/self/status", None if cpus else "not told"),
        "host.device_nodes": Fact(nodes, "/dev"),
        "host.closed_nodes": Fact(closed, "access() of /dev/nvidia*"),
        "host.modules": Fact(modules, "/proc/modules"),
        "host.kernel_module": Fact(
            module and module[1],
            "/proc/driver/nvidia/version",
            None if module else "the nvidia kernel module is not loaded",
        ),
        "host.nvidia_smi": Fact(smi, "PATH", None if smi else "not on PATH"),
    }
    for name in VARIABLES:
        facts[f"env.{name}"] = Fact(os.environ.get(name), "environment", None if name in os.environ else "not set")
    return facts
