"""The bench's choices, tried on the CPU: how many operands, which size, and what counts as the device failing."""

import pytest

torch = pytest.importorskip("torch")

from gpusmoke.measuring.dtypes import DTYPES  # noqa: E402 - needs torch
from gpusmoke.workers.bench import MOST_SETS, Device, Product, choose_shape, device_failed, unsupported  # noqa: E402


@pytest.fixture
def device():
    return Device("cpu")


@pytest.mark.parametrize(("l2_mib", "size", "sets"), [(50, 1024, 50), (50, 8, MOST_SETS), (0, 64, 2)])
def test_operands_cover_twice_the_cache_within_reason(device, l2_mib, size, sets):
    device.l2_bytes = l2_mib << 20
    product = Product(device, DTYPES["int8"], (size, size, size))
    assert product.sets == len(product.operands) == len(product.outputs) == sets


def test_outputs_start_poisoned_so_that_an_unwritten_element_shows(device):
    product = Product(device, DTYPES["fp32"], (8, 8, 8))
    product.launch(1)
    assert torch.isnan(product.outputs[0]).all()
    assert not torch.isnan(product.outputs[1]).any()
    assert not product.verify(1.0).passed


def test_a_launched_product_is_verified_and_repeats(device):
    product = Product(device, DTYPES["fp32"], (8, 8, 8))
    product.launch(0)
    checked = product.verify(1.0)
    assert checked.passed
    assert checked.repeats_equal is True


def test_without_memory_the_smallest_size_is_tried(device, monkeypatch):
    monkeypatch.setattr(device, "free_bytes", lambda: 0)
    assert choose_shape(device, DTYPES["fp32"]) == (1024, 1024, 1024)


def test_products_that_take_too_long_stop_the_growth(device, monkeypatch):
    monkeypatch.setattr("gpusmoke.workers.bench.LONGEST_PRODUCT_SECONDS", 0.0)
    assert choose_shape(device, DTYPES["fp32"]) == (1024, 1024, 1024)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("CUDA error: an illegal memory access was encountered", True),
        ("CUDA error: uncorrectable ECC error encountered", True),
        ("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmulAlgoGetHeuristic`", False),
        ("mat2 shape (304x200) must be divisible by 16", False),
    ],
)
def test_a_failing_device_is_told_from_a_combination_that_is_not_offered(text, failed):
    assert device_failed(RuntimeError(text)) is failed


def test_out_of_memory_is_the_device_failing():
    assert device_failed(torch.OutOfMemoryError("CUDA out of memory"))


@pytest.mark.parametrize(
    ("capability", "names"), [((7, 0), "fp16 fp32 fp64"), ((8, 6), "bf16 fp16 int8 tf32 fp32 fp64")]
)
def test_formats_that_the_hardware_lacks_are_not_tried(device, capability, names):
    device.kind, device.capability = "cuda", capability
    assert " ".join(name for name, dtype in DTYPES.items() if unsupported(device, dtype) is None) == names
