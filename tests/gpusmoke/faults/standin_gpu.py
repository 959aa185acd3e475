"""Lets PyTorch take the CPU for a GPU, in the kit's children alone, so that the real program meets a faulty one.

Imported by a sitecustomize.py that a test writes (see `gpu` in failures/conftest.py); `play` says what the GPU is.
What PyTorch is asked about "cuda" is answered here, and work sent there is done by the CPU.
"""

import contextlib
import gc
import sys
import time
from types import SimpleNamespace

ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
UUID = "{0}a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f{0}"  # as the stand-in driver has them


def in_child():
    """Whether this interpreter is a child of the kit: the parent and its probes never import PyTorch."""
    return "gpusmoke.workers.child" in sys.orig_argv


def on_cpu(value):
    """A device that is the GPU, as the CPU; anything else as it is."""
    return "cpu" if str(value).startswith("cuda") else value


def play(count=1, name="NVIDIA H100 80GB HBM3", capability=(9, 0), architectures=ARCHITECTURES, cuda="13.0"):
    """From now on there are `count` GPUs; returns torch."""
    gc.disable()  # as the kit does: to look for garbage in what an import makes takes a sixth of its time
    import torch
    from torch.overrides import TorchFunctionMode

    gc.enable()

    class OnTheCpu(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.pin_memory:  # all of it is the host's
                return args[0]
            kwargs = {key: on_cpu(value) if key == "device" else value for key, value in (kwargs or {}).items()}
            return function(*(on_cpu(one) if isinstance(one, str) else one for one in args), **kwargs)

    class Event:
        def __init__(self, device, enable_timing):
            self.at = 0.0

        def record(self):
            self.at = time.perf_counter()

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return 1000 * (end.at - self.at)

    generator = torch.Generator

    def properties(device):
        return SimpleNamespace(
            name=name,
            major=capability[0],
            minor=capability[1],
            multi_processor_count=132,
            L2_cache_size=1 << 20,
            uuid=UUID.format(str(device).partition(":")[2] or 0),
        )

    answers = {
        "is_available": True,
        "device_count": count,
        "get_arch_list": architectures,
        "get_device_name": name,
        "get_device_capability": capability,
        "mem_get_info": (64 << 30, 80 << 30),
        "set_device": None,
        "can_device_access_peer": True,
        "current_stream": SimpleNamespace(cuda_stream=0),
        "Stream": None,
        "stream": contextlib.nullcontext(),
        "empty_cache": None,
        "synchronize": None,
    }
    for function, answer in answers.items():
        setattr(torch.cuda, function, lambda *_, answer=answer: answer)
    torch.cuda.get_device_properties = properties
    torch.version.cuda = cuda
    torch.Generator = lambda device="cpu": generator(device=on_cpu(device))
    torch.Event = Event
    OnTheCpu().__enter__()
    return torch


def play_quickly(**changes):
    """The same, with small products and less of the patience that a real GPU needs."""
    torch = play(**changes)
    from gpusmoke.measuring import shapes
    from gpusmoke.workers import bandwidth, bench, product

    torch.cuda.mem_get_info = lambda *_: (128 << 20, 80 << 30)
    bench.REST_SECONDS, bench.COLD_WINDOW, bench.WARM_WINDOW, bench.PERIOD_SECONDS = 0.02, 0.1, 0.1, 0.1
    bench.LONGEST_TURN_SECONDS = bench.SHORTEST_TURN_SECONDS = 0.03
    bandwidth.TURN_SECONDS = 0.01
    product.GRAPH_BELOW_SECONDS = 0.0  # there are no graphs here, however fast the CPU is
    shapes.CUBE, shapes.shapes = (256, 256, 256), lambda name: [(256, 256, 256), (128, 512, 256)]
    return torch
