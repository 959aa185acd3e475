"""What a fleet's report needs of one record: little enough that those of ten thousand machines fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

from gpusmoke.facts import Facts, Json
from gpusmoke.findings.causes import others
from gpusmoke.findings.comparable import Card, Row, driver_version, is_product, key, name_of, pixi_environment
from gpusmoke.findings.health import number, nvml_row
from gpusmoke.record import Record

EXERCISING = ("doctor", "check", "bench", "smoke", "soak", "kernels")  # their records tell of the machine they ran on
READINGS = ("sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c", "throttle_reasons")
SETTINGS = ("memory_mib", "power_limit_w", "ecc_mode", "sm_clock_max_mhz")  # of a card, as NVML's facts call them


class Model(NamedTuple):
    """What two GPUs share whose rates are compared: name, number of multiprocessors, and whether MIG divides them."""

    name: str
    multiprocessors: str
    mig: bool


class What(NamedTuple):
    """What was measured: `key` tells all that a rate depends on beside the GPU."""

    key: str
    name: str
    quantity: str
    regime: str
    unit: str

    @property
    def is_product(self) -> bool:
        """Whether it is a settled matrix product."""
        return is_product({"quantity": self.quantity, "regime": self.regime})


class Rate(NamedTuple):
    """One rate, in the unit of `what`, and READINGS meanwhile, None where there was none."""

    what: What
    value: float
    readings: tuple[float | None, ...]


class Gpu(NamedTuple):
    """One GPU of a run: SETTINGS, generation and width of its PCIe link, how many others used it and how busy (%)."""

    ordinal: int
    model: Model
    uuid: str | None
    settings: tuple[float | None, ...]
    link: tuple[float | None, float | None]
    others: tuple[int, float] | None
    rates: tuple[Rate, ...]


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


def run(record: Record, path: str, name: str) -> Run:
    """What is kept of a record; `name` is what the node is called where it does not say so itself."""
    facts = record.facts
    return Run(
        node=facts.text("request.node") or name,
        path=path,
        command=record.command,
        started=record.started,
        complete=record.complete,
        problems=told(record, "problem") if record.complete else (),
        warnings=told(record, "warning"),
        software=shared(tuple(software(record))),
        gpus=tuple(gpus(record)),
    )


def told(record: Record, severity: str) -> tuple[Told, ...]:
    """The record's own findings of a severity."""
    return tuple(Told(one.id, one.gpu, one.title) for one in record.findings if one.severity == severity)


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
    devices = {row["ordinal"]: row for row in facts.rows("cuda.devices") if isinstance(row.get("ordinal"), int)}
    measured: dict[int, list[Row]] = {}
    for row in record.measurements:
        if row["gpu"] is not None:
            measured.setdefault(int(row["gpu"]), []).append(row)
    for ordinal in sorted({*devices, *measured}):
        yield gpu(facts, ordinal, devices.get(ordinal, {}), measured.get(ordinal, []))


def gpu(facts: Facts, ordinal: int, device: Row, rows: Sequence[Row]) -> Gpu:
    """One GPU: what CUDA says of it, and what was measured."""
    name = device.get("name") or next((row["device"] for row in rows), "a GPU")
    uuid = device["uuid"] if isinstance(device.get("uuid"), str) else None
    nvml = nvml_row(facts, uuid)
    model = Model(str(name), str(device.get("multiprocessors")), nvml.get("mig_mode") == 1)
    return Gpu(
        ordinal=ordinal,
        model=shared(model),
        uuid=uuid,
        settings=shared(tuple(number(nvml, name) for name in SETTINGS)),
        link=shared(link(facts, ordinal, nvml)),
        others=others(facts, Card(ordinal, *model, uuid)),
        rates=tuple(map(rate, filter(is_rate, rows))),
    )


def link(facts: Facts, ordinal: int, nvml: Row) -> tuple[float | None, float | None]:
    """Generation and width of the PCIe link after a copy; without one the width alone: a link at rest is slow."""
    after = facts.row(f"check.{ordinal}").get("link")
    if isinstance(after, dict):
        return number(after, "generation"), number(after, "width")
    return None, number(nvml, "pcie_width")


def is_rate(row: Row) -> bool:
    """Whether others may be measured by it: no rate is 0, less, or without end."""
    return 0 < float(row["value"]) < math.inf


def rate(row: Row) -> Rate:
    """One measurement."""
    telemetry = row["telemetry"]
    return Rate(what(row), float(row["value"]), tuple(map(telemetry.get, READINGS)))


def what(row: Row) -> What:
    """What was measured, which is the same object for the same."""
    told = (*key(row), row["method"], row["unit"])
    if told not in KNOWN:
        KNOWN[told] = What(repr(told), name_of(row), row["quantity"], row["regime"], row["unit"])
    return KNOWN[told]
