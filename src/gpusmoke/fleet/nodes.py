"""From runs to nodes: a run takes back what earlier ones of the same command said of the GPUs that it saw itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpusmoke.fleet.files import Passed, Read, Unread
from gpusmoke.fleet.hostlist import in_order
from gpusmoke.fleet.runs import Gpu, Rate, Run


class Node(NamedTuple):
    """A node: all of its runs, and what still counts of them, both with the newest first.

    A healthy doctor does not take back what soak found, and a soak of one GPU nothing that was found on another.
    """

    name: str
    runs: tuple[Run, ...]
    latest: tuple[Run, ...]

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """Its GPUs, as the newest run saw each, with the newest of its rates in any of the latest runs."""
        if len(self.latest) == 1:
            return self.latest[0].gpus
        found, seen = list[Gpu](), set[str]()
        for run in self.latest:
            found += [gpu for gpu in run.gpus if seen.isdisjoint(gpu.marks)]
            seen |= marks(run)
        return tuple(gpu._replace(rates=self.rates(gpu)) for gpu in found)

    def seen(self, gpu: Gpu) -> list[tuple[Run, Gpu]]:
        """The latest runs that saw one of its GPUs, and as what: its number may be another in each."""
        return [(run, one) for run in self.latest for one in run.gpus if one.identity == gpu.identity]

    def rates(self, gpu: Gpu) -> tuple[Rate, ...]:
        """The newest rates of one of its GPUs, of runs that came to their end."""
        seen = [one for run, one in reversed(self.seen(gpu)) if run.complete]
        return tuple({rate.what.key: rate for one in seen for rate in one.rates}.values())

    @property
    def software(self) -> dict[str, str]:
        """What ran on it, and its version, by the newest run that tells it."""
        return dict(pair for run in reversed(self.latest) for pair in run.software)

    @property
    def complete(self) -> bool:
        """Whether the newest run of no command was interrupted."""
        return all({run.command: run.complete for run in reversed(self.runs)}.values())

    @property
    def healthy(self) -> bool:
        """Whether none of its latest runs was interrupted or found a problem."""
        return all(run.healthy for run in self.latest)


class Fleet(NamedTuple):
    """All that was read; `expected` are the nodes that should have left a record, None where nobody said."""

    nodes: dict[str, Node]
    unread: Sequence[Unread] = ()
    passed: Sequence[Passed] = ()
    expected: Sequence[str] | None = None


def marks(run: Run) -> set[str]:
    """What the GPUs of a run alone have."""
    return set[str]().union(*(gpu.marks for gpu in run.gpus))


def rest(run: Run, seen: set[str]) -> Run | None:
    """What of a run still counts after later ones that have `seen` GPUs, or None: what it says of none but those.

    What it says of no GPU in particular is taken back where all of its GPUs were seen again.
    """
    left = tuple(gpu for gpu in run.gpus if seen.isdisjoint(gpu.marks))
    if not left:
        return None
    again = {gpu.ordinal for gpu in run.gpus} - {gpu.ordinal for gpu in left}
    problems, warnings = (tuple(one for one in told if one.gpu not in again) for told in (run.problems, run.warnings))
    return run._replace(gpus=left, problems=problems, warnings=warnings)


def node(name: str, runs: Sequence[Run]) -> Node:
    """One node of at least one run."""
    newest_first = sorted(runs, key=lambda run: (run.started, run.path), reverse=True)
    latest, commands, seen = list[Run](), set[str](), dict[str, set[str]]()
    for run in newest_first:
        # One that was interrupted takes nothing back. Where another came after it, only what it had found counts.
        if run.complete or run.problems or run.command not in commands:
            left = rest(run, seen[run.command]) if run.command in seen else run
            latest += [left] if left is not None else []
        if run.complete:
            seen.setdefault(run.command, set()).update(marks(run))
        commands.add(run.command)
    return Node(name, tuple(newest_first), tuple(latest))


def fleet(read: Iterable[Read], expected: Sequence[str] | None = None) -> Fleet:
    """The fleet that was read, its nodes in the order of their names, whatever the order in which they were read."""
    runs, unread, passed = dict[str, list[Run]](), list[Unread](), list[Passed]()
    for one in read:
        if isinstance(one, Run):
            runs.setdefault(one.node, []).append(one)
        elif isinstance(one, Unread):
            unread.append(one)
        else:
            passed.append(one)
    nodes = {name: node(name, runs[name]) for name in sorted(runs, key=in_order)}
    return Fleet(nodes, sorted(unread), sorted(passed), expected)
