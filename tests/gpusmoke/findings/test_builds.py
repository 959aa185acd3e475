"""What builds need: the rules for drivers and cards, and the table behind them."""

import re
import tomllib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.findings.builds import (
    architectures,
    branch,
    builds,
    code,
    cuda_of_build,
    is_cpu,
    is_new_enough,
    lowest_driver,
    runs_on,
)
from gpusmoke.findings.platforms import version

TABLE = tomllib.loads((files("gpusmoke") / "data/builds.toml").read_text(encoding="utf-8"))
CUDA12, CUDA13 = architectures("conda-forge", "12"), architectures("conda-forge", "13.0")
part = st.integers(0, 999)
minor = st.integers(0, 9)
major = st.integers(1, 20)


@pytest.mark.parametrize("row", [*TABLE["toolkit"], *TABLE["compatibility"], *TABLE["build"]])
def test_every_row_has_its_source(row):
    assert row["source"].startswith("https://")


def test_newer_toolkits_need_newer_drivers():
    for column in ("linux", "windows"):
        rows = [row for row in TABLE["toolkit"] if column in row]
        assert sorted(rows, key=lambda row: version(row["cuda"])) == rows
        assert sorted(rows, key=lambda row: version(row[column])) == rows


def test_every_architecture_is_one_and_the_newest_build_comes_first():
    assert all(code(entry) for build in builds() for entry in build.architectures)
    newest = [version(build.cuda) for build in builds()]
    assert newest == sorted(newest, reverse=True)
    assert [build.string for build in builds()] == ["cuda130", "cuda129", "cuda128", "cuda126"]


@pytest.mark.parametrize(
    ("build", "cuda", "cpu"),
    [
        ("cuda130_mkl_py314_h5d99997_300", "13.0", False),
        ("cuda129_generic_py312_he96de2d_203", "12.9", False),
        ("py3.11_cuda12.1_cudnn8.9.2_0", "12.1", False),
        ("cu126", "12.6", False),
        ("cpu_mkl_py314_h8b22790_100", None, True),
        ("py3.11_cpu_0", None, True),
        ("cpu", None, True),
        ("", None, False),
        ("pyhd8ed1ab_0", None, False),
    ],
)
def test_what_a_build_string_says(build, cuda, cpu):
    assert (cuda_of_build(build), is_cpu(build)) == (cuda, cpu)


def test_architectures_by_version_and_by_major():
    assert CUDA13 == ("7.5", "8.0", "8.6", "9.0", "10.0", "11.0", "12.0+PTX")
    assert architectures("conda-forge", "13") == CUDA13
    assert architectures("conda-forge", "12.9") == CUDA12
    assert architectures("conda-forge", "12.6")[-1] == "9.0+PTX"
    assert architectures("conda-forge", "12.1") is None
    assert architectures("PyPI", "13.0") is None


@pytest.mark.parametrize(
    ("card", "cuda12", "cuda13"),
    [
        ("5.2", True, False),
        ("6.1", True, False),
        ("7.0", True, False),
        ("7.5", True, True),
        ("8.6", True, True),
        ("8.9", True, True),
        ("9.0", True, True),
        ("10.3", True, True),
        ("11.0", False, True),
        ("12.1", True, True),
        ("3.5", False, False),
        ("7.2", None, None),
        ("8.7", None, None),
    ],
)
def test_which_card_runs_on_which_build(card, cuda12, cuda13):
    """The table of the projects' own notes, card by card; none of these needs PTX."""
    for jit in (False, True):
        assert runs_on(card, CUDA12, jit=jit) is cuda12
        assert runs_on(card, CUDA13, jit=jit) is cuda13


def test_ptx_runs_on_newer_cards_with_a_driver_as_new_as_its_toolkit():
    assert runs_on("13.0", CUDA13, jit=True) is True
    assert runs_on("13.0", CUDA13, jit=False) is False
    assert runs_on("11.0", ["12.0+PTX"], jit=True) is False


def test_lists_as_pytorch_gives_them():
    assert runs_on("12.1", ["sm_75", "sm_120", "compute_120"], jit=False) is True
    assert runs_on("13.0", ["sm_75", "sm_120", "compute_120"], jit=True) is True
    assert runs_on("9.0", ["compute_90"], jit=False) is False
    assert runs_on("9.0", ["sm_90a"], jit=False) is True
    assert runs_on("10.3", ["sm_100a"], jit=True) is False
    assert runs_on("10.3", ["sm_100f"], jit=False) is True
    assert runs_on("9.0", ["gfx90a", ""], jit=True) is False


cards = st.builds("{}.{}".format, major, minor).filter(lambda card: card not in ("7.2", "8.7"))


@given(cards, cards)
def test_machine_code_runs_on_its_own_major_from_its_minor_on(card, entry):
    (a, b), (c, d) = version(card), version(entry)
    assert runs_on(card, [entry], jit=True) is (a == c and b >= d)
    assert runs_on(card, [f"{entry}+PTX"], jit=True) is ((a, b) >= (c, d))
    assert runs_on(card, [f"sm_{c}{d}"], jit=False) is runs_on(card, [entry], jit=False)


@given(cards, st.lists(cards, max_size=6), cards)
def test_a_longer_list_never_runs_on_fewer_cards(card, entries, more):
    if runs_on(card, entries, jit=True):
        assert runs_on(card, [*entries, more], jit=True)


@given(st.text(), st.lists(st.text()), st.booleans())
def test_nothing_that_is_written_makes_it_raise(card, entries, jit):
    assert runs_on(card, entries, jit=jit) in (True, False, None)
    assert cuda_of_build(card) is None or re.fullmatch(r"\d+\.\d", cuda_of_build(card))


@pytest.mark.parametrize(
    ("system", "declared", "built", "lowest"),
    [
        ("linux", "12.0", "12.9", "525.60.13"),
        ("linux", None, "12.9", "525.60.13"),
        ("linux", "12.4", "12.9", "550.54.14"),
        ("linux", "12.7", "12.9", "560.28.03"),
        ("linux", "13.0", "12.9", "580.65.06"),
        ("linux", "12.0", "13.0", "580.65.06"),
        ("linux", "13.9", "13.0", "610.43.02"),
        ("linux", "11.2", None, "450"),
        ("win", "12.0", "12.8", "527.41"),
        ("win", "13.0", "13.0", None),
        ("linux", "14.0", "13.0", None),
        ("linux", None, None, None),
    ],
)
def test_the_lowest_driver_meets_what_is_declared_and_what_was_built(system, declared, built, lowest):
    assert lowest_driver(system, declared, built) == lowest


def test_where_windows_has_no_figure_the_branch_is_known():
    assert branch("win", "13.0", "13.0") == "580"
    assert branch("win", "12.0", "12.8") == "527.41"
    assert branch("win", "14.0", None) is None


@pytest.mark.parametrize(
    ("driver", "enough"),
    [("525.60.13", True), ("525.60", True), ("525", True), ("525.60.12", False), ("524.99", False), ("580", True)],
)
def test_a_driver_is_compared_as_far_as_it_was_told(driver, enough):
    assert is_new_enough(driver, "525.60.13") is enough


@given(part, part, part, part, part, part)
def test_drivers_compare_by_number(a, b, c, d, e, f):
    assert is_new_enough(f"{a}.{b}.{c}", f"{d}.{e}.{f}") is ((a, b, c) >= (d, e, f))
    assert is_new_enough(str(a), f"{d}.{e}.{f}") is (a >= d)
