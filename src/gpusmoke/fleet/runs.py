"""What a fleet's report needs of one record: little enough that those of ten thousand machines fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

from gpusmoke.facts import Facts, Json
from gpusmoke.findings import health
from gpusmoke.findings.causes import others
from gpusmoke.findings.comparable import Card, Row, driver_version, is_product, key, name_of, pixi_environment
from gpusmoke.findings.topology import Link, nvlinks, topology
from gpusmoke.measuring.sensible import LEAST_RATE, MOST, is_sensible
from gpusmoke.record import Record

EXERCISING = ("doctor", "check", "bench", "smoke", "soak", "kernels")  # their records tell of the machine they ran on
READINGS = ("sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c", "throttle_reasons")
# Of a card, as NVML's facts call them; of its NVLinks, how many are up.
SETTINGS = ("memory_mib", "power_limit_w", "ecc_mode", "sm_clock_max_mhz", "nvlinks")


class Model(NamedTuple):
    """What two GPUs share whose rates are compared: name, number of multiprocessors, and whether MIG divides them."""

    name: str
    multiprocessors: str
    mig: bool


class What(NamedTuple):
    """What was measured, by which version of the method: `key` tells all that a rate depends on beside the GPU.

    Those that agree in all but key and name were measured in the same seconds: products of one format, whatever
    multiplies. `turns` is the part of the key by which that is told.
    """

    key: str
    name: str
    quantity: str
    regime: str
    unit: str
    method: int
    turns: str = ""

    @property
    def is_product(self) -> bool:
        """Whether it is a settled matrix product."""
        return is_product({"quantity": self.quantity, "regime": self.regime})

    def is_with(self, other: What) -> bool:
        """Whether both were measured in the same seconds, by turns."""
        return self._replace(key="", name="") == other._replace(key="", name="")


class Rate(NamedTuple):
    """One rate, in the unit of `what`, and READINGS meanwhile, None where there was none."""

    what: What
    value: float
    readings: tuple[float | None, ...]


class Gpu(NamedTuple):
    """One GPU of a run: SETTINGS, generation and width of its PCIe link, how many others used it and how busy (%).

    `pci` is the address that no other GPU of the node has at that time: None of a MIG device, which shares its card's.
    """

    ordinal: int
    model: Model
    uuid: str | None
    pci: str | None
    settings: tuple[float | None, ...]
    link: tuple[float | None, float | None]
    others: tuple[int, float] | None
    rates: tuple[Rate, ...]

    @property
    def identity(self) -> str:
        """What it is called in every run, as far as that is known: each job counts those that it was given from 0."""
        return self.uuid or f"GPU {self.ordinal}"

    @property
    def marks(self) -> set[str]:
        """What it alone has: a run that saw one of them saw this GPU, or the one that has taken its place."""
        return {self.identity, self.pci} if self.pci else {self.identity}


class Told(NamedTuple):
    """A problem or a warning of the record itself."""

    id: str
    gpu: int | None
    title: str


class Run(NamedTuple):
    """One record of one node. `software` is what versions of what ran."""

    node: str
    path: str
    command: str
    started: str
    complete: bool
    problems: tuple[Told, ...]
    warnings: tuple[Told, ...]
    software: tuple[tuple[str, str], ...]
    gpus: tuple[Gpu, ...]

    @property
    def healthy(self) -> bool:
        """Whether it came to its end and found nothing."""
        return self.complete and not self.problems


KNOWN: dict[tuple[Json, ...], What] = {}
Same = TypeVar("Same")


@cache
def shared(value: Same) -> Same:
    """The first value that was equal to this one: what most records have in common is kept once."""
    return value


def sensible(what: str, value: float, least: float = -MOST) -> float:
    """The number. Raises ValueError where it can't have been measured: what else the record says is not believed."""
    if not is_sensible(value, least):
        raise ValueError(f"holds a number that makes no sense: {what} {value!r:.20}")
    return value


def number(row: Row, name: str) -> float | None:
    """A reading, where it is a number. Raises ValueError as `sensible` does."""
    value = health.number(row, name)
    return None if value is None else sensible(name, value)


def run(record: Record, path: str, node: str) -> Run:
    """What is kept of a record. Raises ValueError, which says of the file what is wrong, where that can't be right."""
    return Run(
        node=node,
        path=path,
        command=record.command,
        started=record.started,
        complete=record.complete,
        problems=tuple(one for one in told(record, "problem") if one.id != "interrupted"),
        warnings=told(record, "warning"),
        software=shared(tuple(software(record))),
        gpus=tuple(gpus(record)),
    )


def told(record: Record, severity: str) -> tuple[Told, ...]:
    """The record's own findings of a severity."""
    return tuple(Told(one.id, ordinal(one.gpu), one.title) for one in record.findings if one.severity == severity)


