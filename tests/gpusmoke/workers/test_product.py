"""One product on the CPU: right in every layout, poisoned before, verified after, and made smaller where it must be."""

import contextlib
import math

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from gpusmoke.measuring.dtypes import DTYPES, set_precision  # noqa: E402 - needs torch
from gpusmoke.measuring.shapes import CUBE, LAYOUTS, Item, candidates, shapes  # noqa: E402
from gpusmoke.workers import product as module  # noqa: E402
from gpusmoke.workers.device import Device  # noqa: E402
from gpusmoke.workers.product import (  # noqa: E402
    LONGEST_PRODUCT_SECONDS,
    MEMORY_SHARE,
    MOST_SETS,
    SMALLEST,
    Product,
    bytes_needed,
    fits,
    guess,
    scaled,
)


@pytest.fixture
def device():
    return Device("cpu")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["bf16", "fp32", "fp64"])
def test_every_layout_gives_the_right_product_and_is_stored_as_its_name_says(device, name, layout):
    set_precision(name)
    product = Product(device, Item(name, (48, 33, 20), layout))
    a, b = product.operands[1]
    assert (a.shape, b.shape) == ((48, 20), (33, 20))
    assert a.is_contiguous() is (layout[0] == "N")  # M x K, row-major
    assert b.is_contiguous() is (layout[1] == "T")  # N x K: a linear layer's weight
    product.launch(0)
    product.launch(1)
    exact = a.double() @ b.double().t()
    assert torch.allclose(product.outputs[1].double(), exact, rtol=2**-7, atol=1e-2)
    checked = product.verify(9.0)
    assert checked.passed
    assert checked.repeats_equal is True


@pytest.mark.parametrize(("l2_mib", "size", "sets"), [(50, 1024, 50), (50, 8, MOST_SETS), (0, 64, 2)])
def test_operands_cover_twice_the_cache_within_reason(device, l2_mib, size, sets):
    device.l2_bytes = l2_mib << 20
    product = Product(device, Item("int8", (size, size, size)))
    assert product.sets == len(product.operands) == len(product.outputs) == sets


def test_launches_rotate_over_all_sets(device):
    device.l2_bytes = 64 * 64 * 4 * 5
    seen = []
    product = Product(device, Item("fp32", (64, 64, 64)), lambda a, b, out: seen.append(out.data_ptr()))
    assert product.sets == 5
    for number in range(11):
        product.launch(number)
    assert seen[:5] == [out.data_ptr() for out in product.outputs]
    assert seen[5:10] == seen[:5]
    assert len({a.data_ptr() for a, _ in product.operands}) == 5


def test_outputs_start_poisoned_so_that_an_unwritten_element_shows(device):
    product = Product(device, Item("fp32", (8, 8, 8)))
    product.launch(1)
    assert torch.isnan(product.outputs[0]).all()
    assert not torch.isnan(product.outputs[1]).any()
    assert not product.verify(1.0).passed
    integers = Product(device, Item("int8", (32, 32, 32)))
    assert (integers.outputs[0] == -1).all()


def test_one_element_never_written_fails(device):
    def lazy(a, b, out):
        kept = out[3, 5].clone()
        torch.mm(a, b.t(), out=out)
        out[3, 5] = kept

    product = Product(device, Item("fp32", (16, 16, 16)), lazy)
    product.launch(0)
    checked = product.verify(1.0)
    assert not checked.passed
    assert checked.repeats_equal is True


def test_a_repeat_with_other_bits_fails_though_both_are_within_the_bound(device):
    calls = []

    def unsteady(a, b, out):
        torch.mm(a, b.t(), out=out)
        calls.append(1)
        out.view(torch.int32)[3, 5] ^= len(calls) & 1

    set_precision("fp32")
    product = Product(device, Item("fp32", (16, 16, 16)), unsteady)
    product.launch(0)
    checked = product.verify(1.0)
    assert checked.error <= checked.bound
    assert (checked.passed, checked.repeats_equal) == (False, False)


