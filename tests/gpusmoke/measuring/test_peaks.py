"""Datasheet peaks and arithmetic rates: the table is whole and consistent, and what is unknown stays unknown."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring.peaks import at_clock, card, cards, datasheet, memory, rates

H100 = "NVIDIA H100 80GB HBM3"
FORMATS = {"fp32", "tf32", "fp16", "bf16", "fp8", "int8"}
HALF_RATE_CAPABILITIES = [(7, 5), (8, 6), (8, 9), (12, 0)]

# What NVML calls the cards, and what must not be taken for one of them.
REAL_NAMES = [
    *("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB", "Tesla V100-PCIE-16GB", "Tesla V100-PCIE-32GB", "Tesla T4"),
    *("NVIDIA A10", "NVIDIA A10G", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"),
    *("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 5090", "NVIDIA L4", "NVIDIA L40S"),
    *("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "NVIDIA B200", "NVIDIA GB200", "NVIDIA B300 SXM6 AC"),
    *(H100, "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H200", "NVIDIA GB300"),
    *("NVIDIA GH200 480GB", "NVIDIA GH200 120GB", "NVIDIA GH200 144G HBM3e"),
]
OTHER_NAMES = [
    *("NVIDIA GB10", "NVIDIA L40", "NVIDIA A100-SXM-64GB", "NVIDIA H200 NVL", "NVIDIA GeForce RTX 4090 D", "", "CPU"),
    *("NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 3090 Ti", "NVIDIA H100", "NVIDIA B200 MIG 1g.23gb"),
    *("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"),
]


def label(row):
    return row.names[0]


# SMs, capability, clock (GHz) and the TFLOP/s that their product must come to.
@pytest.mark.parametrize(
    ("name", "capability", "sms", "clock", "expected"),
    [
        (H100, (9, 0), 132, 1.83, 989.4),
        ("NVIDIA H100 PCIe", (9, 0), 114, 1.62, 756),
        ("NVIDIA H100 NVL", (9, 0), 132, 1.545, 835),
        ("NVIDIA A100-SXM4-80GB", (8, 0), 108, 1.41, 312),
        ("Tesla T4", (7, 5), 40, 1.59, 65),
        ("NVIDIA A10", (8, 6), 72, 1.695, 125),
        ("NVIDIA A10G", (8, 6), 80, 1.71, 70),
        ("NVIDIA L4", (8, 9), 58, 2.04, 121),
        ("NVIDIA GeForce RTX 4090", (8, 9), 128, 2.52, 165),
        ("NVIDIA GeForce RTX 5090", (12, 0), 170, 2.407, 209.5),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", (12, 0), 188, 2.617, 503.8),
    ],
)
def test_the_rate_at_the_specified_clock_is_the_datasheets(name, capability, sms, clock, expected):
    assert at_clock(name, capability, sms, "fp16", clock * 1000) == pytest.approx(expected, rel=0.005)
    assert datasheet(name, sms, "fp16").value == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("row", cards(), ids=label)
def test_a_rows_figures_follow_from_one_clock(row):
    """A figure copied wrong, a sparse one or a wrong rate asks for a clock that the others don't."""
    known = [dtype for dtype in row.tflops if dtype != "fp32" and dtype not in row.rate_unknown]
    capability = tuple(map(int, row.capability.split(".")))
    name = next(name for name in REAL_NAMES if row.matches(name))
    per_ghz = {dtype: at_clock(name, capability, row.multiprocessors or 1, dtype, 1000) for dtype in known}
    assert None not in per_ghz.values()
    clocks = [row.tflops[dtype] / per_ghz[dtype] for dtype in known]
    assert max(clocks) == pytest.approx(min(clocks), rel=0.015)
    if row.multiprocessors:
        assert 1 < min(clocks) < 3
        # Sheets give fp32 at the boost clock, tensor products at a lower one; A10G's fp32 is that of 72 SMs.
        boost = row.tflops.get("fp32", 0) / at_clock(name, capability, row.multiprocessors, "fp32", 1000)
        assert boost == 0 or 0.89 < boost / min(clocks) < 1.2


