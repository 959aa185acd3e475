"""What ranks contribute and how results are compared, without a second rank."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from gpusmoke.measuring.collectives import EXACT, OPERATIONS, largest_value  # noqa: E402
from gpusmoke.workers.exchange import DTYPES, PERIOD, POISON, Exchange, fill, first_wrong, pattern  # noqa: E402

COUNT = 3 * PERIOD + 17


def exchange(operation, rank=1, ranks=3, dtype="fp32", count=COUNT):
    return Exchange(operation, count, dtype, rank, ranks, largest_value(dtype, ranks), "cpu")


def contribution(rank, ranks, dtype, count):
    """What a rank puts in, element by element."""
    period = pattern(rank, largest_value(dtype, ranks))
    return period[torch.arange(count) % PERIOD].to(DTYPES[dtype])


def do(one, operation, rank, ranks, dtype, count):
    """What the library has to do, by the definition of the operation."""
    if operation == "broadcast":
        one._output.copy_(contribution(0, ranks, dtype, count))
    elif operation == "all-gather":
        one._output.copy_(torch.cat([contribution(other, ranks, dtype, count) for other in range(ranks)]))
    elif operation == "all-reduce":
        one._output.copy_(sum(contribution(other, ranks, dtype, count) for other in range(ranks)))
    else:
        total = sum(contribution(other, ranks, dtype, count * ranks) for other in range(ranks))
        one._output.copy_(total[rank * count : (rank + 1) * count])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", EXACT)
def test_a_right_result_is_right_and_one_element_that_is_not_is_found(operation, dtype):
    one = exchange(operation, dtype=dtype)
    one.prepare()
    assert one.wrong() is not None  # nothing was done yet
    do(one, operation, 1, 3, dtype, COUNT)
    assert one.wrong() is None
    for index in (0, PERIOD, 2 * PERIOD + 5, one._output.numel() - 1):
        right = one._output[index].item()
        one._output[index] = right + 1
        wrong = one.wrong()
        assert (wrong["index"], wrong["expected"], float(wrong["found"])) == (index, right, right + 1)
        one._output[index] = right


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_block_that_was_never_written_or_went_astray_is_found(operation):
    one = exchange(operation, rank=2, count=4 * PERIOD)
    do(one, operation, 2, 3, "fp32", 4 * PERIOD)
    right = one._output.clone()
    one._output[8192:16384] = POISON
    assert one.wrong()["index"] == 8192
    one._output.copy_(torch.roll(right, 4096))
    assert one.wrong() is not None


def test_outputs_are_poisoned_before_each_operation_and_inputs_are_what_a_rank_contributes():
    for operation in OPERATIONS:
        one = exchange(operation)
        do(one, operation, 1, 3, "fp32", COUNT)
        one.prepare()
        own = contribution(1, 3, "fp32", one._input.numel())
        assert torch.equal(one._input, torch.full_like(own, POISON) if operation == "broadcast" else own)
        assert one._output is one._input or bool((one._output == POISON).all())
    root = exchange("broadcast", rank=0)
    root.prepare()
    assert torch.equal(root._input, contribution(0, 3, "fp32", COUNT))


def test_ranks_contribute_different_numbers_and_all_of_them():
    ones = [pattern(rank, 7) for rank in range(4)]
    assert all(set(one.tolist()) == set(range(8)) for one in ones)
    assert all((ones[0] == other).float().mean() < 0.2 for other in ones[1:])


@settings(max_examples=30)
@given(st.integers(1, 3 * PERIOD), st.data())
def test_the_first_wrong_element_is_the_one_that_is_told(count, data):
    period, target = pattern(0, 100).float(), torch.empty(count)
    fill(target, period)
    assert first_wrong(target, period) is None
    places = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5))
    for place in places:
        target[place] = float("nan")
    assert first_wrong(target, period) == min(places)
