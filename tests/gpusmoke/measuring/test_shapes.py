"""What is measured where, and that the data file holds products that can be."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.measuring.formats import ELEMENT_BYTES, ON_CPU
from gpusmoke.measuring.shapes import CUBE, CUBE_ON_CPU, LAYOUTS, SCOPES, Item, candidates, items, leading, shapes

ALL = list(ELEMENT_BYTES)
OTHERS = ALL[1:]
NT = ["NT"]
SHAPE = st.tuples(*[st.integers(1, 9_999_999)] * 3)


@pytest.mark.parametrize("name", ["default", "quick", "model"])
def test_each_listed_shape_is_a_product_that_tensor_cores_take_and_stands_there_once(name):
    listed = shapes(name)
    assert listed
    assert len(set(listed)) == len(listed)
    for shape in listed:
        assert len(shape) == 3
        assert all(isinstance(size, int) and size > 0 and size % 16 == 0 for size in shape)
        assert 3 * 2 * max(m * n for m, n in zip(shape, (*shape[1:], shape[0]), strict=True)) < 16 << 30


def test_what_people_quote_is_measured_and_models_shapes_are_their_own():
    assert CUBE in shapes("default")
    assert CUBE in shapes("quick")
    assert set(shapes("quick")) <= set(shapes("default"))
    assert len(shapes("model")) >= 10


def test_the_search_has_something_to_choose_from():
    found = candidates()
    assert len(set(found)) == len(found) == 5 * 6 * 4
    assert all(size % 128 == 0 for shape in found for size in shape)
    assert min(math.prod(shape) for shape in found) >= 1024 * 2816 * 4096


def test_by_default_the_leading_format_has_several_shapes_and_every_other_one_a_cube():
    chosen = items(ALL, None, NT, "default", on_cpu=False)
    assert [item.shape for item in chosen if item.dtype == "bf16"] == shapes("default")
    assert chosen[len(shapes("default")) :] == [Item(name, CUBE) for name in OTHERS]


def test_quick_is_two_products_in_one_format():
    assert items(ALL, None, NT, "quick", on_cpu=False) == [Item("bf16", shape) for shape in shapes("quick")]
    assert len(shapes("quick")) == 2


def test_smoke_is_quick_and_the_other_format_that_it_asks_for():
    assert items(["bf16", "fp32"], None, NT, "smoke", on_cpu=False) == [
        *(Item("bf16", shape) for shape in shapes("quick")),
        Item("fp32", CUBE),
    ]


def test_full_has_the_models_shapes_and_the_cube_in_every_layout():
    chosen = items(ALL, None, NT, "full", on_cpu=False)
    first = [item for item in chosen if item.dtype == "bf16"]
    assert {item.shape for item in first} == {*shapes("default"), *shapes("model")}
    assert [item.layout for item in first if item.shape == CUBE] == list(LAYOUTS)
    assert {item.layout for item in chosen if item.shape != CUBE} == {"NT"}
    one = items(ALL, None, ["NN"], "full", on_cpu=False)
    assert {item.layout for item in one} == {"NN"}  # what was asked for stays


def test_a_cpu_is_given_one_small_cube_in_each_of_its_formats():
    for scope in ("default", "smoke", "full"):
        assert items(list(ON_CPU), None, NT, scope, on_cpu=True) == [Item(name, CUBE_ON_CPU) for name in ON_CPU]
    assert items(list(ON_CPU), None, NT, "quick", on_cpu=True) == [Item("bf16", CUBE_ON_CPU)]


@pytest.mark.parametrize(
    ("runnable", "first"),
    [(["fp16", "fp32"], "fp16"), (["fp32", "fp64"], "fp32"), (["int8", "bf16"], "bf16"), (["fp8"], "fp8")],
)
def test_a_device_without_bf16_leads_with_what_it_has(runnable, first):
    assert leading(runnable) == first
    chosen = items(runnable, None, NT, "default", on_cpu=False)
    assert [item.dtype for item in chosen[: len(shapes("default"))]] == [first] * len(shapes("default"))
    assert {item.dtype for item in chosen} == set(runnable)


@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_asked_for_is_measured_as_it_is_in_every_format_and_layout(scope):
    asked = [(300, 200, 100), (64, 64, 64)]
    chosen = items(["bf16", "fp8"], asked, ["NT", "TN"], scope, on_cpu=False)
    assert len(chosen) == len(set(chosen)) == 2 * 2 * 2
    assert {(item.dtype, item.layout, item.shape) for item in chosen} == {
        (dtype, layout, shape) for dtype in ("bf16", "fp8") for layout in ("NT", "TN") for shape in asked
    }
    assert all(item.fixed for item in chosen)


@given(
    st.lists(st.sampled_from(ALL), unique=True),
    st.none() | st.lists(SHAPE, min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(LAYOUTS), min_size=1, unique=True),
    st.sampled_from(SCOPES),
    st.booleans(),
)
def test_whatever_is_asked_for_each_product_is_listed_once_and_formats_stand_together(
    runnable, asked, layouts, scope, on_cpu
):
    chosen = items(runnable, asked, layouts, scope, on_cpu)
    assert len(set(chosen)) == len(chosen)
    assert bool(chosen) is bool(runnable)
    assert {item.dtype for item in chosen} <= set(runnable)
    changes = sum(one.dtype != other.dtype for one, other in itertools.pairwise(chosen))
    assert changes == max(0, len({item.dtype for item in chosen}) - 1)
    assert all(item.fixed is bool(asked) for item in chosen)
    assert {item.layout for item in chosen} >= (set(layouts) if chosen else set())
