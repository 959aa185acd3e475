"""What was measured as it stands in a record."""

from __future__ import annotations

from collections.abc import Sequence

from gpusmoke.facts import Json
from gpusmoke.measuring import METHOD
from gpusmoke.measuring.peaks import Peak, at_clock, datasheet, memory
from gpusmoke.measuring.shapes import Item
from gpusmoke.measuring.statistics import median, quantile, rounded
from gpusmoke.measuring.verify import Verification
from gpusmoke.workers.bandwidth import Transfer
from gpusmoke.workers.device import Device

Row = dict[str, Json]


def product_row(
    device: Device,
    gpu: int | None,
    item: Item,
    regime: str,
    value: float,
    rates: Sequence[float],
    telemetry: Row,
    verified: Row,
    told: Row,
) -> Row:
    """One product's measurement: `value` and `rates` in TFLOP/s (for int8 TOP/s); `told` is the backend's own word."""
    row = {
        "quantity": "matmul",
        "gpu": gpu,
        "device": device.name,
        "dtype": item.dtype,
        "shape": list(item.shape),
        "layout": item.layout,
        "regime": regime,
        "backend": item.backend,
        **told,
        "method": METHOD,
        "unit": "TOP/s" if item.dtype == "int8" else "TFLOP/s",
        "value": rounded(value),
        "statistic": "median" if regime == "burst" else "mean",
        **spread(rates),
        "telemetry": telemetry,
        "verified": verified,
        **share_of(datasheet(device.name, device.multiprocessors, item.dtype), value),
    }
    if (clock := telemetry.get("sm_clock_mhz")) is not None:
        limit = at_clock(device.name, device.capability, device.multiprocessors, item.dtype, clock)
        if limit is not None:
            row["percent_of_clock"] = round(100 * value / limit, 1)
    return row


def transfer_row(device: Device, gpu: int | None, transfer: Transfer) -> Row:
    """One way of moving bytes, in GB/s."""
    value, on_gpu = median(transfer.rates), device.kind == "cuda"
    inside = on_gpu and transfer.quantity.startswith("memory")
    return {
        "quantity": transfer.quantity,
        "gpu": gpu,
        "device": device.name,
        "dtype": None,
        "shape": [transfer.bytes_moved],
        "layout": None,
        "regime": "settled",
        "backend": "cuda" if on_gpu else "cpu",
        "method": METHOD,
        "unit": "GB/s",
        "value": rounded(value),
        "statistic": "median",
        **spread(transfer.rates),
        "telemetry": device.telemetry.summary(transfer.spans),
        "verified": transfer.verified.to_json(),
        **share_of(memory(device.name, device.multiprocessors) if inside else None, value),
    }


def peer_row(quantity: str, pair: tuple[int, int], name: str, count: int, rates: Sequence[float], passed: bool) -> Row:
    """Copies of `count` bytes from one GPU to another, or both ways at once, in GB/s; `name` is the first one's."""
    return {
        "quantity": quantity,
        "gpu": pair[0],
        "peer": pair[1],
        "device": name,
        "dtype": None,
        "shape": [count],
        "layout": None,
        "regime": "settled",
        "backend": "cuda",
        "method": METHOD,
        "unit": "GB/s",
        "value": rounded(median(rates)),
        "statistic": "median",
        **spread(rates),
        "telemetry": {},
        "verified": Verification("bitwise", passed, 0.0, 0.0, None).to_json(),
    }


def energy(watts: float | None, rate: float) -> Row:
    """The field for the energy of 10^12 operations, by power (W) and rate (TFLOP/s, TOP/s); none without the power."""
    return {"joules_per_tflop": rounded(watts / rate)} if watts else {}


def spread(rates: Sequence[float]) -> Row:
    """The fields that tell how rates lie."""
    return {
        "p10": rounded(quantile(rates, 0.1)),
        "p90": rounded(quantile(rates, 0.9)),
        "samples": [rounded(rate) for rate in rates],
    }


def share_of(peak: Peak | None, value: float) -> Row:
    """The fields that compare a rate with the datasheet; none where the peak is unknown."""
    if peak is None:
        return {}
    percent = round(100 * value / peak.value, 1)
    return {"datasheet": peak.value, "datasheet_source": peak.source, "percent_of_datasheet": percent}
