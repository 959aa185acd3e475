"""Sizes, counts and bandwidths by nccl-tests' definitions, and which sums are exact."""

import itertools
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring.collectives import (
    EXACT,
    ON_ALL,
    OPERATIONS,
    algorithm_bandwidth,
    bus_factor,
    largest_value,
    message,
    messages,
    parse_size,
    sizes,
    slowest,
)
from gpusmoke.measuring.formats import ELEMENT_BYTES, size_text
from gpusmoke.measuring.ranks import Place, differing, fit, listed, sharing, without_gpu

DTYPE, RANKS = st.sampled_from(list(EXACT)), st.integers(1, 4096)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8", 8),
        ("1K", 1024),
        ("64k", 65536),
        ("1M", 1 << 20),
        ("1G", 1 << 30),
        ("2GiB", 2 << 30),
        ("3MB", 3 << 20),
        (" 8K ", 8192),
    ],
)
def test_sizes_are_written_as_nccl_tests_takes_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1T", "1.5M", "K", "1 K", "1e6", "\N{ARABIC-INDIC DIGIT ONE}K"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError):
        parse_size(text)


@given(st.integers(1, 1 << 36))
def test_a_size_that_is_told_is_the_size(size):
    assert parse_size(size_text(size).replace(" B", "").replace(" ", "")) == size


@given(st.integers(1, 1 << 20), st.integers(1, 1 << 33), st.integers(2, 16))
def test_sizes_begin_with_the_smallest_and_never_pass_the_largest(smallest, largest, factor):
    found = sizes(smallest, largest, factor)
    assert found[:1] == ([smallest] if smallest <= largest else [])
    assert all(after == factor * before for before, after in itertools.pairwise(found))
    assert not found or found[-1] <= largest < found[-1] * factor


def test_the_default_sizes_are_eleven():
    assert list(map(size_text, sizes(1 << 10, 1 << 30, 4)))[::5] == ["1 KiB", "1 MiB", "1 GiB"]


# What nccl-tests prints: all_gather_perf -b 1K -g 8 has count 32; with 3 ranks 1 KiB becomes 3 x 336 = 1008 bytes.
@pytest.mark.parametrize(
    ("operation", "size", "dtype", "ranks", "count", "bytes_"),
    [
        ("all-reduce", 1024, "fp32", 8, 256, 1024),
        ("broadcast", 1024, "bf16", 3, 512, 1024),
        ("all-gather", 1024, "fp32", 8, 32, 1024),
        ("reduce-scatter", 1024, "fp32", 3, 84, 1008),
        ("all-gather", 1024, "int8", 3, 336, 1008),
        ("all-gather", 1024, "fp32", 1024, 4, 16384),
        ("all-reduce", 1, "fp64", 2, 1, 8),
    ],
)
def test_counts_are_nccl_tests(operation, size, dtype, ranks, count, bytes_):
    assert message(operation, size, dtype, ranks) == (count, bytes_)


@given(st.sampled_from(OPERATIONS), st.integers(1, 1 << 34), DTYPE, RANKS)
def test_a_message_is_whole_and_near_what_was_asked_for(operation, size, dtype, ranks):
    element, parts = ELEMENT_BYTES[dtype], 1 if operation in ON_ALL else ranks
    count, bytes_ = message(operation, size, dtype, ranks)
    least = element if operation in ON_ALL else 16 * ranks
    assert bytes_ == count * element * parts
    assert bytes_ == least or size - least < bytes_ <= size
    assert operation in ON_ALL or count * element % 16 == 0


@given(st.sampled_from(OPERATIONS), st.lists(st.integers(1, 1 << 20), max_size=20), DTYPE, RANKS)
def test_no_message_is_measured_twice(operation, wanted, dtype, ranks):
    found = messages(operation, wanted, dtype, ranks)
    assert len(found) == len(set(found)) <= len(wanted)


