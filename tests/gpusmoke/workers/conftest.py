"""A device of our own making, whose clock only its products and rests move on, and a parent that listens."""

import pytest

try:
    import torch
except ImportError:
    GPUS = 0
else:
    GPUS = torch.cuda.device_count()

# Elsewhere there is nothing that could be skipped or not.
collect_ignore = [] if GPUS > 1 else ["test_links_on_gpus.py"]


class Listener:
    """Keeps what a child would say."""

    def __init__(self):
        self.facts, self.measurements, self.steps = {}, [], []

    def step(self, name):
        self.steps.append(name)

    def fact(self, name, value, source, reason=None):
        self.facts[name] = value

    def measurement(self, measurement):
        self.measurements.append(measurement)


@pytest.fixture
def listener():
    """What stands in for the reporter."""
    return Listener()


class Device:
    """An H100 in the small: `rate(item, now)` is its speed in TFLOP/s, drawing 700 W."""

    kind, torch_name, name, capability, multiprocessors = "cuda", "cpu", "NVIDIA H100 80GB HBM3", (9, 0), 132
    l2_bytes, free = 50 << 20, 79 << 30

    def __init__(self, rate):
        from gpusmoke.measuring.telemetry import Telemetry

        self.rate, self.now, self.timer, self.rests = rate, 0.0, self, []
        self.telemetry = Telemetry(None)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.rests.append(seconds)
        self.now += seconds

    def mark(self):
        return self.now

    def seconds(self, start, end):
        return end - start

    def free_bytes(self):
        return self.free

    def work(self, seconds):
        from gpusmoke.measuring.telemetry import Sample

        self.now += seconds
        self.telemetry.samples.append(Sample(self.now, 1365, 99.0, 61, 4, energy_j=700 * self.now))

    def look_again(self):
        """Nobody else is there."""


class Product:
    """What `workers.product.Product` is to a bench: launched, rated and verified, in no time but the device's own."""

    def __init__(self, device, item, passes=True):
        self.device, self.item, self.passes, self.launches = device, item, passes, 0
        m, n, k = item.shape
        self.flop = 2 * m * n * k

    def launch(self, number):
        self.launches += 1
        self.device.work(self.flop / self.device.rate(self.item, self.device.now) / 1e12)

    def prepare(self):
        before = self.device.now
        self.launch(0)
        return self.device.now - before

    def rate(self, seconds):
        return self.flop / seconds / 1e12

    def told(self):
        return {}

    def verify(self, seconds):
        from gpusmoke.measuring.verify import Verification

        return Verification("elementwise", self.passes, 0.1, 0.2, True)


@pytest.fixture
def virtual(monkeypatch, listener):
    """`virtual(rate, seconds)`: a bench on a device with such a speed; all time that passes is the device's."""
    from gpusmoke.measuring import timing
    from gpusmoke.workers import bench, search

    def make(rate, seconds=46.0):
        device = Device(rate)
        for module in (bench, search, timing):
            monkeypatch.setattr(module, "time", device)
        monkeypatch.setattr(bench, "scaled", lambda device, item: item)
        monkeypatch.setattr(bench, "guess", lambda device, item, most: Product(device, item).prepare())
        monkeypatch.setattr(search.torch.cuda, "synchronize", lambda: None)
        worker = bench.Bench(listener, 0, device, seconds)
        worker.product = lambda item: Product(device, item)
        return worker

    return make
