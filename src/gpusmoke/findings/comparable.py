"""Whether two records can be compared at all, and which GPU of one is which of the other's.

Rates of different methods, GPU models, driver majors or environments differ for reasons that everybody knows, so that a
comparison would say nothing. The power limit is not among them: it is a setting of the same machine that somebody
changed, and so an explanation of what is slower (see causes.py), not a reason to say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from gpusmoke.facts import Facts, Json
from gpusmoke.findings.health import nvml_row, uuid_of
from gpusmoke.measuring.sensible import is_rate

if TYPE_CHECKING:
    from gpusmoke.record import Record

Row = dict[str, Json]
Key = tuple[Json, ...]
NONE = "none"


class Card(NamedTuple):
    """One measured device: `gpu` is its ordinal, None being the CPU; what has to agree; and its UUID, if it is told."""

    gpu: int | None
    name: str
    multiprocessors: str
    mig: bool
    uuid: str | None

    @property
    def model(self) -> tuple[str, str, bool]:
        """What two cards share whose rates can be compared."""
        return self.name, self.multiprocessors, self.mig

    def __str__(self) -> str:
        if self.gpu is None:
            return f"the {self.name}"
        return f"{self.name} with {self.multiprocessors} multiprocessors{' in MIG mode' if self.mig else ''}"


class Pair(NamedTuple):
    """The same device, or one of the same model, in the older and in the newer record."""

    older: Card
    newer: Card

    @property
    def another_card(self) -> bool:
        """Whether the cards are known to be two."""
        return None not in (self.older.uuid, self.newer.uuid) and self.older.uuid != self.newer.uuid


def is_product(row: Row) -> bool:
    """Whether a measurement is a settled matrix product: what is judged."""
    return (row["quantity"], row["regime"]) == ("matmul", "settled")


def name_of(row: Row) -> str:
    """A measurement's name, as in "bf16 8192x8192x8192 NT settled"."""
    if row["quantity"] != "matmul":
        to = f" to GPU {row['peer']}" if "peer" in row else ""
        return f"{row['quantity']}{to} {row['shape'][0] / 1e9:.2g} GB"
    backend = "" if row["backend"] in ("cublas", "cpu") else f" {row['backend']}"
    return f"{row['dtype']} {'x'.join(map(str, row['shape']))} {row['layout']} {row['regime']}{backend}"


def workload(row: Row) -> Key:
    """What a measurement from rest and the settled one of the same have in common, on every GPU."""
    return row["quantity"], row["dtype"], tuple(row["shape"]), row["layout"], row.get("peer"), row["backend"]


def key(row: Row) -> Key:
    """What identifies a measurement within one GPU; the backend stands last."""
    return row["regime"], *workload(row)


def rows_of(record: Record, gpu: int | None, called: Mapping[int | None, int | None] | None = None) -> dict[Key, Row]:
    """One device's measurements; `called` is what another record calls the GPUs that copies went to."""
    names = called or {}
    mine = (row for row in record.measurements if row["gpu"] == gpu)
    return {key({**row, "peer": names.get(row["peer"], row["peer"])} if "peer" in row else row): row for row in mine}


def card(record: Record, gpu: int | None) -> Card:
    """What the facts tell of a measured device."""
    seen = record.facts.row(f"bench.{gpu or 0}")
    uuid = None if gpu is None else uuid_of(record.facts, gpu)
    mig = nvml_row(record.facts, uuid).get("mig_mode") == 1  # a slice's own name tells
    name = next(row["device"] for row in record.measurements if row["gpu"] == gpu)
    return Card(gpu, name, "" if gpu is None else str(seen.get("multiprocessors")), mig, uuid)


def cards(record: Record) -> list[Card]:
    """The devices with settled products, in the order of their ordinals."""
    found = {row["gpu"] for row in record.measurements if is_product(row)}
    return [card(record, gpu) for gpu in sorted(found, key=lambda gpu: -1 if gpu is None else gpu)]


def pairs(older: Record, newer: Record) -> list[Pair]:
    """The devices that both measured: those of one UUID, then those of one ordinal, where the models agree."""
    left, right, found = cards(older), cards(newer), list[Pair]()
    for field in ("uuid", "gpu"):
        for one in list(left):
            mark = (getattr(one, field), one.model)
            other = next((card for card in right if (getattr(card, field), card.model) == mark), None)
            if other is not None and (field == "gpu" or one.uuid is not None):
                found.append(Pair(one, other))
                left.remove(one)
                right.remove(other)
    return sorted(found, key=lambda pair: pair.newer.gpu or 0)


def unfit(record: Record) -> str | None:
    """Why a record can't be compared with any, or None; the sentence is about "it"."""
    if record.command not in ("bench", "smoke"):
        return f"it is a record of {record.command}, and only those of bench and smoke hold rates"
    if not record.complete:
        return "it is not complete: the run was interrupted"
    if not any(map(is_product, record.measurements)):
        return "no settled matrix product was measured in it"
    if not all(is_rate(rate) for row in record.measurements for rate in row["samples"]):
        return "a rate in it makes no sense"
    return None


def driver_version(facts: Facts) -> str | None:
    """The driver's version, as in 580.159.04."""
    return facts.text("nvml.driver_version") or facts.text("host.kernel_module")


def pixi_environment(facts: Facts) -> str:
    """The Pixi environment that ran, and the platform that it was installed for."""
    row = facts.row("pixi.current")
    cuda = f", CUDA {row['cuda']}" if row.get("cuda") else ""
    return f"{row.get('environment')} on {row.get('subdir')}{cuda}" if row else NONE


def surroundings(record: Record) -> Iterator[tuple[str, str]]:
    """What has to be the same in both, each with its name, in the order in which a difference is told."""
    facts = record.facts
    methods = sorted({row["method"] for row in record.measurements})
    yield "version of the measuring method", " and ".join(map(str, methods))
    if any(row["gpu"] is not None for row in record.measurements):
        yield "driver's major version", (driver_version(facts) or NONE).split(".")[0]
    else:
        row = facts.row("bench.0")
        yield "number of CPU threads", str(row.get("threads"))
        yield "kind of machine", facts.text("host.machine") or NONE
    yield "Pixi environment", pixi_environment(facts)
    yield "version of PyTorch", ".".join((facts.text("torch.version") or NONE).split("+")[0].split(".")[:2])
    yield "CUDA that PyTorch was built for", facts.text("torch.cuda") or NONE


def difference(older: Record, newer: Record) -> str | None:
    """The first thing by which two fit records can't be compared, as half a sentence, or None."""
    # The GPUs come first: what belongs to a CPU run has other names than what belongs to a GPU's.
    together = pairs(older, newer)
    if not together:
        return f"they measured different GPUs: {cards(older)[0]}, and {cards(newer)[0]}"
    for (what, old), (_, new) in zip(surroundings(older), surroundings(newer), strict=True):
        if old != new:
            return f"the {what} differs: {old} and {new}"
    keys = [(rows_of(older, pair.older.gpu), rows_of(newer, pair.newer.gpu)) for pair in together]
    if any(is_product(old[one]) for old, new in keys for one in old.keys() & new.keys()):
        return None
    old_ones, new_ones = ({one for sides in keys for one, row in sides[at].items() if is_product(row)} for at in (0, 1))
    if {one[:-1] for one in old_ones} & {one[:-1] for one in new_ones}:
        by_old, by_new = (" and ".join(sorted({str(one[-1]) for one in ones})) for ones in (old_ones, new_ones))
        return f"the backend differs: {by_old} and {by_new}"
    return "they have no settled matrix product in common"