def test_bandwidths_are_nccl_tests():
    # A line of all_reduce_perf on 8 GPUs, as nccl-tests' page has it: 128 MiB in 1 ms is 134 GB/s, x 14/8 on the bus.
    assert algorithm_bandwidth(128 << 20, 1e-3) == pytest.approx(134.217728)
    assert [bus_factor(operation, 8) for operation in OPERATIONS] == [1.75, 0.875, 0.875, 1.0]
    assert [bus_factor(operation, 1) for operation in OPERATIONS] == [0, 0, 0, 1.0]


@given(RANKS)
def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather(ranks):
    both = bus_factor("reduce-scatter", ranks) + bus_factor("all-gather", ranks)
    assert bus_factor("all-reduce", ranks) == pytest.approx(both)


@given(DTYPE, RANKS)
def test_sums_of_whole_numbers_stay_exact(dtype, ranks):
    most = largest_value(dtype, ranks) * ranks
    bits = {"fp64": 53, "fp32": 24, "fp16": 11, "bf16": 8, "int8": 7}[dtype]
    assert most <= 2**bits - (dtype == "int8")
    assert math.ldexp(*math.frexp(most)) == most
    if dtype == "fp16":
        assert all(struct.unpack("e", struct.pack("e", one))[0] == one for one in range(most + 1))


def test_bf16_gives_up_where_it_must():
    assert (largest_value("bf16", 256), largest_value("bf16", 257), largest_value("int8", 8)) == (1, 0, 15)
    assert largest_value("fp64", 4) == 1000  # a small one is as good


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_in_each_round_the_slowest_rank_counts(times):
    assert slowest(times) == [max(one[at] for one in times) for at in range(3)]


@given(st.sets(st.integers(0, 300)))
def test_numbers_of_ranks_are_told_short_and_whole(ranks):
    told = listed(list(ranks))
    found = set()
    for run in filter(None, told.split(", ")):
        first, _, last = run.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    assert found == ranks


ROW = {"gpusmoke": "0.1.0", "torch": "2.13.0", "nccl": "2.30.7", "device": "cuda:0"}


def ranks_with(**changes):
    """Three ranks, of which the last differs."""
    rows = [ROW | {"rank": rank, "uuid": f"GPU-{rank}"} for rank in range(3)]
    return [*rows[:2], rows[2] | changes]


def test_ranks_that_fit_are_no_problem():
    assert fit(ranks_with())
    assert fit([ROW | {"rank": rank, "uuid": None, "device": "cpu"} for rank in range(3)])  # on a CPU all share it


def test_what_keeps_ranks_from_working_together_is_told_apart():
    assert differing(ranks_with(torch="2.11.0")) == {"torch": {"2.13.0": [0, 1], "2.11.0": [2]}}
    assert set(differing(ranks_with(gpusmoke="0.2.0", nccl=None))) == {"gpusmoke", "nccl"}
    assert sharing(ranks_with(uuid="GPU-1")) == {"GPU-1": [1, 2]}
    assert without_gpu(ranks_with(device=None)) == [2]
    for changes in ({"torch": "2.11.0"}, {"uuid": "GPU-1"}, {"device": None}):
        assert not fit(ranks_with(**changes))


def test_a_rank_knows_its_place_from_torchrun_alone():
    told = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "GROUP_RANK": "1"}
    assert Place.told_by(told) is None  # mpirun and others set these too
    assert Place.told_by(told | {"TORCHELASTIC_RUN_ID": "x"}) == (5, 8, 1, 1)


def test_whole_numbers_are_exact_up_to_what_the_mantissa_of_a_format_holds():
    torch = pytest.importorskip("torch")
    names = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp64": "float64"}
    exact = {name: int(2 / torch.finfo(getattr(torch, name_of)).eps) for name, name_of in names.items()}
    assert exact | {"int8": torch.iinfo(torch.int8).max} == EXACT