def test_the_rate_counts_two_operations_for_each_multiply_add(device):
    product = Product(device, Item("fp32", (10, 20, 30)))
    assert product.rate(1e-6) == pytest.approx(2 * 10 * 20 * 30 / 1e-6 / 1e12)


@pytest.mark.parametrize(("each", "batch"), [(10e-6, 7), (60e-6, 1)])
def test_what_is_too_short_to_be_launched_one_by_one_becomes_a_graph_of_all_sets(monkeypatch, device, each, batch):
    """With a graph of our own, since the CPU has none: what is recorded is what `replay` repeats."""
    recorded, running = [], []

    class Graph:
        def replay(self):
            running.extend(recorded)

    @contextlib.contextmanager
    def graph(_graph):
        before = len(running)
        yield
        recorded.extend(running[before:])

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(module, "estimate", lambda launch, timer: launch(0) or each)
    device.l2_bytes, device.kind = 32 * 32 * 4 * 7, "cuda"
    product = Product(device, Item("fp32", (32, 32, 32)), lambda a, b, out: running.append(out.data_ptr()))
    assert product.prepare() == each
    assert product.batch == batch
    running.clear()
    product.launch(3)
    everyone = [out.data_ptr() for out in product.outputs]
    assert running == (everyone if batch == 7 else [everyone[3]])
    assert product.rate(each) == pytest.approx(batch * product.flop / each / 1e12)


def test_memory_is_counted_with_what_verification_takes():
    dtype, (m, n, k) = DTYPES["bf16"], (1024, 2048, 4096)
    two_sets = 2 * 2 * (m * k + n * k + m * n)
    assert bytes_needed(dtype, (m, n, k)) == two_sets + 8 * (n * k + 3 * 1024 * k)
    assert bytes_needed(dtype, (m, n, k), l2_bytes=50 << 20) > 2 * two_sets


def paced(monkeypatch, per_flop, free=79 << 30, host=0.0, probed=None):
    """A device of that speed (seconds per operation) and memory, with a host that takes so long for each launch."""
    monkeypatch.setattr(module, "estimate", lambda flop, timer: max(host, per_flop * flop))
    monkeypatch.setattr(module, "Product", lambda device, item: Probe(item, [] if probed is None else probed))
    device = Device("cpu")
    device.free_bytes = lambda: free
    return device


class Probe:
    """Launched it would be so many operations; `probed` keeps what is."""

    def __init__(self, item, probed):
        self.launch = 2 * math.prod(item.shape)
        probed.append(item)


ALL_SHAPES = [*shapes("default"), *shapes("model"), *candidates(), (16384,) * 3]
H100 = 1 / 700e12


@pytest.mark.parametrize("shape", ALL_SHAPES[:20], ids=str)
def test_a_large_gpu_measures_every_shape_as_it_is_listed(monkeypatch, shape):
    device = paced(monkeypatch, H100)
    assert scaled(device, Item("bf16", shape, "TN")) == Item("bf16", shape, "TN")


@pytest.mark.parametrize(
    ("per_flop", "free", "size"),
    [
        (1 / 12e12, 79 << 30, 4096),  # 92 ms for a cube of 8192, 11 ms for one of 4096
        (1 / 1e12, 79 << 30, 2048),
        (1 / 1e9, 79 << 30, SMALLEST),
        (H100, 3 << 30, 8192),
        (H100, 1 << 30, 4096),
        (H100, 0, SMALLEST),
    ],
)
def test_a_cube_is_halved_until_it_fits_memory_and_time(monkeypatch, per_flop, free, size):
    device = paced(monkeypatch, per_flop, free)
    assert scaled(device, Item("bf16", CUBE)) == Item("bf16", (size,) * 3)


def test_a_host_that_is_slow_to_launch_makes_nothing_smaller(monkeypatch):
    """0.12 ms for a cube of 1024 are 60 ms for one of 8192, and an H100 needs a hundredth of either."""
    probed = []
    device = paced(monkeypatch, H100, host=0.2e-3, probed=probed)
    assert scaled(device, Item("bf16", CUBE)) == Item("bf16", CUBE)
    assert [item.shape for item in probed] == [(1024,) * 3, (2048,) * 3]
    assert guess(paced(monkeypatch, H100, host=0.9e-3), Item("bf16", CUBE, fixed=True), 0.02) < 0.02


