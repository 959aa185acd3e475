"""What sampling clocks and power costs the rate that it accompanies. On a machine with a GPU and nothing else on it:

    PYTHONPATH=src python benchmarks/telemetry.py

One unbroken stream of products, in windows with and without the sampling thread by turns.
"""

from __future__ import annotations

import statistics
import time

from gpusmoke.measuring.shapes import CUBE, Item
from gpusmoke.measuring.telemetry import Telemetry
from gpusmoke.measuring.timing import interleaved
from gpusmoke.workers.device import Device
from gpusmoke.workers.product import Product

SETTLE_SECONDS, WINDOW_SECONDS, PAIRS = 10.0, 2.0, 8
TURN_SECONDS = 0.1


def main() -> None:
    """Print the median rate of both kinds of window, and their ratio pair by pair."""
    import torch

    device = Device("cuda:0")
    device.telemetry.stop()
    uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    product = Product(device, Item("bf16", CUBE))
    turns = interleaved([(product.launch, max(1, round(TURN_SECONDS / product.prepare())))], device.timer)

    def window(seconds: float) -> float:
        until, rates = time.monotonic() + seconds, []
        while time.monotonic() < until:
            rates.append(product.rate(next(turns)[1]))
        return statistics.fmean(rates)

    window(SETTLE_SECONDS)
    ratios, samples = [], 0
    for pair in range(PAIRS):
        rates = {}
        for sampled in (True, False) if pair % 2 else (False, True):
            telemetry = Telemetry(uuid if sampled else None)
            rates[sampled] = window(WINDOW_SECONDS)
            telemetry.stop()
            samples += len(telemetry.samples)
        ratios.append(rates[True] / rates[False])
        print(f"with {rates[True]:.2f}, without {rates[False]:.2f} TFLOP/s: {100 * (ratios[-1] - 1):+.2f} %")
    middle, spread = statistics.fmean(ratios), statistics.stdev(ratios) / PAIRS**0.5
    often = samples / PAIRS / WINDOW_SECONDS
    print(f"sampling at {often:.0f} Hz: {100 * (middle - 1):+.2f} % (standard error {100 * spread:.2f} %)")


if __name__ == "__main__":
    main()
