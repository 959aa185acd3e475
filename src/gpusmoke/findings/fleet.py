"""What many machines' records mean together: the rules of `fleet`. The worst comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gpusmoke.findings import finding, skew, slow
from gpusmoke.fleet.lines import Line, line, some
from gpusmoke.fleet.nodes import Fleet, Node
from gpusmoke.fleet.runs import Told
from gpusmoke.measuring.outliers import FEWEST

BAD = ("problem", "warning")


def by_name(lines: Iterable[Line]) -> list[Line]:
    """The lines about most nodes first."""
    return sorted(lines, key=lambda one: -len(one.nodes))


class Trouble(NamedTuple):
    """The first problem of a node, all of its GPUs that have it, and the ids of its other problems."""

    id: str
    title: str
    gpus: tuple[int, ...]
    others: tuple[str, ...]


def trouble(node: Node) -> Trouble | None:
    """What is wrong with a node by its own records."""
    problems = [one for run in node.latest for one in run.problems]
    if not problems:
        return None
    first = problems[0]
    gpus = {one.gpu for one in problems if one.id == first.id and one.gpu is not None}
    kinds = dict.fromkeys(one.id for one in problems)
    return Trouble(first.id, first.title, tuple(sorted(gpus)), tuple(kind for kind in kinds if kind != first.id))


def of_each(node: Node, found: Trouble) -> Iterator[str]:
    """What is said of its other GPUs in other words, as evidence."""
    for run in node.latest:
        for one in run.problems:
            if one.id == found.id and one.title != found.title:
                yield f"{node.name}{'' if one.gpu is None else f' GPU {one.gpu}'}: {one.title}"


def broken(fleet: Fleet) -> Iterator[Line]:
    """Nodes whose own records tell of a problem; those of which the same is told together."""
    same: dict[Trouble, list[Node]] = {}
    for node in fleet.nodes.values():
        if found := trouble(node):
            same.setdefault(found, []).append(node)
    for found, nodes in same.items():
        paths = [run.path for node in nodes for run in node.latest if run.problems]
        yield line(
            "node-broken",
            [node.name for node in nodes],
            found.gpus,
            [*some([text for node in nodes for text in of_each(node, found)]), *some(paths)],
            problem=found.id,
            text=found.title,
            more=f" And {', '.join(found.others)}." if found.others else "",
            path=paths[0],
        )


def missing(fleet: Fleet) -> Iterator[Line]:
    """Expected nodes without a record; of one with a damaged record something is told already."""
    named = {*fleet.nodes, *(one.node for one in fleet.unread)}
    names = [name for name in fleet.expected or () if name not in named]
    if names:
        yield line("node-missing", names, count=len(names), total=len(fleet.expected or ()))


def damaged(fleet: Fleet) -> Iterator[Line]:
    """Files that told nothing; those that have the same reason together."""
    same: dict[str, list[tuple[str, str]]] = {}
    for one in fleet.unread:
        same.setdefault(one.why, []).append((one.node, one.path))
    for why, found in same.items():
        paths = [path for _, path in found]
        names = dict.fromkeys(node for node, _ in found)
        yield line("record-damaged", names, (), some(paths), files=files(paths), why=why, path=paths[0])


def others_broken(fleet: Fleet) -> Iterator[Line]:
    """Records that tell of no machine, or of several, and of a problem; those that tell of the same together."""
    same: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for one in fleet.passed:
        if one.problems:
            same.setdefault((one.command, one.problems), []).append(one.path)
    for (command, kinds), paths in same.items():
        words = {"files": files(paths), "command": command, "problems": ", ".join(kinds), "path": paths[0]}
        yield Line(finding("record-broken", some(paths), None, **words))


def files(paths: Sequence[str]) -> str:
    """One file by its name, several as how many they are."""
    return paths[0] if len(paths) == 1 else f"each of {len(paths)} files"


def interrupted(fleet: Fleet) -> Iterator[Line]:
    """Nodes whose latest run did not come to its end."""
    nodes = [node for node in fleet.nodes.values() if not node.complete]
    if nodes:
        paths = [run.path for node in nodes for run in node.latest if not run.complete]
        yield line("node-interrupted", [node.name for node in nodes], (), some(paths), path=paths[0])


def without_gpu(fleet: Fleet) -> Iterator[Line]:
    """Nodes whose newest run saw no GPU, beside others that have some; where a problem says why, that says it."""
    nodes = fleet.nodes.values()
    names = [node.name for node in nodes if node.healthy and not node.latest[0].gpus]
    others = sum(bool(node.gpus) for node in nodes)
    if names and others:
        yield line("node-without-gpu", names, others=others, s="" if others == 1 else "s", first=names[0])


def changed(fleet: Fleet) -> Iterator[Line]:
    """Nodes of which two runs saw different GPUs in one place; two jobs are given those in different places."""
    for node in fleet.nodes.values():
        there: dict[str, tuple[str, str]] = {}  # by PCI address, the newest UUID and the record that has it
        evidence, older = list[str](), list[str]()
        for run in node.runs if len(node.runs) > 1 else ():
            for gpu in run.gpus:
                if gpu.pci and gpu.uuid:
                    uuid, path = there.setdefault(gpu.pci, (gpu.uuid, run.path))
                    if uuid != gpu.uuid:
                        evidence.append(f"PCI {gpu.pci}: {uuid} ({path}), before {gpu.uuid} ({run.path})")
                        older.append(run.path)
        if older:
            yield line("gpus-changed", [node.name], (), some(evidence), path=older[0], first=node.name)


def twins(fleet: Fleet) -> Iterator[Line]:
    """Nodes that have a GPU in common."""
    names: dict[str, list[str]] = {}
    for node in fleet.nodes.values():
        for gpu in node.gpus:
            if gpu.uuid is not None:
                names.setdefault(gpu.uuid, []).append(node.name)
    shared: dict[tuple[str, ...], list[str]] = {}
    for uuid, held in names.items():
        if len(set(held)) > 1:
            shared.setdefault(tuple(dict.fromkeys(held)), []).append(uuid)
    for held_by, uuids in shared.items():
        yield line("same-gpus", held_by, (), [f"uuid: {uuid}" for uuid in uuids])


def flaky(fleet: Fleet) -> Iterator[Line]:
    """Nodes that are healthy now and were not before; an earlier run that was merely interrupted says nothing."""
    same: dict[str, list[str]] = {}
    for node in fleet.nodes.values():
        kinds = dict.fromkeys(one.id for run in node.runs for one in run.problems)
        if kinds and node.healthy:
            same.setdefault(", ".join(kinds), []).append(node.name)
    for kind, names in same.items():
        yield line("node-flaky", names, problem=kind)


def warned(fleet: Fleet, known: set[str]) -> Iterator[Line]:
    """What the records themselves warn of, where no problem of the node is told already."""
    same: dict[str, list[tuple[Node, Told, str]]] = {}
    for node in fleet.nodes.values():
        if node.name not in known:
            for kind, (one, path) in {one.id: (one, run.path) for run in node.latest for one in run.warnings}.items():
                same.setdefault(kind, []).append((node, one, path))
    for kind, found in same.items():
        (node, one, path), *more = found
        gpus = [one.gpu] if one.gpu is not None and not more else []
        names = [node.name for node, _, _ in found]
        yield line(
            "node-warned", names, gpus, some([path for _, _, path in found]), warning=kind, text=one.title, path=path
        )


def remarks(fleet: Fleet, measured: Sequence[slow.Group]) -> Iterator[Line]:
    """What is good to know and no fault."""
    if fleet.expected is not None:
        expected = set(fleet.expected)
        if names := [name for name in fleet.nodes if name not in expected]:
            yield line("node-unexpected", names)
    if fleet.passed:
        counts = Counter(one.command for one in fleet.passed)
        commands = ", ".join(f"{count} of {command}" for command, count in sorted(counts.items()))
        yield Line(finding("records-passed-over", some([one.path for one in fleet.passed]), commands=commands))
    most: dict[str, int] = {}
    for group in measured:
        most[group.model.name] = max(most.get(group.model.name, 0), len(group.measured))
    if few := [f"{count} {name}" for name, count in sorted(most.items()) if count < FEWEST]:
        yield Line(finding("too-few-to-compare", models=", ".join(few)))


def unwell(lines: Iterable[Line], *severities: str) -> set[str]:
    """The nodes that lines of these severities name."""
    return {name for one in lines if one.finding.severity in severities for name in one.nodes}


def healthy(fleet: Fleet, lines: Sequence[Line]) -> Iterator[Line]:
    """How many nodes are named by no problem and no warning, and how many GPUs of what kind there are in all."""
    total = len({*fleet.nodes, *(fleet.expected or ()), *(one.node for one in fleet.unread)})
    well = len(fleet.nodes.keys() - unwell(lines, *BAD))
    models = Counter(gpu.model.name for node in fleet.nodes.values() for gpu in node.gpus)
    gpus = ", ".join(f"{count} {name}" for name, count in models.most_common())
    if well:
        told = f"; GPUs in all: {gpus}" if gpus else ""
        yield Line(finding("fleet-healthy", healthy=well, total=total, are="is" if well == 1 else "are", gpus=told))


def judge(fleet: Fleet, measured: Sequence[slow.Group]) -> list[Line]:
    """Every line about a fleet and its rates, the worst first."""
    lines = [
        *by_name(broken(fleet)),
        *missing(fleet),
        *damaged(fleet),
        *others_broken(fleet),
        *interrupted(fleet),
        *without_gpu(fleet),
        *slow.judge(fleet.nodes, measured),
        *skew.judge(fleet.nodes),
        *changed(fleet),
    ]
    lines += by_name(warned(fleet, unwell(lines, "problem")))
    lines += [*twins(fleet), *flaky(fleet), *remarks(fleet, measured)]
    return [*lines, *healthy(fleet, lines)]


def states(fleet: Fleet, lines: Sequence[Line]) -> Mapping[str, str]:
    """By node, the id of the worst that is told of it: the first problem or warning, or "healthy"."""
    found = dict.fromkeys(fleet.nodes, "healthy")
    for one in reversed(lines):
        if one.finding.severity in BAD:
            found |= dict.fromkeys(one.nodes, one.finding.id)
    return found
