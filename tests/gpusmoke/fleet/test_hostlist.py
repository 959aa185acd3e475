"""Slurm's hostlists, held against what scontrol says and against an expansion that can't be wrong."""

import itertools
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.fleet import hostlist
from gpusmoke.fleet.hostlist import MOST, expand, fold, in_order, shortened

# As `scontrol show hostnames` of Slurm 22.05 answers; it repeats names, which here count once.
BY_SLURM = {
    "r[1-2]n[01-02]": "r1n01 r1n02 r2n01 r2n02",
    "n[001-3]": "n001 n002 n003",
    "a,,b": "a b",
    " a, b": "a b",
    "n[1,1]": "n1",
    "n[08-11]": "n08 n09 n10 n11",
    "n[1-2],n1": "n1 n2",
    "n-[1-2]": "n-1 n-2",
    "n[9-11]": "n9 n10 n11",
    "a[1]b[2]c[3-4]": "a1b2c3 a1b2c4",
}
NO_HOSTLIST = ["n[3-1]", "n[1-2", "n[]", "x[a-c]", "n[1-2]]", "n[ 1-2 ]", "n[1,]", "n[1-2-3]", "n]", "[[1]]", "a[1]b]"]


@pytest.mark.parametrize("text", BY_SLURM)
def test_it_means_to_us_what_it_means_to_slurm(text):
    assert expand(text) == BY_SLURM[text].split()


def test_names_may_go_on_behind_their_brackets():
    assert expand("a[01-03,7],b,c[1-2]-ib") == ["a01", "a02", "a03", "a7", "b", "c1-ib", "c2-ib"]


@pytest.mark.parametrize("text", NO_HOSTLIST)
def test_what_is_none_is_refused_with_the_part_that_is_wrong(text):
    with pytest.raises(ValueError, match=r"'.*' (in '.+' is no number|has a bracket)"):
        expand(text)


@pytest.mark.parametrize("text", ["n[0-1000000]", "a[1-2000]b[1-2000]", "n[0-999999999999999]"])
def test_more_names_than_any_cluster_has_are_refused_before_they_fill_the_memory(text):
    with pytest.raises(ValueError, match=f"more than {MOST}"):
        expand(text)


def test_all_parts_of_a_list_together_may_not_be_more_either(monkeypatch):
    monkeypatch.setattr(hostlist, "MOST", 10)
    assert len(expand("a[1-6],b[1-4]")) == 10
    assert len(expand("a[1-2]b[3-7]")) == len(expand("a[1-4,7,11-15]")) == 10
    with pytest.raises(ValueError, match="stands for 12 names, more than 10"):
        expand("a[1-2]b[3-8]")
    with pytest.raises(ValueError, match="more than 10 names"):
        expand("a[1-6],b[1-5]")


LITERALS = st.text(string.ascii_lowercase + "-.", max_size=3)
NUMBERS = st.integers(0, 120)
SPANS = st.tuples(NUMBERS, st.integers(0, 3), st.integers(1, 4))  # first, how many more, digits


def spelled(first, more, digits):
    """A range as it is written, and the numbers that it stands for, which are padded as the first is."""
    low = f"{first:0{digits}}"
    numbers = [str(number).zfill(len(low)) for number in range(first, first + more + 1)]
    return (f"{low}-{first + more}" if more else low), numbers


@given(st.lists(st.tuples(LITERALS, st.lists(SPANS, min_size=1, max_size=3)), min_size=1, max_size=2), LITERALS)
def test_every_list_is_the_product_of_its_brackets(parts, end):
    text, choices = "", []
    for literal, spans in parts:
        told = [spelled(*span) for span in spans]
        text += f"{literal}[{','.join(words for words, _ in told)}]"
        choices += [[literal], [number for _, numbers in told for number in numbers]]
    expected = ["".join(names) + end for names in itertools.product(*choices)]
    assert expand(text + end) == list(dict.fromkeys(expected))


DIGITS = st.sampled_from(["", "0", "1", "2", "3", "9", "10", "11", "01", "02", "09", "007", "100"])
NAMES = st.tuples(st.sampled_from(["n", "gpu-", "r1n", "r2n"]), DIGITS, st.sampled_from(["", "-ib", ".a"])).map("".join)


@given(st.sets(NAMES, max_size=30))
def test_a_folded_list_stands_for_the_same_names(names):
    assert sorted(expand(fold(names))) == sorted(names)


@given(st.lists(NAMES, max_size=30))
def test_folding_does_not_depend_on_the_order(names):
    assert fold(names) == fold(reversed(names))


def test_a_folded_list_is_short():
    assert fold(f"node{number:05}" for number in range(1, 10001)) == "node[00001-10000]"
    assert fold(["n7", "n07", "n9", "n10", "n11", "login"]) == "login,n[7,9,07,10-11]"
    assert fold(["n0", "n9", "n10"]) == "n[0,9-10]"
    assert fold(["n6", "n007"]) == "n[6,007]"


@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_name_can_be_folded_and_put_in_order(names):
    assert all(name in fold([name]) for name in names)
    assert len(sorted(names, key=in_order)) == len(names)


def test_numbers_are_in_the_order_of_their_size():
    assert sorted(["n10", "n9", "n0", "a", "n"], key=in_order) == ["a", "n", "n0", "n9", "n10"]


@given(st.text(string.ascii_letters + ",", max_size=40), st.integers(4, 50))
def test_a_shortened_list_has_room_and_says_that_it_goes_on(text, room):
    short = shortened(text, room)
    assert short == text if len(text) <= room else len(short) <= room + 1 and short.endswith("…")


@pytest.mark.parametrize(
    ("room", "short"),
    [(11, "a1,a22,a333"), (10, "a1,a22,…"), (7, "a1,a22,…"), (6, "a1,…"), (3, "a1,…"), (2, "a1…")],
)
def test_a_list_is_cut_between_names_where_one_fits(room, short):
    assert shortened("a1,a22,a333", room) == short