@pytest.mark.parametrize("row", cards(), ids=label)
def test_a_row_is_whole(row):
    assert re.fullmatch(r"https://\S+", row.source)
    assert set(row.tflops) <= FORMATS
    assert set(row.rate_unknown) <= set(row.tflops)
    assert row.capability in rates()
    assert row.gb_per_second is None or 300 <= row.gb_per_second <= 8000
    assert {name for name in REAL_NAMES if row.matches(name)}


@pytest.mark.parametrize(("capability", "rate"), rates().items())
def test_a_rate_is_whole(capability, rate):
    assert re.fullmatch(r"https?://\S+", rate.source)
    assert set(rate.full) <= FORMATS
    assert all(slow * 2 == rate.full[dtype] for dtype, slow in rate.half.items())


@pytest.mark.parametrize("name", REAL_NAMES)
def test_a_name_belongs_to_one_row(name):
    assert len([row for row in cards() if row.matches(name)]) == 1


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_card_that_is_not_on_file_has_no_datasheet(name):
    assert card(name) is None
    assert datasheet(name, 132, "bf16") is None


def test_the_h100():
    peak = datasheet(H100, 132, "bf16")
    assert peak.value == 989.4
    assert peak.source == "https://www.nvidia.com/en-us/data-center/h100/"


def test_a_slice_has_no_datasheet_but_a_rate():
    assert datasheet(H100, 60, "bf16") is None
    whole, part = (at_clock(H100, (9, 0), sms, "bf16", 1830) for sms in (132, 60))
    assert part == pytest.approx(whole * 60 / 132)


def test_the_memory_of_a_slice_and_of_a_card_that_is_not_on_file_has_no_datasheet():
    assert 3000 < memory(H100, 132).value < 3500
    assert memory(H100, 60) is None
    assert memory("NVIDIA Whatever", 132) is None


@pytest.mark.parametrize("dtype", ["fp64", "fp4", "bf17"])
def test_a_format_that_is_not_on_file_has_no_peak(dtype):
    assert datasheet(H100, 132, dtype) is None
    assert at_clock(H100, (9, 0), 132, dtype, 1830) is None


@pytest.mark.parametrize(
    ("name", "capability", "dtype"),
    [
        ("NVIDIA GB10", (12, 1), "bf16"),
        ("NVIDIA B300 SXM6 AC", (10, 3), "int8"),
        ("NVIDIA GB300", (10, 3), "int8"),
        ("Tesla V100-SXM2-16GB", (7, 0), "bf16"),
        ("NVIDIA A10G", (8, 6), "int8"),
    ],
)
def test_a_rate_that_is_unknown_or_disputed_is_left_out(name, capability, dtype):
    assert at_clock(name, capability, 48, dtype, 2000) is None


@pytest.mark.parametrize("capability", HALF_RATE_CAPABILITIES)
def test_half_or_full_rate_is_not_guessed(capability):
    assert at_clock("NVIDIA Whatever", capability, 100, "fp16", 1000) is None
    assert at_clock("NVIDIA Whatever", capability, 100, "int8", 1000) is None
    assert at_clock("NVIDIA Whatever", capability, 100, "fp32", 1000) is not None


def test_a_clock_that_was_not_read_gives_no_rate():
    assert at_clock(H100, (9, 0), 132, "bf16", 0) is None
    assert at_clock(H100, (9, 0), 0, "bf16", 1830) is None


@given(
    sms=st.integers(1, 1000),
    clock=st.floats(1, 1e4),
    factor=st.integers(2, 64),
    dtype=st.sampled_from(sorted(rates()["9.0"].full)),
)
def test_the_rate_is_linear_in_clock_and_sms(sms, clock, factor, dtype):
    one = at_clock(H100, (9, 0), sms, dtype, clock)
    assert at_clock(H100, (9, 0), sms, dtype, clock * factor) == pytest.approx(one * factor)
    assert at_clock(H100, (9, 0), sms * factor, dtype, clock) == pytest.approx(one * factor)


def test_it_needs_no_pytorch(kit):
    program = "import sys, gpusmoke.measuring.peaks; sys.exit('torch' in sys.modules)"
    command = [sys.executable, "-P", "-c", program]
    assert subprocess.run(command, env=kit.environment(), timeout=60, check=False).returncode == 0
