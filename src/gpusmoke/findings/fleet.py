"""What many machines' records mean together: the rules of `fleet`. The worst comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpusmoke.findings import finding, skew, slow
from gpusmoke.fleet.lines import Line, line, some
from gpusmoke.fleet.nodes import Fleet, Node
from gpusmoke.fleet.runs import Told
from gpusmoke.measuring.outliers import FEWEST

BAD = ("problem", "warning")


def by_name(lines: Iterable[Line]) -> list[Line]:
    """The lines about most nodes first."""
    return sorted(lines, key=lambda one: -len(one.nodes))


def first_problem(node: Node) -> tuple[Told, Sequence[Told]] | None:
    """The first problem of the node's latest runs, and the others."""
    problems = [one for run in node.latest for one in run.problems]
    return (problems[0], problems[1:]) if problems else None


def broken(fleet: Fleet) -> Iterator[Line]:
    """Nodes whose own records tell of a problem; those of which the same is told together."""
    same: dict[tuple[Told, str], list[Node]] = {}
    for node in fleet.nodes.values():
        if held := first_problem(node):
            first, others = held
            kinds = [kind for kind in dict.fromkeys(one.id for one in others) if kind != first.id]
            more = f" And {', '.join(kinds)}." if kinds else ""
            same.setdefault((first, more), []).append(node)
    for (first, more), nodes in same.items():
        yield line(
            "node-broken",
            [node.name for node in nodes],
            [] if first.gpu is None else [first.gpu],
            some([run.path for node in nodes for run in node.latest if run.problems]),
            problem=first.id,
            text=first.title,
            more=more,
            path=next(run.path for run in nodes[0].latest if run.problems),
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
    for why, files in same.items():
        path = files[0][1]
        told = path if len(files) == 1 else f"each of {len(files)} files"
        names = dict.fromkeys(node for node, _ in files)
        yield line("record-damaged", names, (), some([path for _, path in files]), files=told, why=why, path=path)


def interrupted(fleet: Fleet) -> Iterator[Line]:
    """Nodes whose latest run did not come to its end."""
    nodes = [node for node in fleet.nodes.values() if not node.complete]
    if nodes:
        paths = [run.path for node in nodes for run in node.latest if not run.complete]
        yield line("node-interrupted", [node.name for node in nodes], (), some(paths), path=paths[0])


def without_gpu(fleet: Fleet) -> Iterator[Line]:
    """Nodes without a GPU beside others that have some; where a problem says why, that says it."""
    nodes = fleet.nodes.values()
    names = [node.name for node in nodes if node.healthy and not node.gpus]
    others = sum(bool(node.gpus) for node in nodes)
    if names and others:
        yield line("node-without-gpu", names, others=others, first=names[0])


def changed(fleet: Fleet) -> Iterator[Line]:
    """Nodes of which two runs saw different GPUs; where one saw only some of the others', its job was given fewer."""
    for node in fleet.nodes.values():
        newest, *others = sorted((*node.latest, *node.earlier), key=lambda run: run.started, reverse=True)
        now = {gpu.uuid for gpu in newest.gpus if gpu.uuid}
        for run in others:
            then = {gpu.uuid for gpu in run.gpus if gpu.uuid}
            if now - then and then - now:
                evidence = [f"{one.path}: {', '.join(sorted(held))}" for one, held in ((newest, now), (run, then))]
                yield line("gpus-changed", [node.name], (), evidence, path=run.path, first=node.name)
                break


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
        kinds = dict.fromkeys(one.id for run in node.earlier for one in run.problems)
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
        yield Line(finding("fleet-healthy", healthy=well, total=total, gpus=told))


def judge(fleet: Fleet, measured: Sequence[slow.Group]) -> list[Line]:
    """Every line about a fleet and its rates, the worst first."""
    lines = [
        *by_name(broken(fleet)),
        *missing(fleet),
        *damaged(fleet),
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
