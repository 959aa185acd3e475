"""The page's tables: what was measured, what was exercised, the machine, and all facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpusmoke.facts import Facts, Json, listed, shown
from gpusmoke.presentation import audit, comparison, several
from gpusmoke.presentation import machine as several_gpus
from gpusmoke.presentation.grid import Grid
from gpusmoke.presentation.html.rows import NONE, Device, Measured, Row, figure, fixed, number
from gpusmoke.record import Record

MOST_IN_FULL = 4  # GPUs for whose rates and deviations there is room beside each other


@dataclass(frozen=True)
class Table:
    """A table for people, of numbers or of `words`; `wrong` are the numbers of rows that tell of a failure."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: bool = False
    wrong: frozenset[int] = frozenset()


def rates(device: Device) -> Table:
    """Every product and copy of a device, one line each; columns that nobody fills are left out."""
    measured = [*device.products, *device.copies]
    lines = [rates_line(one) for one in measured]
    kept = [name for name in lines[0] if any(line[name] != NONE for line in lines)]
    return Table(
        title="Measurements",
        head=kept,
        rows=[[line[name] for name in kept] for line in lines],
        note=(
            "Rates in TFLOP/s, of int8 in TOP/s, of copies in GB/s; the other columns tell of the settled state. "
            "±: half of p10 to p90 of the rounds. Peak: the datasheet's. Clock: what the sampled SM clock allows. "
            "At rest: before the rounds began. Right: verified against float64 and bit-equal when repeated; of "
            "copies, that every bit arrived."
        ),
        wrong=frozenset(at for at, one in enumerate(measured) if not one.right),
    )


def rates_line(one: Measured) -> dict[str, str]:
    """The cells of one line by the title of their column."""
    told, telemetry = one.told, one.told["telemetry"]
    return {
        "": one.name,
        "burst": figure(one.burst and one.burst["value"]),
        "settled": figure(one.settled and one.settled["value"]),
        "± %": fixed(one.spread, 1),
        "% of peak": fixed(told.get("percent_of_datasheet"), 1),
        "% of clock": fixed(told.get("percent_of_clock"), 1),
        "MHz": figure(telemetry.get("sm_clock_mhz")),
        "W": fixed(telemetry.get("power_w"), 0),
        "°C": figure(telemetry.get("temperature_c")),
        "J/TFLOP": fixed(told.get("joules_per_tflop"), 2),
        "at rest": NONE if "settled" not in told else "yes" if told["settled"] else "no",
        "right": "yes" if one.right else "NO",
    }


def of_several(record: Record) -> list[Table]:
    """What there is to show of several GPUs: their settled rates, copies between them, and in doctor's the GPUs."""
    rows = [row for row in record.measurements if number(row["value"]) is not None]
    cell = both if len({row["gpu"] for row in rows}) <= MOST_IN_FULL else off_alone
    note = "TFLOP/s, of int8 TOP/s, of copies GB/s; %: off the median of all. MHz, W and C: of the first product."
    found = [
        Table(f"Settled rates of {grid.title}", grid.head, grid.rows, note)
        for grid in several.beside(rows, name_of, figure, cell)
    ]
    note = "From the GPU of the row to that of the column, on streams, by PyTorch."
    found += [Table(grid.title, grid.head, grid.rows, note) for grid in several.peers(rows)]
    grids = (several_gpus.machine(record.facts), several_gpus.links(record.facts)) if record.command == "doctor" else ()
    return found + [Table(grid.title, grid.head, grid.rows, grid.note) for grid in grids if isinstance(grid, Grid)]


def name_of(row: Row) -> str:
    """What was measured, as in the tables of one device."""
    return Measured(None, row).name


def both(value: str, off: str) -> str:
    """A rate, and by how many % it is off."""
    return f"{value} ({off} %)" if off else value


def off_alone(_value: str, off: str) -> str:
    """By how many % a rate is off: with many GPUs there is no room for more."""
    return f"{off} %" if off else NONE


