"""Several GPUs beside each other: readable at 80 columns with eight, and no number that was not measured."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.facts import Facts
from gpusmoke.findings import Finding
from gpusmoke.presentation.alike import ranges, told_once
from gpusmoke.presentation.grid import Grid, blocks, draw
from gpusmoke.presentation.machine import add_machine
from gpusmoke.presentation.markdown import markdown
from gpusmoke.presentation.several import add_rates
from gpusmoke.presentation.terminal import Page
from gpusmoke.record import read

X2 = Path(__file__).parents[1] / "data/h100-x2-bench-quick.json"
MEASURED = json.loads(X2.read_text())["measurements"]


def many(count, slow=None):
    """The first GPU's rows for so many GPUs, one of them slower, and copies between all of them."""
    rows = []
    for gpu in range(count):
        times = 0.88 if gpu == slow else 1 + gpu / 1000
        rows += [row | {"gpu": gpu, "value": row["value"] * times} for row in MEASURED if row["gpu"] == 0]
        rows.append({**rows[-1], "quantity": "memory-copy", "dtype": None, "shape": [1 << 31], "layout": None})
    for a in range(count):
        for b in range(count):
            if a != b:
                rows.append(peer(a, b, 380 + a))
                rows += [peer(a, b, 749.26, "peer-copy-both-ways")] if a < b else []
    return rows


def peer(a, b, value, quantity="peer-copy"):
    return {"quantity": quantity, "gpu": a, "peer": b, "value": value, "regime": "settled", "device": "H100"}


def shown(rows, add=add_rates):
    page = Page()
    add(page, rows)
    return page.lines


def test_two_have_their_rates_and_how_far_off_the_median_they_are():
    assert shown(MEASURED) == [
        "",
        "2 x NVIDIA H100 80GB HBM3, settled: the median, and by how many % each is off",
        "                      median        GPU 0        GPU 1",
        "bf16 8192x8192x8192    679.1  674.1  -0.7  684.1  +0.7",
        "bf16 1024x8448x16384   711.3  705.7  -0.8  716.8  +0.8",
        "MHz                     1350         1335         1365",
        "W                        698          697          699",
        "C                         62           62           62",
    ]


def test_eight_fit_into_80_columns_and_the_slow_one_stands_out():
    lines = shown(many(8, slow=5))
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("bf16 8192x8192x8192"))
    assert row.split()[2:] == ["675.8", "-0.2", "-0.1", "-0.0", "+0.0", "+0.1", "-12.2", "+0.3", "+0.4"]
    assert any(line.startswith("memory copy") for line in lines)
    one_way = lines.index("Copies between GPUs, one way, GB/s")
    assert lines[one_way + 2].split() == ["GPU", "0", "X", *["380"] * 7]
    assert lines[one_way + 9].split() == ["GPU", "7", *["387"] * 7, "X"]
    both = lines.index("Copies between GPUs, both ways at once, GB/s")
    assert lines[both + 9].split() == ["GPU", "7", *["749"] * 7, "X"]


def test_sixteen_are_folded_and_each_is_shown_once():
    lines = shown(many(16))
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("16 x ")
    end = lines.index("", 1)
    heads = [line for line in lines[2:end] if "GPU" in line]
    assert len(heads) > 1
    assert [int(at) for at in re.findall(r"GPU (\d+)", " ".join(heads))] == list(range(16))


def test_models_are_apart_and_a_single_one_has_no_siblings():
    other = [row | {"device": "NVIDIA L4", "gpu": 2} for row in MEASURED if row["gpu"] == 0]
    assert [line for line in shown(MEASURED + other) if "settled:" in line] == [
        "2 x NVIDIA H100 80GB HBM3, settled: the median, and by how many % each is off"
    ]
    assert shown([row for row in MEASURED if row["gpu"] == 0]) == []


def test_what_one_has_not_measured_is_a_dash():
    lines = shown([row for row in MEASURED if row["gpu"] == 0 or row["shape"] == [8192] * 3])
    assert next(line for line in lines if "16384" in line).split()[-1] == "-"


@given(st.lists(st.integers(1, 30), min_size=2, max_size=40), st.integers(31, 90))
def test_every_column_is_in_one_block_and_the_first_in_all(widths, room):
    parts = list(blocks(widths, room))
    assert all(part[0] == 0 and len(part) > 1 for part in parts)
    assert [at for part in parts for at in part[1:]] == list(range(1, len(widths)))
    assert all(sum(widths[at] + 1 for at in part) - 1 <= room or len(part) == 2 for part in parts)


def test_a_grid_is_drawn_with_its_note():
    page = Page()
    draw(page, Grid("title", ["", "a"], [["row", "1"]], "note\nmore"))
    assert page.lines == ["title", "     a", "row  1", "note", "more"]


@given(st.sets(st.integers(0, 40), min_size=1))
def test_ranges_tell_every_number_and_no_other(numbers):
    told = set()
    for part in ranges(sorted(numbers)).split(", "):
        first, _, last = part.partition("-")
        told |= set(range(int(first), int(last or first) + 1))
    assert told == numbers


def test_what_is_said_of_several_gpus_is_said_once():
    one = Finding("gpu-works", "ok", 0, "It works.", ("a",), ("do",), None)
    findings = [one, one._replace(gpu=None), one._replace(gpu=2, evidence=("b",)), one._replace(gpu=1, advice=("not",))]
    assert [(about, found.gpu, found.evidence) for about, found in told_once([*findings, one._replace(gpu=None)])] == [
        ("GPU 0, 2: ", 0, ("a", "b")),
        ("", None, ("a",)),
        ("GPU 1: ", 1, ("a",)),  # another cure
        ("", None, ("a",)),
    ]


def test_the_machine_is_one_line_for_each_gpu():
    (_, title, head, *lines) = shown(Facts.from_json(json.loads(X2.read_text())["facts"]), add_machine)
    assert title == "The GPUs"
    assert head.split() == ["GPU", "PCI", "address", "PCIe", "C", "W", "limit", "W", "GB", "used"]
    assert lines[0].split() == ["0", "0000:00:06.0", "5", "x16", "38", "124", "700", "0.5", "of", "80"]
    assert len(lines) == 2
    assert shown(Facts(), add_machine) == []


def test_markdown_has_the_rates_beside_each_other():
    text = markdown(read(X2))
    assert "**Settled rates of 2 x NVIDIA H100 80GB HBM3**" in text
    assert "| bf16 8192³ | 679.1 | 674.1 (-0.7 %) | 684.1 (+0.7 %) |" in text


def test_markdown_and_the_page_have_the_copies_between_gpus(tmp_path):
    record = read(X2)._replace(measurements=[*MEASURED, *(row | MEASURED[0] | row for row in many(2) if "peer" in row)])
    text = markdown(record)
    assert "**Copies between GPUs, one way, GB/s**" in text
    assert "| GPU 1 | 381 | X |" in text
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from gpusmoke.presentation.html.page import render

    page = render(record)
    assert "<h2>Copies between GPUs, both ways at once, GB/s</h2>" in page
    assert page.count("<h2>GPU ") == 2
