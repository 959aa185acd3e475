"""From runs to nodes: of several runs of one command on one node the latest counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpusmoke.fleet.files import Passed, Read, Unread
from gpusmoke.fleet.hostlist import in_order
from gpusmoke.fleet.runs import Gpu, Rate, Run


class Node(NamedTuple):
    """A node with the latest run of each command, the newest first, and its earlier runs.

    A healthy doctor does not take back what soak found, but a later soak does.
    """

    name: str
    latest: tuple[Run, ...]
    earlier: tuple[Run, ...]

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs of its newest run, each with the newest of its rates in any of the latest runs."""
        newest = self.latest[0].gpus
        if len(self.latest) == 1:
            return newest
        return tuple(gpu._replace(rates=self.rates(gpu)) for gpu in newest)

    def rates(self, gpu: Gpu) -> tuple[Rate, ...]:
        """The rates of one of its GPUs in the latest runs that came to their end."""
        found: dict[str, Rate] = {}
        for run in reversed(self.latest):
            same = (one for one in run.gpus if (one.ordinal, one.uuid) == (gpu.ordinal, gpu.uuid))
            found |= {rate.what.key: rate for one in same for rate in one.rates}
        return tuple(found.values())

    @property
    def software(self) -> dict[str, str]:
        """What ran on it, and its version, by the newest run that tells it."""
        return dict(pair for run in reversed(self.latest) for pair in run.software)

    @property
    def complete(self) -> bool:
        """Whether none of its latest runs was interrupted."""
        return all(run.complete for run in self.latest)

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


def node(name: str, runs: Sequence[Run]) -> Node:
    """One node of at least one run."""
    newest_first = sorted(runs, key=lambda run: (run.started, run.path), reverse=True)
    latest = dict[str, Run]()
    for run in newest_first:
        latest.setdefault(run.command, run)
    return Node(name, tuple(latest.values()), tuple(run for run in newest_first if latest[run.command] is not run))


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
