"""What a model reaches at least: bounds that stand somewhere, that healthy cards meet and sick ones don't."""

import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring import peaks
from gpusmoke.measuring.expected import shortfalls
from gpusmoke.measuring.formats import ELEMENT_BYTES

H100 = "NVIDIA H100 80GB HBM3"
CARDS = tomllib.loads((files("gpusmoke") / "data/expected.toml").read_text())["card"]
ROOT = Path(__file__).parents[3]
# What NVML calls cards; each row of the file has to know one, and only those that it means.
REAL_NAMES = [
    *(H100, "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H200", "NVIDIA GH200 480GB", "NVIDIA GH200 144G HBM3e"),
    *("NVIDIA B200", "NVIDIA GB200", "NVIDIA B300 SXM6 AC", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB"),
    *("NVIDIA A100-PCIE-40GB", "NVIDIA A100 80GB PCIe", "NVIDIA L40S", "NVIDIA L40", "NVIDIA L4", "NVIDIA A10G"),
    *("NVIDIA RTX A6000", "NVIDIA RTX 6000 Ada Generation", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090"),
    *("NVIDIA GeForce RTX 3090 Ti", "Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"),
]
RECORDED = json.loads((Path(__file__).parents[1] / "data/h100-bench-method-1.json").read_text())["measurements"]


def scaled(factor, rows=RECORDED):
    return [{**row, "value": factor * row["value"]} for row in rows]


def row(value, **changes):
    first = {"quantity": "matmul", "dtype": "bf16", "shape": [8192, 8192, 8192], "layout": "NT", "backend": "cublas"}
    return {**first, "regime": "burst", "value": value, "unit": "TFLOP/s"} | changes


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card["names"][0])
def test_every_row_has_its_names_its_source_and_bounds_below_the_datasheet(card):
    assert set(card) <= {"names", "source", "burst", "settled"}
    assert card["source"].startswith("https://") or (ROOT / card["source"]).is_file()
    for pattern in card["names"]:
        assert [name for name in REAL_NAMES if re.fullmatch(pattern, name)], pattern
    bounds = [*card.get("burst", {}).items(), *((one["dtype"], one["low"]) for one in card.get("settled", ()))]
    assert bounds
    for dtype, low in bounds:
        assert dtype in ELEMENT_BYTES
        for name in REAL_NAMES:
            known = peaks.card(name)
            if known and dtype in known.tflops and any(re.fullmatch(pattern, name) for pattern in card["names"]):
                assert 0.35 * known.tflops[dtype] < low < known.tflops[dtype]


def test_recorded_healthy_h100s_fall_short_of_nothing():
    assert shortfalls(H100, RECORDED) == []
    smoke = json.loads((Path(__file__).parents[1] / "data/h100-smoke.json").read_text())["measurements"]
    assert shortfalls(H100, smoke) == []


def test_half_of_it_falls_short_in_every_bound_on_file():
    short = shortfalls(H100, scaled(0.5))
    assert [(one.row["dtype"], one.row["regime"]) for one in short] == [
        ("bf16", "burst"),
        ("fp8", "burst"),
        *((name, "settled") for name in ("bf16", "fp16", "fp8", "int8", "tf32", "fp32", "fp64")),
    ]
    assert all(one.row["value"] < one.low and one.source for one in short)


def test_the_best_burst_of_a_format_counts():
    slow, fast = row(500.0), row(700.0, shape=[1024, 8448, 16384])
    assert shortfalls(H100, [slow, fast]) == []
    (short,) = shortfalls(H100, [slow, row(600.0, shape=[1024, 8448, 16384])])
    assert (short.row["value"], short.low) == (600.0, 636)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [256, 256, 256]},
        {"shape": [4096, 4096, 4095]},
        {"shape": [1023, 8448, 16384]},
        {"shape": [16, 65536, 65536]},  # as large, and bound by memory: 16 operations for each byte
        {"shape": [65536, 65536, 16]},
        {"layout": "TN"},
        {"backend": "triton"},
        {"dtype": "fp32"},  # no burst of it is on file
        {"regime": "settled", "shape": [4096, 4096, 4096]},
        {"quantity": "memory-copy", "dtype": None, "layout": None, "shape": [1 << 31]},
    ],
    ids=str,
)
def test_what_no_bound_is_meant_for_is_not_judged(changes):
    assert shortfalls(H100, [row(1.0, **changes)]) == []


@pytest.mark.parametrize("shape", [[4096, 4096, 4096], [1024, 8448, 16384]])
def test_what_is_just_large_and_wide_enough_is_judged(shape):
    assert len(shortfalls(H100, [row(1.0, shape=shape)])) == 1


@pytest.mark.parametrize("name", ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce RTX 3060", "CPU", ""])
def test_a_model_that_is_not_on_file_is_not_judged(name):
    assert shortfalls(name, scaled(0.01)) == []


@given(st.floats(0.01, 2.0), st.floats(1.0, 2.0), st.sets(st.integers(0, len(RECORDED) - 1)))
def test_a_faster_card_never_falls_short_of_more(factor, faster, kept):
    rows = [RECORDED[number] for number in sorted(kept)]
    slow, fast = shortfalls(H100, scaled(factor, rows)), shortfalls(H100, scaled(factor * faster, rows))
    places = [(one.row["dtype"], one.row["regime"]) for one in slow]
    assert {(one.row["dtype"], one.row["regime"]) for one in fast} <= set(places)
    assert len(set(places)) == len(places)
    assert all(one.row["value"] < one.low for one in slow + fast)
    if factor >= 1:
        assert slow == []
