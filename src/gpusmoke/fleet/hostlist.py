"""Slurm's hostlists: node[001-003,7],login stands for node001, node002, node003, node7 and login.

As `scontrol show hostnames` has it (Slurm 22.05), and one thing more: a name may go on behind its brackets, as in
node[1-2]-ib.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator

MOST = 1_000_000  # names that one list may stand for: no cluster has so many nodes, and a typo soon has more
DIGITS = r"[0-9]{1,15}"

WORD = re.compile(r"(?:[^\[\],\s]|\[[^\[\]]*\])+(?=[,\s]|$)")
RANGE = re.compile(rf"({DIGITS})(?:-({DIGITS}))?")
NUMBERED = re.compile(rf"([^\[\],\s]*?)({DIGITS})([^0-9\[\],\s]*)")


def expand(text: str) -> list[str]:
    """The names that a hostlist stands for, each once, in its order.

    Raises ValueError, which says what is wrong, where it is none or stands for more than MOST names.
    """
    names = dict[str, None]()
    rest = text.lstrip(", \t\r\n")
    while rest:
        if (word := WORD.match(rest)) is None:
            raise ValueError(f"{rest[:40]!r} has a bracket that is not closed, or not opened")
        names |= dict.fromkeys(expanded(word[0]))
        if len(names) > MOST:
            raise ValueError(f"{text[:40]!r} stands for more than {MOST} names")
        rest = rest[word.end() :].lstrip(", \t\r\n")
    return list(names)


def expanded(word: str) -> Iterator[str]:
    """The names of one part of a list. Raises ValueError as `expand` does."""
    pieces = re.split(r"\[([^\[\]]*)\]", word)  # by turns outside and inside of brackets
    ranges = [[span(one, word) for one in inside.split(",")] for inside in pieces[1::2]]
    count = math.prod(sum(last - first + 1 for first, last, _ in spans) for spans in ranges)
    if count > MOST:
        raise ValueError(f"{word[:40]!r} stands for {count} names, more than {MOST}")
    numbers = [
        [f"{one:0{width}}" for first, last, width in spans for one in range(first, last + 1)] for spans in ranges
    ]
    between = pieces[2::2]
    for chosen in itertools.product(*numbers):
        yield pieces[0] + "".join(f"{number}{after}" for number, after in zip(chosen, between, strict=True))


def span(text: str, word: str) -> tuple[int, int, int]:
    """A number or a range in brackets as (first, last, digits). Raises ValueError where it is none."""
    found = RANGE.fullmatch(text)
    first, last = (found[1], found[2] or found[1]) if found else ("1", "0")
    if int(first) > int(last):
        raise ValueError(f"{text!r} in {word[:40]!r} is no number and no range of numbers")
    return int(first), int(last), len(first)


def fold(names: Iterable[str]) -> str:
    """The hostlist of these names, sorted; their last number is what is put into brackets."""
    numbers: dict[tuple[str, str], set[str]] = {}
    plain = list[str]()
    for name in set(names):
        if found := NUMBERED.fullmatch(name):
            numbers.setdefault((found[1], found[3]), set()).add(found[2])
        else:
            plain.append(name)
    parts = [((before, after), folded(before, held, after)) for (before, after), held in numbers.items()]
    return ",".join(part for _, part in sorted([*parts, *(((name, ""), name) for name in plain)]))


def folded(before: str, digits: set[str], after: str) -> str:
    """Names that differ in one number."""
    if len(digits) == 1:
        return f"{before}{min(digits)}{after}"
    # 7 and 07 are two names. 10 belongs to 09 where that is among them, else to 9.
    widths = {len(one) for one in digits if one.startswith("0") and one != "0"}
    keyed = sorted((len(one) if len(one) in widths else 0, int(one)) for one in digits)
    runs: list[tuple[int, int, int]] = []
    for width, number in keyed:
        if runs and runs[-1][0] == width and runs[-1][2] == number - 1:
            runs[-1] = (width, runs[-1][1], number)
        else:
            runs.append((width, number, number))
    told = (f"{a:0{width}}" if a == b else f"{a:0{width}}-{b:0{width}}" for width, a, b in runs)
    return f"{before}[{','.join(told)}]{after}"


@functools.lru_cache(maxsize=1 << 17)  # a fleet's nodes are sorted a dozen times
def in_order(name: str) -> tuple[tuple[str, int], ...]:
    """A key to sort names by, in which node2 comes before node10."""
    return tuple((text, int(digits or -1)) for text, digits in re.findall(rf"([^0-9]*)({DIGITS})?", name))


def shortened(hostlist: str, room: int) -> str:
    """A hostlist that fits, cut behind a comma where it is too long, which an ellipsis tells."""
    if len(hostlist) <= room:
        return hostlist
    cut = hostlist.rfind(",", 0, room) + 1 or room
    return f"{hostlist[:cut]}…"
