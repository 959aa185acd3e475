"""What a measurement says of itself: its figures, the datasheet's, and what the sampled clock allows."""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from gpusmoke.measuring import METHOD, peaks
from gpusmoke.measuring.shapes import Item
from gpusmoke.measuring.telemetry import Telemetry
from gpusmoke.measuring.verify import Verification
from gpusmoke.workers.bandwidth import Transfer
from gpusmoke.workers.rows import product_row, transfer_row

H100 = "NVIDIA H100 80GB HBM3"
RATES = [600.0, 700.0, 650.0, 690.123456]
TELEMETRY = {"samples": 9, "sm_clock_mhz": 1365}
RIGHT = Verification("elementwise", True, 0.1, 0.2, True)


def device(name=H100, multiprocessors=132, kind="cuda"):
    return SimpleNamespace(
        kind=kind, name=name, capability=(9, 0), multiprocessors=multiprocessors, telemetry=Telemetry(None)
    )


def row(regime="settled", dtype="bf16", value=683.8, telemetry=TELEMETRY, on=None):
    item = Item(dtype, (1024, 8448, 16384), "TN")
    return product_row(on or device(), 0, item, regime, value, RATES, telemetry, RIGHT.to_json(), {})


def moved(quantity="memory-copy", rates=(3000.0, 3002.0, 2000.0), on=None):
    transfer = Transfer(quantity, 1 << 31, list(rates), [(0.0, 1.0)], Verification("bitwise", True, 0.0, 0.0))
    return transfer_row(on or device(), 0 if on is None else None, transfer)


def test_a_product_carries_what_it_takes_to_compare_it():
    found = row()
    assert {name: found[name] for name in ("dtype", "shape", "layout", "backend", "gpu", "device", "method")} == {
        "dtype": "bf16",
        "shape": [1024, 8448, 16384],
        "layout": "TN",
        "backend": "cublas",
        "gpu": 0,
        "device": H100,
        "method": METHOD,
    }
    assert (found["value"], found["unit"], found["samples"]) == (683.8, "TFLOP/s", [600.0, 700.0, 650.0, 690.12])
    assert 600 <= found["p10"] <= 650 <= found["p90"] <= 700
    assert row(dtype="int8")["unit"] == "TOP/s"


def test_a_burst_is_quoted_by_its_median_and_the_settled_state_by_its_mean():
    assert row("burst")["statistic"] == "median"
    assert row("settled")["statistic"] == "mean"


def test_both_percentages_stand_where_both_peaks_are_known():
    found = row()
    assert found["percent_of_datasheet"] == pytest.approx(100 * 683.8 / 989.4, abs=0.06)
    assert found["datasheet_source"] == peaks.datasheet(H100, 132, "bf16").source
    assert found["percent_of_clock"] == pytest.approx(100 * 683.8e12 / (132 * 4096 * 1365e6), abs=0.06)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"telemetry": {"reason": "NVML: no"}}, "percent_of_clock"),
        ({"on": device(name="NVIDIA Unheard-of")}, "percent_of_datasheet"),
        ({"on": device(multiprocessors=16)}, "percent_of_datasheet"),  # a slice of the card
        ({"dtype": "fp64", "on": device(name="NVIDIA Unheard-of")}, "datasheet"),
    ],
)
def test_no_percentage_stands_where_its_peak_is_unknown(changes, missing):
    assert missing not in row(**changes)


def test_bytes_have_no_format_and_no_layout():
    found = moved()
    assert (found["dtype"], found["layout"], found["shape"], found["unit"]) == (None, None, [1 << 31], "GB/s")
    assert (found["value"], found["statistic"], found["regime"], found["backend"]) == (
        3000.0,
        "median",
        "settled",
        "cuda",
    )
    assert found["verified"]["method"] == "bitwise"
    assert found["percent_of_datasheet"] == pytest.approx(100 * 3000 / 3350, abs=0.1)


def test_only_a_gpus_own_memory_has_a_datasheet():
    assert "datasheet" not in moved("host-to-device")
    on_cpu = moved(on=device("CPU", 0, "cpu"))
    assert "datasheet" not in on_cpu
    assert (on_cpu["backend"], on_cpu["gpu"]) == ("cpu", None)
    assert "datasheet" in moved("memory-triad")


def test_rows_follow_the_published_schema(valid):
    record = {
        **dict.fromkeys(("version", "command"), "bench"),
        "schema": "gpusmoke-record/1",
        "started": "2026-11-26T04:00:00Z",
        "seconds": 1.0,
        "complete": True,
        "verdict": "healthy",
        "facts": {},
        "findings": [],
        "measurements": [row(), row("burst"), moved(), moved("device-to-host")],
    }
    valid(record)
