"""Two runs to compare: record([row([700.0] * 5), moved("memory-copy", 3000.0)]) is one of a GPU."""

from gpusmoke.facts import Fact, Facts
from gpusmoke.record import Record

SHAPES = [[8192, 8192, 8192], [1024, 8448, 16384], [4096, 4096, 4096]]


def row(samples, dtype="bf16", shape=SHAPES[0], **changes):
    return {
        "quantity": "matmul",
        "gpu": 0,
        "device": "a GPU",
        "dtype": dtype,
        "shape": shape,
        "layout": "NT",
        "regime": "settled",
        "backend": "cublas",
        "method": 2,
        "unit": "TFLOP/s",
        "value": sum(samples) / len(samples),
        "samples": samples,
        "telemetry": {"sm_clock_mhz": 1365, "power_w": 698.0, "temperature_c": 62, "throttle_reasons": 4},
        "verified": {"method": "elementwise", "passed": True, "error": 0.1, "bound": 0.2, "repeats_equal": True},
    } | changes


def record(rows, uuid="GPU-1", **facts):
    values = {
        "bench.0": {"name": "a GPU", "multiprocessors": 132},
        "cuda.devices": [{"ordinal": 0, "uuid": uuid}],
        "nvml.gpus": [{"uuid": uuid, "power_limit_w": 700.0, "processes": []}],
        "nvml.driver_version": "580.159.04",
        "torch.version": "2.12.1",
        "torch.cuda": "13.0",
    } | {name.replace("__", "."): value for name, value in facts.items()}
    told = Facts({name: Fact(value, "a test") for name, value in values.items()})
    return Record("bench", "2026-11-26T02:17:51Z", facts=told, measurements=rows)


def moved(quantity, rate, **telemetry):
    copy = row([rate] * 5, dtype=None, shape=[1 << 31], layout=None, quantity=quantity, backend="cuda")
    return copy | ({"telemetry": telemetry} if telemetry else {})
