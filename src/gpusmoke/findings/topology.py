"""How the GPUs of a machine are linked to each other and to its processors, as far as is known without PyTorch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from gpusmoke.facts import Facts, Json, listed
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.health import nvml_row, uuid_of
from gpusmoke.tables import table

# NVML_TOPOLOGY_…, in the words of nvidia-smi topo -m.
ANCESTORS: dict[int | None, str] = {
    0: "INT",  # one board
    10: "PIX",  # one PCIe switch
    20: "PXB",  # several PCIe switches
    30: "PHB",  # a PCIe host bridge
    40: "NODE",  # host bridges of one NUMA node
    50: "SYS",  # the link between NUMA nodes
}
P2P_OK = 0


class Link(NamedTuple):
    """What two GPUs are linked by: so many NVLinks, or PCIe paths that meet at `ancestor`; `refused` is NVML's word."""

    nvlinks: int
    ancestor: int | None
    refused: tuple[str, ...]

    @property
    def name(self) -> str:
        """As nvidia-smi topo -m has it: NV18, PIX, SYS; ? where nothing is known."""
        return f"NV{self.nvlinks}" if self.nvlinks else ANCESTORS.get(self.ancestor, "?")


def card(facts: Facts, gpu: int) -> dict[str, Json]:
    """What NVML said of the GPU that CUDA calls by this number."""
    return nvml_row(facts, uuid_of(facts, gpu))


def nvlinks(row: dict[str, Json]) -> dict[str, Json]:
    """A card's NVLinks; empty where it has none, or none are told."""
    held = row.get("nvlinks")
    return held if isinstance(held, dict) and isinstance(held.get("up"), int) else {}


def rate(row: dict[str, Json]) -> float | None:
    """What one NVLink of a card moves in one direction, in GB/s; None where it is not on file."""
    found = table("links")["rate"].get(str(row.get("capability")))
    return float(found["gb_per_second"]) if found else None


def version(row: dict[str, Json]) -> str | None:
    """The version of a card's NVLinks, as in 4.0."""
    found: str | None = table("links")["version"].get(str(nvlinks(row).get("version")))
    return found


def wired_links(name: str) -> int:
    """How many NVLinks are wired on the board of a model; 0 where that is not on file, or depends on bridges."""
    rows = table("links")["card"]
    return next((int(row["links"]) for row in rows if any(re.fullmatch(one, name) for one in row["names"])), 0)


def link(facts: Facts, first: int, second: int) -> Link | None:
    """What links two GPUs, by CUDA's numbers; None where NVML does not tell."""
    one, other = card(facts, first), card(facts, second)
    indices = sorted(index for row in (one, other) if isinstance(index := row.get("index"), int))
    pair = next((row for row in facts.rows("nvml.pairs") if row.get("gpus") == indices), None)
    if pair is None:
        return None
    refused = tuple(what for what in ("read", "write", "nvlink") if pair.get(what, P2P_OK) != P2P_OK)
    ancestor = pair.get("ancestor")
    usable = pair.get("nvlink") == P2P_OK
    return Link(between(one, other, usable), ancestor if isinstance(ancestor, int) else None, refused)


def between(one: dict[str, Json], other: dict[str, Json], usable: bool) -> int:
    """How many NVLinks two cards have in common: those to each other, else those to the switch that both are on.

    Where the far ends are not told, as in virtual machines, all of them, if the driver says that they are `usable`.
    """
    if direct := leading(one, str(other.get("pci"))):
        return direct
    for where in ("switch", "unknown"):
        both = min(leading(row, where) for row in (one, other))
        if both and (usable or where == "switch"):
            return both
    return 0


def leading(row: dict[str, Json], where: str) -> int:
    """How many of a card's NVLinks lead there: to "switch", "unknown" or a PCI address."""
    to = nvlinks(row).get("to")
    count = to.get(where) if isinstance(to, dict) else None
    return count if isinstance(count, int) else 0


def visible(facts: Facts) -> list[int]:
    """The GPUs that CUDA shows and that answered, by its numbers."""
    return [row["ordinal"] for row in facts.rows("cuda.devices") if isinstance(row.get("ordinal"), int)]


