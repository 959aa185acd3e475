"""Facts of machines with several GPUs that are linked: facts([gpu(0), gpu(1)])."""

from gpusmoke.facts import Fact, Facts

H100 = "NVIDIA H100 80GB HBM3"


def gpu(at, name=H100, **nvlinks):
    held = {"up": 18, "down": [], "version": 6, "to": {"switch": 18}} | nvlinks
    pci = f"00000000:0{at:x}:00.0"
    return {"index": at, "uuid": f"GPU-{at}", "pci": pci, "name": name, "capability": "9.0", "nvlinks": held}


def facts(gpus, order=None, **values):
    """A machine whose GPUs NVML counts as given, and CUDA in `order`."""
    ordinals = order or range(len(gpus))
    devices = [{"ordinal": at, "uuid": f"GPU-{n}", "pci": f"0000:0{n:x}:00.0"} for at, n in enumerate(ordinals)]
    pairs = [
        {"gpus": [a, b], "ancestor": 40, "read": 0, "write": 0, "nvlink": 0}
        for a in range(len(gpus))
        for b in range(a + 1, len(gpus))
    ]
    found = {"cuda.devices": devices, "nvml.gpus": gpus, "nvml.pairs": pairs} | values
    return Facts({name: Fact(value, "a test") for name, value in found.items()})
