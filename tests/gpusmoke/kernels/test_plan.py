"""Which kernel is chosen, and with which grid; the figures are those of real GPUs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.kernels.plan import FAMILIES, HOPPER_TILES, Plan, Problem, plan

H100, A100, RTX_4090, RTX_5090, T4 = ((9, 0), 132), ((8, 0), 108), ((8, 9), 128), ((12, 0), 170), ((7, 5), 40)
# Of a block, in bytes: https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/compute-capabilities.html
SHARED = {
    (9, 0): 227 << 10,
    (8, 0): 163 << 10,
    (8, 9): 99 << 10,
    (12, 0): 99 << 10,
    (13, 0): 99 << 10,
}  # the last is unknown, and given what all have


def planned(gpu, shape=(8192, 8192, 8192), dtype="bf16", family=None, layout="nt"):
    return plan(Problem(*gpu, dtype, shape, layout), family)


@pytest.mark.parametrize(
    ("gpu", "dtype", "kernel", "architecture"),
    [
        (H100, "bf16", "matmul_hopper_bf16_256x256_nt", "sm_90a"),
        (H100, "fp16", "matmul_hopper_fp16_256x256_nt", "sm_90a"),
        (A100, "bf16", "matmul_mma_bf16_nt", "sm_80"),
        (RTX_4090, "fp16", "matmul_mma_fp16_nt", "sm_89"),
        (RTX_5090, "bf16", "matmul_mma_bf16_nt", "sm_120"),
        (T4, "fp32", "matmul_simt_fp32", "sm_75"),
        (H100, "fp32", "matmul_simt_fp32", "sm_90"),
    ],
)
def test_the_fastest_kernel_that_the_gpu_can_have_is_chosen(gpu, dtype, kernel, architecture):
    chosen = planned(gpu, dtype=dtype)
    assert (chosen.kernel, chosen.architecture) == (kernel, architecture)


@pytest.mark.parametrize(
    ("gpu", "dtype", "family", "why"),
    [
        (T4, "bf16", None, "matmul_mma needs compute capability 8.0 or newer, and this GPU has 7.5"),
        (RTX_4090, "bf16", "hopper", "matmul_hopper needs compute capability 9.0, and this GPU has 8.9"),
        (((10, 0), 148), "bf16", "hopper", "matmul_hopper needs compute capability 9.0, and this GPU has 10.0"),
        (H100, "fp64", None, "no kernel multiplies in fp64"),
        (H100, "fp32", "mma", "matmul_mma does not multiply in fp32"),
    ],
)
def test_where_there_is_none_the_reason_is_told(gpu, dtype, family, why):
    assert planned(gpu, dtype=dtype, family=family) == why


@pytest.mark.parametrize("side", [0, 1, 2])
def test_what_a_kernel_can_not_count_is_left_to_pytorch(side):
    def long(length, dtype):
        return planned(H100, tuple(length if at == side else 8 for at in range(3)), dtype)

    most = 2**31 - 256  # so that the end of the last tile, 256 wide, is counted in 32 bits, too
    assert isinstance(long(most, "bf16"), Plan)
    assert long(most + 1, "bf16") == "the kernels count up to 2147483392, and one side of the product has 2147483393"
    columns = 128 * 65535
    assert isinstance(long(columns, "fp32"), Plan)
    many = long(columns + 1, "fp32")
    told = "matmul_simt computes up to 8388480 columns, and this product has 8388481"
    assert many == told if side == 1 else isinstance(many, Plan)


def test_a_kernel_that_was_asked_for_by_name_needs_no_excuse():
    assert planned(H100, family="mma").note is None
    assert planned(RTX_4090).note == "matmul_hopper needs compute capability 9.0, and this GPU has 8.9"


@pytest.mark.parametrize("layout", ["nt", "nn", "tn", "tt"])
def test_each_layout_has_its_kernel(layout):
    assert planned(H100, layout=layout).kernel == f"matmul_hopper_bf16_256x256_{layout}"
    assert planned(A100, layout=layout).kernel == f"matmul_mma_bf16_{layout}"


def test_a_block_has_no_more_shared_memory_than_its_gpu_gives():
    for gpu in (H100, A100, RTX_4090, RTX_5090, ((13, 0), 200)):
        for family in FAMILIES["bf16"]:
            chosen = planned(gpu, family=family)
            assert isinstance(chosen, str) or 64 << 10 < chosen.shared_bytes <= SHARED[gpu[0]]


def test_no_more_clusters_than_it_takes_to_be_done_as_soon():
    assert planned(H100).grid == (128, 1, 1)  # 1024 tiles of two blocks each: 16 for each of 64 clusters
    assert planned(H100, (8192, 8448, 8192)).grid == (132, 1, 1)  # 1056 tiles: 16 for each of 66
    assert planned(H100, (4096, 3584, 4096)).kernel == "matmul_hopper_bf16_256x256_nt"  # measured: 1.1 x the narrower


@given(st.tuples(*[st.integers(1, 20000)] * 3), st.integers(1, 200))
def test_whatever_the_shape_and_the_gpu_the_grid_covers_c_once(shape, multiprocessors):
    m, n, _ = shape
    chosen = planned(((9, 0), multiprocessors), shape)
    assert isinstance(chosen, Plan)
    tile = chosen.kernel.split("_")[3]
    rows, columns = map(int, tile.split("x"))
    cluster, clusters = HOPPER_TILES[tile][0], chosen.grid[0] // HOPPER_TILES[tile][0]
    tiles, room = math.ceil(m / rows) * math.ceil(n / columns), max(1, multiprocessors // cluster)
    assert chosen.grid == (clusters * cluster, 1, 1)
    assert 1 <= clusters <= min(tiles, room)
    assert math.ceil(tiles / clusters) == math.ceil(tiles / room)  # as few rounds as with all of them
    assert planned(A100, shape, family="mma").grid == (math.ceil(m / 128) * math.ceil(n / 256), 1, 1)
