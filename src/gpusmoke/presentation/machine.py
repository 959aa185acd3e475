"""The GPUs of a machine beside each other, and the links between them, before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpusmoke.facts import Facts
from gpusmoke.findings.topology import card, near, nvlinks, topology, visible, way
from gpusmoke.presentation.alike import ranges
from gpusmoke.presentation.grid import NONE, Grid, draw, matrix

if TYPE_CHECKING:
    from gpusmoke.presentation.terminal import Page

LEGEND = """\
NVn: n NVLinks; by PCIe: PIX one switch, PXB several, PHB a host bridge, NODE
within a NUMA node, SYS from one node to another"""


def machine(facts: Facts) -> Grid | None:
    """The visible GPUs, one line each; None where there are not several."""
    gpus = visible(facts)
    if len(gpus) < 2:
        return None
    lines = [described(facts, gpu) for gpu in gpus]
    head = [name for name in lines[0] if any(line[name] != NONE for line in lines)]
    return Grid("The GPUs", head, [[line[name] for name in head] for line in lines])


def described(facts: Facts, gpu: int) -> dict[str, str]:
    """One GPU's cells by the title of their column."""
    row, beside_it = card(facts, gpu), near(facts, gpu)
    held, total = row.get("memory_used_mib"), row.get("memory_mib")
    links = nvlinks(row)
    down = links.get("down")
    wired = links["up"] + (len(down) if isinstance(down, list) else 0) if links else 0

    def shown(name: str, form: str = ".0f") -> str:
        value = row.get(name)
        return format(value, form) if isinstance(value, int | float) else NONE

    return {
        "GPU": str(gpu),
        "PCI address": str(row.get("pci", NONE)).removeprefix("0000"),
        "PCIe": f"{shown('pcie_generation_max')} x{shown('pcie_width')}" if "pcie_width" in row else NONE,
        "node": NONE if beside_it.get("node") is None else str(beside_it["node"]),
        "NVLinks": f"{links['up']} of {wired}" if links else NONE,
        "C": shown("temperature_c"),
        "W": shown("power_w"),
        "limit W": shown("power_limit_w"),
        "GB used": f"{held / 1024:.1f} of {total / 1024:.0f}"
        if isinstance(held, int) and isinstance(total, int)
        else NONE,
    }


def links(facts: Facts) -> Grid | str | None:
    """How the GPUs are linked: a matrix, or a sentence where all are linked alike; None where that is not known."""
    known = topology(facts)
    names = {one.name for one in known.values()}
    if not known or names == {"?"}:
        return None
    if len(names) > 1:
        both = {
            **{pair: one.name for pair, one in known.items()},
            **{pair[::-1]: one.name for pair, one in known.items()},
        }
        return matrix("Links between the GPUs", both)._replace(note=LEGEND)
    pair, one = next(iter(known.items()))
    linked = sorted({gpu for pair in known for gpu in pair})  # one that does not answer tells of no link
    which = "" if linked == visible(facts) else f"GPU {ranges(linked)}: "
    return f"{which}{'each' if which else 'Each'} is linked to each by {way(facts, pair[0], one)}."


def add_machine(page: Page, facts: Facts) -> None:
    """Add what doctor shows of several GPUs."""
    for part in (machine(facts), links(facts)):
        if part is not None:
            page.add("")
        if isinstance(part, Grid):
            draw(page, part)
        elif part is not None:
            page.add(part)
