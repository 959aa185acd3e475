"""How fast the operator is beside PyTorch's own, eager and compiled, and beside a copy.

    pixi run -e cuda13 python examples/benchmark.py

Everything takes turns, back to back, so that clock and heat are alike for all; the kit's own clocks are used.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from gpusmoke.measuring.statistics import median
from gpusmoke.measuring.timing import CudaTimer, estimate, interleaved

from gpu_starter import add_rms_norm

TURN_SECONDS = 0.05
MOVED = 4  # tensors that have to move: x and residual in, y and the sum out
EAGER_MOVED = 5  # and the sum once more, since the norm is a kernel of its own


def eager(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """An addition, and a norm: two kernels."""
    s = x + residual
    return torch.nn.functional.rms_norm(s, weight.shape, weight, 1e-6), s


def gigabytes_a_second(rows: int, columns: int, dtype: torch.dtype, seconds: float) -> dict[str, float]:
    """The median rate of each way, as if it moved every tensor once; of the copy, what it reads and writes."""
    x, residual = (torch.randn(rows, columns, dtype=dtype, device="cuda") for _ in range(2))
    weight, other = torch.randn(columns, dtype=dtype, device="cuda"), torch.empty_like(x)
    compiled = torch.compile(eager)
    torch.testing.assert_close(add_rms_norm(x, residual, weight), eager(x, residual, weight))
    ways = {
        "add_rms_norm": (MOVED, lambda _: add_rms_norm(x, residual, weight)),
        "PyTorch, eager": (MOVED, lambda _: eager(x, residual, weight)),
        "PyTorch, compiled": (MOVED, lambda _: compiled(x, residual, weight)),
        "copy": (2, lambda _: other.copy_(x)),
    }
    timer, samples = CudaTimer(), {name: list[float]() for name in ways}
    turns = [(way, max(1, round(TURN_SECONDS / estimate(way, timer)))) for _, way in ways.values()]
    until = time.monotonic() + seconds
    for who, each, at in interleaved(turns, timer):
        name = list(ways)[who]
        samples[name].append(ways[name][0] * x.nbytes / each / 1e9)
        if at > until:
            break
    return {name: median(rates[len(rates) // 3 :]) for name, rates in samples.items()}  # once it has come to rest


def main() -> None:
    """Measure several sizes and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="for each size (default: 6)")
    args = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    print(f"saved traffic predicts {EAGER_MOVED / MOVED:.2f} times the rate of eager PyTorch")
    for rows, columns, dtype in (
        (16384, 4096, torch.bfloat16),
        (16384, 8192, torch.bfloat16),
        (65536, 1024, torch.bfloat16),
        (8192, 8192, torch.float32),
    ):
        rates = gigabytes_a_second(rows, columns, dtype, args.seconds)
        print(f"\n{rows} x {columns}, {str(dtype).removeprefix('torch.')}")
        for name, rate in rates.items():
            beside = f"{100 * rate / rates['copy']:5.1f} % of a copy, {rate / rates['PyTorch, eager']:.2f} x eager"
            print(f"  {name:18} {rate:7.0f} GB/s  {beside if name != 'copy' else ''}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