def exercised(facts: Facts) -> Table | None:
    """What `check` did on each device, and whether it was right."""
    lines = []
    for name in facts:
        if name.startswith("check.") and name.removeprefix("check.").isdigit():
            held = facts.row(name)
            for step in listed(held.get("steps")):
                if isinstance(step, dict):
                    right = "yes" if step.get("passed") is True else "NO"
                    what = [str(held.get("device", name)), str(step.get("step", NONE))]
                    lines.append([*what, fixed(step.get("seconds"), 3), right])
    wrong = frozenset(at for at, line in enumerate(lines) if line[-1] == "NO")
    return Table("Exercised", ["device", "step", "seconds", "right"], lines, words=True, wrong=wrong) if lines else None


def of_command(record: Record) -> list[Table]:
    """What audit, compare and collectives show beside their findings."""
    if record.command == "collectives":
        from gpusmoke.presentation.collectives import tables

        return tables(record.measurements)
    found = None
    if record.command == "audit" and audit.is_overview(record.facts):
        found = locked(record.facts)
    elif record.command == "compare":
        found = compared(record.facts)
    return [found] if found else []


def locked(facts: Facts) -> Table | None:
    """What the lock holds for each platform."""
    head = ["platform", "environments", *audit.TITLES[1:]]
    lines = []
    for row in facts.rows("lock.solves"):
        if audit.is_whole(row):
            line = audit.cells(row)
            lines.append([line[""], ", ".join(row["environments"]), *(line[title] for title in audit.TITLES[1:])])
    return Table("What the lock holds", head, lines) if lines else None


def compared(facts: Facts) -> Table | None:
    """Two records side by side."""
    lines = [[line[title] for title in comparison.TITLES] for line in comparison.lines(facts)]
    note = f"{'. '.join(comparison.records(facts))}. {' '.join(comparison.LEGEND.split())}"
    return Table("A and B", comparison.TITLES, lines, note) if lines else None


def machine(facts: Facts) -> list[tuple[str, str]]:
    """(what, value) of what a reader asks first about the machine; what was not read is left out."""
    found: list[tuple[str, Json]] = []
    for row in facts.rows("cuda.devices"):
        told = [row.get("name"), f"compute capability {row.get('capability')}"]
        told += [f"{figure(row['memory_mib'])} MiB"] if number(row.get("memory_mib")) else []
        found.append((f"GPU {row.get('ordinal')}", told))
    found.append(("Links between GPUs", linked if isinstance(linked := several_gpus.links(facts), str) else None))
    limits = [row.get("power_limit_w") for row in facts.rows("nvml.gpus")]
    found.append(("Power limit", [f"{figure(limit)} W" for limit in dict.fromkeys(map(figure_of, limits)) if limit]))
    found.append(("Driver", facts.text("nvml.driver_version") or facts.text("host.kernel_module")))
    found.append(("CUDA of the driver", facts.text("cuda.driver_version")))
    torch, cuda = facts.text("torch.version"), facts.text("torch.cuda")
    found.append(("PyTorch", [torch, f"built for CUDA {cuda}"] if torch and cuda else torch))
    found.append(("Pixi environment", facts.value("pixi.current")))
    found.append(("Python", facts.text("host.python")))
    found.append(("System", [one for one in (facts.text("host.system"), facts.text("host.machine")) if one]))
    found.append(("Container", facts.text("host.container")))
    return [(what, shown(value)) for what, value in found if value]


def figure_of(value: Json) -> Json:
    """The value where it is a number."""
    return value if isinstance(value, int | float) else None


def everything(facts: Facts) -> Table:
    """All facts with where they were read, without the series that are drawn."""
    lines = []
    for name, fact in facts.items():
        if name.endswith(".timeline"):
            continue
        told = fact.reason or "not read" if fact.value is None else shown(fact.value)
        lines.append([name, told, fact.source])
    return Table("All facts", ["fact", "value", "read from"], lines, words=True)
