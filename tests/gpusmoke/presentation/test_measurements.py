"""Rates as people see them: a table that fits 80 columns, whatever was measured, and a wrong result that stands out."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusmoke.measuring.formats import ELEMENT_BYTES
from gpusmoke.measuring.shapes import LAYOUTS, candidates, shapes
from gpusmoke.presentation.measurements import LEGEND, add_measurements
from gpusmoke.presentation.terminal import Page

RECORDED = json.loads((Path(__file__).parents[1] / "data/h100-bench-method-1.json").read_text())["measurements"]
WIDEST = (16384, 106496, 53248)  # of a model's layers


def product(regime="settled", **changes):
    value = changes.get("value", 683.8)
    return {
        "quantity": "matmul",
        "gpu": 0,
        "device": "NVIDIA H100 80GB HBM3",
        "dtype": "bf16",
        "shape": [8192, 8192, 8192],
        "layout": "NT",
        "regime": regime,
        "backend": "cublas",
        "unit": "TFLOP/s",
        "value": value,
        "p10": 0.98 * value,
        "p90": 1.02 * value,
        "telemetry": {"sm_clock_mhz": 1365, "power_w": 698.1},
        "verified": {"passed": True},
        "percent_of_datasheet": 69.1,
        "percent_of_clock": 92.6,
    } | changes


def moved(quantity, value, **changes):
    row = {"quantity": quantity, "gpu": 0, "device": "NVIDIA H100 80GB HBM3", "value": value, "unit": "GB/s"}
    return row | {"dtype": None, "regime": "settled", "telemetry": {}, "verified": {"passed": True}} | changes


def shown(rows):
    page = Page()
    add_measurements(page, rows)
    return page.lines


def table(rows):
    """The table's cells, its titles first."""
    return [line.split() for line in shown(rows) if line and line not in LEGEND.splitlines()]


def test_a_product_is_one_line_with_its_burst_and_its_settled_rate():
    titles, cells = table([product("burst", value=777.41, percent_of_datasheet=78.6), product()])
    assert dict(zip(titles, cells, strict=True)) == {
        "dtype": "bf16",
        "MxNxK": "8192x8192x8192",
        "burst": "777.4",
        "settled": "683.8",
        "±%": "2.0",
        "%peak": "69.1",
        "%clock": "92.6",
        "MHz": "1365",
        "W": "698",
        "right": "yes",
    }


def test_recorded_rates_are_a_line_for_each_format():
    titles, *lines = table(RECORDED)
    assert [line[0] for line in lines] == list(ELEMENT_BYTES)
    assert [len(line) for line in lines] == [len(titles)] * len(lines)
    assert lines[2][:4] == ["fp8", "8192x8192x8192", "1469", "1296"]


@pytest.mark.parametrize(
    ("rows", "burst", "settled", "spread", "peak"),
    [
        ([product("burst", percent_of_datasheet=78.6)], "683.8", "-", "-", "78.6"),
        ([product()], "-", "683.8", "2.0", "69.1"),
        (
            [product("burst"), product(percent_of_datasheet=None, telemetry={"reason": "no"})],
            "683.8",
            "683.8",
            "2.0",
            "-",
        ),
    ],
)
def test_what_was_not_measured_or_is_not_known_is_a_dash(rows, burst, settled, spread, peak):
    titles, cells = table(rows)
    found = dict(zip(titles, cells, strict=True))
    assert (found["burst"], found["settled"], found["±%"], found["%peak"]) == (burst, settled, spread, peak)


@pytest.mark.parametrize("wrong", ["burst", "settled"])
def test_a_wrong_result_says_no(wrong):
    rows = [product(regime, verified={"passed": regime != wrong}) for regime in ("burst", "settled")]
    _, cells = table(rows)
    assert cells[-1] == "NO"
    _, right, wrong_one = table([product(), product(dtype="fp16", verified={"passed": False})])
    assert (right[-1], wrong_one[-1]) == ("yes", "NO")


def test_the_layout_is_shown_where_it_is_not_that_of_a_linear_layer_throughout():
    assert "layout" not in table([product()])[0]
    assert "layout" in table([product(layout="TN")])[0]
    titles, first, second = table([product(), product(layout="TN")])
    assert [line[titles.index("layout")] for line in (first, second)] == ["NT", "TN"]


def test_shapes_layouts_and_backends_are_products_of_their_own():
    rows = [product(), product(layout="TN"), product(backend="triton"), product(shape=[8192, 8192, 4096])]
    assert len(table(rows)) == 1 + 4


def test_each_gpu_has_its_name_and_its_own_table():
    other = {"gpu": 1, "device": "NVIDIA L4"}
    lines = shown([product(), product(**other, value=60.0), moved("memory-copy", 3002.0, **other)])
    first, second = lines.index("GPU 0: NVIDIA H100 80GB HBM3"), lines.index("GPU 1: NVIDIA L4")
    assert any("683.8" in line for line in lines[first:second])
    assert any("60" in line for line in lines[second:])
    assert not any("GPU" in line for line in shown([product(), product("burst")]))
    assert [line for line in lines if line.startswith("memory copy")] == ["memory copy 3002 GB/s"]


def test_what_moves_bytes_is_told_in_a_sentence():
    rows = [
        moved("memory-copy", 3002.4, percent_of_datasheet=89.6),
        moved("memory-triad", 3042.0),
        moved("host-to-device", 54.81),
        moved("device-to-host", 55.1, verified={"passed": False}),
    ]
    lines = shown(rows)
    assert " ".join(lines).strip() == (
        "memory copy 3002 GB/s (89.6 % of the datasheet); memory triad 3042 GB/s; "
        "host to device 54.81 GB/s; device to host 55.1 GB/s, NOT ALL ARRIVED"
    )
    assert not set(LEGEND.splitlines()) & set(lines)  # it explains products


def fits(rows):
    lines = shown(rows)
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert "…" not in "".join(lines)
    return lines


def test_the_widest_products_fit_80_columns_uncut():
    for extra in ({}, {"gpu": 1}):
        rows = [product(regime, layout=y, shape=list(WIDEST)) for y in LAYOUTS for regime in ("burst", "settled")]
        more = [product(value=1234.5, telemetry={"sm_clock_mhz": 2100, "power_w": 1400.4}, percent_of_datasheet=100.1)]
        lines = fits([*rows, *({**row, **extra} for row in more)])
        assert any("x".join(map(str, WIDEST)) in line for line in lines)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*shapes("default"), *shapes("model"), *candidates(), WIDEST]),
            st.sampled_from(list(ELEMENT_BYTES)),
            st.sampled_from(LAYOUTS),
            st.floats(1e-3, 5000),
            st.sets(st.sampled_from(["burst", "settled"]), min_size=1),
            st.integers(0, 1),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_was_measured_fits_80_columns_uncut(measured):
    fits(
        [
            product(regime, shape=list(shape), dtype=dtype, layout=layout, value=value, gpu=gpu)
            for shape, dtype, layout, value, regimes, gpu in measured
            for regime in sorted(regimes)
        ]
    )