def way(facts: Facts, gpu: int, found: Link) -> str:
    """What links a GPU to another, in words: "18 NVLinks 4.0", "PCIe (PIX)"."""
    number = version(card(facts, gpu))
    return f"{found.nvlinks} NVLinks{f' {number}' if number else ''}" if found.nvlinks else f"PCIe ({found.name})"


def topology(facts: Facts) -> dict[tuple[int, int], Link]:
    """What links each two GPUs, by CUDA's numbers, the smaller first."""
    pairs = ((pair, link(facts, *pair)) for pair in combinations(visible(facts), 2))
    return {pair: found for pair, found in pairs if found is not None}


def down(facts: Facts) -> Iterator[Finding]:
    """GPUs with fewer NVLinks than their model has, or than others of it have here."""
    rows = {gpu: card(facts, gpu) for gpu in visible(facts)}
    counts = {gpu: int(nvlinks(row)["up"]) for gpu, row in rows.items() if nvlinks(row)}
    for gpu, up in counts.items():
        row = rows[gpu]
        most = max(count for other, count in counts.items() if rows[other].get("name") == row.get("name"))
        wired = wired_links(str(row.get("name")))
        # With none at all it is alone in a virtual machine; unless others of its kind here have some.
        expected = max(most, wired if up else 0)
        if up < expected:
            evidence = [
                f"NVLinks up: {up}, down: {', '.join(map(str, listed(nvlinks(row).get('down')))) or 'not told'}"
            ]
            yield finding("nvlink-down", evidence, gpu, up=up, expected=expected, index=row.get("index"))


def refused(facts: Facts) -> Iterator[Finding]:
    """Pairs that are on NVLink, and that the driver says can't use it."""
    pairs = {pair: one for pair, one in topology(facts).items() if one.nvlinks and one.refused}
    if pairs:
        names = ", ".join(f"{a} and {b}" for a, b in pairs)
        evidence = [f"GPU {a} and {b}: {one.name}, refused: {', '.join(one.refused)}" for (a, b), one in pairs.items()]
        yield finding("nvlink-without-peer-access", evidence, common(list(pairs)), pairs=names)


def common(pairs: list[tuple[int, int]]) -> int | None:
    """The one GPU that all of several pairs have in common, or None."""
    shared = set.intersection(*map(set, pairs)) if len(pairs) > 1 else set()
    return shared.pop() if len(shared) == 1 else None


def numbers(text: Json) -> set[int]:
    """The numbers of a list as Linux writes it, "0-3,8"; none where it is no such list."""
    found: set[int] = set()
    for part in str(text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal() and int(last or first) < 1 << 16:
            found |= set(range(int(first), int(last or first) + 1))
    return found


def near(facts: Facts, gpu: int) -> dict[str, Json]:
    """The NUMA node of a GPU and the processors beside it, as the system tells them: {pci, node, cpus}."""
    address = next((row.get("pci") for row in facts.rows("cuda.devices") if row.get("ordinal") == gpu), None)
    return next((row for row in facts.rows("host.near_cpus") if address and row.get("pci") == address), {})


def far_from(facts: Facts, gpu: int) -> bool:
    """Whether all processors of this job are on other NUMA nodes than the GPU."""
    beside, usable = near(facts, gpu), numbers(facts.value("host.usable_cpus"))
    local = numbers(beside.get("cpus")) if beside.get("node") is not None else set()
    return bool(usable and local) and not usable & local


def affinity(facts: Facts) -> Iterator[Finding]:
    """GPUs that are on another NUMA node than every processor that this job may use."""
    for gpu in visible(facts):
        if far_from(facts, gpu):
            beside, cpus = near(facts, gpu), facts.text("host.usable_cpus")
            evidence = facts.evidence("host.usable_cpus", "host.near_cpus")
            yield finding("far-from-its-cpus", evidence, gpu, cpus=cpus, node=beside["node"], local=beside["cpus"])


def links(facts: Facts) -> Iterator[Finding]:
    """The rules of doctor about links between GPUs, and between GPUs and processors."""
    yield from down(facts)
    yield from refused(facts)
    yield from affinity(facts)