def test_a_product_that_can_not_be_larger_is_judged_by_itself(monkeypatch):
    probed, small = [], Item("bf16", (300, 200, 100), fixed=True)
    assert guess(paced(monkeypatch, H100, host=0.2e-3, probed=probed), small, 0.0) == pytest.approx(0.2e-3)
    assert probed == [small]


def test_what_takes_long_is_believed_and_what_has_no_room_is_not_tried(monkeypatch):
    for per_flop, free, shapes_probed in [
        (1 / 1e11, 79 << 30, [(1024,) * 3]),  # 21 ms
        (1 / 12e12, 79 << 30, [(1024,) * 3, (2048,) * 3, (4096,) * 3]),  # 0.2, 1.4 and 11 ms
        (1 / 12e12, 300 << 20, [(1024,) * 3, (2048,) * 3]),
    ]:
        probed = []
        scaled(paced(monkeypatch, per_flop, free, probed=probed), Item("bf16", CUBE))
        assert [item.shape for item in probed] == shapes_probed


@settings(max_examples=60)
@given(st.sampled_from(ALL_SHAPES), st.floats(1e-15, 1e-8), st.integers(0, 80 << 30))
def test_what_is_left_fits_or_is_as_small_as_the_smallest_cube(shape, per_flop, free):
    with pytest.MonkeyPatch.context() as monkeypatch:
        device = paced(monkeypatch, per_flop, free)
        found = scaled(device, Item("bf16", shape))
    m, n, k = found.shape
    halvings = shape[0] // m
    assert (m, n, k) == tuple(size // halvings for size in shape)
    assert bin(halvings).count("1") == 1
    if m * n * k > SMALLEST**3:
        assert bytes_needed(DTYPES["bf16"], found.shape) <= MEMORY_SHARE * free
        assert per_flop * 2 * m * n * k <= LONGEST_PRODUCT_SECONDS
    if halvings > 1:  # no smaller than it has to be
        larger = (2 * m, 2 * n, 2 * k)
        too_large = bytes_needed(DTYPES["bf16"], larger) > MEMORY_SHARE * free
        assert too_large or per_flop * 16 * m * n * k > LONGEST_PRODUCT_SECONDS


def test_a_small_product_is_left_as_it_is(device):
    assert scaled(device, Item("fp32", (300, 200, 100))) == Item("fp32", (300, 200, 100))
    assert fits(device, Item("fp32", (300, 200, 100)))


@pytest.mark.parametrize(
    "shape",
    [(8192, 8192, 8192), (16, 65536, 65536), (10000, 10000, 10000), (1, 1, 9_999_999), (300, 200, 100)],
    ids=str,
)
def test_a_guess_is_made_on_a_small_product_of_the_same_kind(monkeypatch, shape):
    """A narrow one is bound by memory, so a cube would say nothing of it; sizes stay multiples where they were."""
    probed, asked = [], Item("fp8", shape, "TN", fixed=True)
    monkeypatch.setattr(module, "Product", lambda device, item: Probe(item, probed))
    monkeypatch.setattr(module, "estimate", lambda launch, timer: 0.001)
    seconds = guess(Device("cpu"), asked, math.inf)
    (probe,) = probed
    assert (probe.dtype, probe.layout) == ("fp8", "TN")
    m, n, k = probe.shape
    assert m * n * k <= SMALLEST**3
    assert seconds == pytest.approx(0.001 * shape[0] * shape[1] * shape[2] / (m * n * k))
    for size, asked_for in zip(probe.shape, shape, strict=True):
        assert size == asked_for or size % 128 == 0
    if max(shape) ** 3 > SMALLEST**3 and min(shape) > 1:
        assert 8 * m * n * k > SMALLEST**3 * 0.5  # hardly smaller than it has to be
