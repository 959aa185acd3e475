"""What a minority of a fleet's nodes has otherwise than most: drivers, versions, settings of cards, numbers of GPUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gpusmoke.fleet.hostlist import in_order
from gpusmoke.fleet.lines import Line, line
from gpusmoke.fleet.nodes import Node
from gpusmoke.fleet.runs import SETTINGS, Model

MOST = 0.75  # of the nodes with a model have as many GPUs of it: then fewer are told, so by three nodes at least
MIB_OF_GIB = 1024
# What settings are called, and in which unit; numbers are told as whole ones, which is finer than drivers round.
NAMES = {
    "memory_mib": ("memory", "GiB"),
    "power_limit_w": ("power limit", "W"),
    "ecc_mode": ("ECC", ""),
    "sm_clock_max_mhz": ("highest SM clock", "MHz"),
    "nvlinks": ("NVLinks", "up"),
}


Settings = tuple[float | None, ...]


class Version(NamedTuple):
    """A version of something, and on how many nodes it is."""

    what: str
    version: str
    nodes: tuple[str, ...]


def versions(nodes: Mapping[str, Node]) -> dict[str, list[Version]]:
    """Every version of everything that ran, that of most nodes first."""
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}  # few: most nodes run the same
    for node in nodes.values():
        alike.setdefault(tuple(node.software.items()), []).append(node.name)
    found: dict[str, dict[str, list[str]]] = {}
    for ran, names in alike.items():
        for what, version in ran:
            found.setdefault(what, {}).setdefault(version, []).extend(names)
    return {
        what: sorted(
            (Version(what, version, tuple(sorted(names, key=in_order))) for version, names in held.items()),
            key=lambda one: (-len(one.nodes), one.version),
        )
        for what, held in found.items()
    }


def software_skew(nodes: Mapping[str, Node]) -> dict[str, dict[str, str]]:
    """By node, what runs there in another version than on most nodes, and which."""
    odd: dict[str, dict[str, str]] = {}
    for what, held in versions(nodes).items():
        for one in held[1:]:
            for name in one.nodes:
                odd.setdefault(name, {})[what] = one.version
    return odd


def software(nodes: Mapping[str, Node]) -> Iterator[Line]:
    """Versions that a minority has; what the same nodes have otherwise is one line, but for the driver."""
    together: dict[tuple[str, tuple[str, ...]], list[tuple[Version, Version]]] = {}
    for what, (usual, *others) in versions(nodes).items():
        kind = "driver-skew" if what == "driver" else "version-skew"
        for one in others:
            together.setdefault((kind, one.nodes), []).append((one, usual))
    for (kind, names), pairs in together.items():
        yield line(
            kind,
            names,
            found=", ".join(f"{one.what} {one.version}" for one, _ in pairs),
            usual=", ".join(f"{usual.what} {usual.version}" for _, usual in pairs),
            count=min(len(usual.nodes) for _, usual in pairs),
            total=len(nodes),
            first=names[0],
        )


def shown(name: str, value: float) -> str:
    """A setting in words."""
    what, unit = NAMES[name]
    if name == "ecc_mode":
        return f"{what} {'on' if value else 'off'}"
    return f"{what} {value / MIB_OF_GIB if name == 'memory_mib' else value:.0f} {unit}"


def hardware(nodes: Mapping[str, Node]) -> Iterator[Line]:
    """Settings that a minority of the GPUs of a model has."""
    alike: dict[tuple[Model, Settings], list[tuple[str, int]]] = {}  # few: most cards of a model are set alike
    for node in nodes.values():
        for gpu in node.gpus:
            alike.setdefault((gpu.model, gpu.settings), []).append((node.name, gpu.ordinal))
    held: dict[tuple[Model, str], dict[str, list[tuple[str, int]]]] = {}
    for (model, settings), cards in alike.items():
        for name, value in zip(SETTINGS, settings, strict=True):
            if value is not None:
                held.setdefault((model, name), {}).setdefault(shown(name, value), []).extend(cards)
    for (model, _), values in held.items():
        usual, *others = sorted(values, key=lambda told: (-len(values[told]), told))
        for found in others:
            names = tuple(sorted({name for name, _ in values[found]}, key=in_order))
            yield line(
                "hardware-skew",
                names,
                [ordinal for _, ordinal in values[found]] if len(names) == 1 else [],
                found=found,
                usual=usual,
                count=len(values[usual]),
                total=sum(map(len, values.values())),
                model=model.name,
                first=names[0],
            )


def counts(nodes: Mapping[str, Node]) -> Iterator[Line]:
    """Nodes with fewer GPUs of a model than most nodes have that have any."""
    held: dict[Model, dict[int, list[str]]] = {}
    for node in nodes.values():
        # Of its newest run: one that has fallen off the bus was seen by an earlier one.
        for model, count in Counter(gpu.model for gpu in node.latest[0].gpus).items() if node.complete else ():
            held.setdefault(model, {}).setdefault(count, []).append(node.name)
    for model, by_count in held.items():
        total = sum(map(len, by_count.values()))
        usual = max(by_count, key=lambda count: len(by_count[count]))
        if len(by_count[usual]) < MOST * total:
            continue
        for count in sorted(by_count):
            if count < usual:
                yield line(
                    "fewer-gpus",
                    by_count[count],
                    found=count,
                    model=model.name,
                    usual=usual,
                    count=len(by_count[usual]),
                    total=total,
                    first=by_count[count][0],
                )


def judge(nodes: Mapping[str, Node]) -> list[Line]:
    """All lines about what a minority has."""
    return [*software(nodes), *counts(nodes), *hardware(nodes)]