def ordinal(gpu: Json) -> int | None:
    """The number of a GPU, which JSON may also write 1.0, or None. Raises ValueError where it is no such number."""
    if gpu is None:
        return None
    if isinstance(gpu, bool) or not isinstance(gpu, int | float) or not float(sensible("GPU", gpu, 0)).is_integer():
        raise ValueError(f"holds a GPU with number {gpu!r:.20}")
    return int(gpu)


def software(record: Record) -> Iterator[tuple[str, str]]:
    """What ran, and its version; what was not read is left out."""
    facts = record.facts
    environment = pixi_environment(facts) if "pixi.current" in facts else None
    for what, version in (
        ("driver", driver_version(facts)),
        ("PyTorch", facts.text("torch.version")),
        ("CUDA of PyTorch", facts.text("torch.cuda")),
        ("gpusmoke", record.version),
        ("Pixi environment", environment),
    ):
        if version is not None:
            yield what, version


def gpus(record: Record) -> Iterator[Gpu]:
    """The GPUs that the run saw, in the order of their ordinals."""
    facts = record.facts
    devices = {at: row for row in facts.rows("cuda.devices") if (at := ordinal(row.get("ordinal"))) is not None}
    measured: dict[int, list[Row]] = {}
    for row in record.measurements:
        if (at := ordinal(row["gpu"])) is not None:
            measured.setdefault(at, []).append(row)
    linked = topology(facts) if any("peer" in row for row in record.measurements) else {}
    for at in sorted({*devices, *measured}):
        yield gpu(facts, at, devices.get(at, {}), measured.get(at, []), linked)


def gpu(facts: Facts, ordinal: int, device: Row, rows: Sequence[Row], linked: Mapping[tuple[int, int], Link]) -> Gpu:
    """One GPU: what CUDA says of it, and what was measured; `linked` is what each two are linked by."""
    name = device.get("name") or next((row["device"] for row in rows), "a GPU")
    uuid = device["uuid"] if isinstance(device.get("uuid"), str) else None
    nvml = health.nvml_row(facts, uuid)
    held = nvml | {"nvlinks": nvlinks(nvml).get("up")}
    for reading in ("processes", "utilisation_percent"):  # what others() reckons with
        number(facts.row(f"bench.{ordinal}.others"), reading)
    model = Model(str(name), str(device.get("multiprocessors")), nvml.get("mig_mode") == 1)
    return Gpu(
        ordinal=ordinal,
        model=shared(model),
        uuid=uuid,
        pci=address(device),
        settings=shared(tuple(number(held, name) for name in SETTINGS)),
        link=shared(link(facts, ordinal, nvml)),
        others=others(facts, Card(ordinal, *model, uuid)),
        rates=tuple(found for row in rows if (found := rate(row, linked)) is not None),
    )


def address(device: Row) -> str | None:
    """The PCI address of a whole GPU, where it is told; CUDA calls a MIG device "NVIDIA H100 80GB HBM3 MIG 1g.10gb"."""
    whole = " MIG " not in str(device.get("name"))
    return shared(device["pci"]) if whole and isinstance(device.get("pci"), str) else None


def link(facts: Facts, ordinal: int, nvml: Row) -> tuple[float | None, float | None]:
    """Generation and width of the PCIe link after a copy; without one the width alone: a link at rest is slow."""
    after = facts.row(f"check.{ordinal}").get("link")
    if isinstance(after, dict):
        return number(after, "generation"), number(after, "width")
    return None, number(nvml, "pcie_width")


def rate(row: Row, linked: Mapping[tuple[int, int], Link]) -> Rate | None:
    """One measurement; None of a copy between GPUs that takes no NVLink.

    Boards differ in where their paths of PCIe meet, so that such a copy says nothing of another node's.
    """
    value = sensible("value", row["value"], LEAST_RATE)
    sensible("shape", max(row["shape"]))
    readings = tuple(map(row["telemetry"].get, READINGS))
    for name, reading in zip(READINGS, readings, strict=True):
        if reading is not None:
            sensible(name, reading)
    if "peer" not in row:
        return Rate(what(row), float(value), readings)
    way = linked.get((min(row["gpu"], row["peer"]), max(row["gpu"], row["peer"])))
    return Rate(what(row, way), float(value), readings) if way and way.nvlinks and not way.refused else None


def what(row: Row, way: Link | None = None) -> What:
    """What was measured, which is the same object for the same; `way` is what a copy from GPU to GPU takes."""
    by = f" {way.name}" if way else ""
    told = (*key(row), by, row["method"], row["unit"])
    if told not in KNOWN:
        turns = repr((row["dtype"], row.get("peer"), by))
        name, quantity, regime = name_of(row) + by, row["quantity"], row["regime"]
        KNOWN[told] = What(repr(told), name, quantity, regime, row["unit"], row["method"], turns)
    return KNOWN[told]
