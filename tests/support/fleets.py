"""Records of a whole fleet, made from a real H100's, with planted faults.

    planted = Fleet(1000).write(folder)           {node: id of the finding that has to name it}
    Fleet(6, faults=0, models=[A10]).write(folder)

The nodes have 1 to 8 GPUs of four models. Cards differ by a standard deviation of 1 %, and each product by 0.3 % more;
temperatures, clocks and power vary. The records are as large as real ones.
"""

import copy
import json
import random
import re
from itertools import combinations, permutations
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parents[1] / "gpusmoke/data"
STARTED = "2026-11-26T10:00:00Z"
CARD_NOISE, PRODUCT_NOISE = 0.010, 0.003
TIMELINE_STEP = 3  # of the points of bench's timeline, those that smoke's shorter one has
HOLE = re.compile(r'"<<(.+?)>>"')


class Model(NamedTuple):
    """A GPU model: its name, how many a node has, and how it differs from an H100."""

    name: str
    gpus: int
    multiprocessors: int
    memory_mib: int
    power_w: float
    speed: float
    nvlinks: int


H100 = Model("NVIDIA H100 80GB HBM3", 8, 132, 81559, 700.0, 1.0, 18)
A100 = Model("NVIDIA A100-SXM4-80GB", 4, 108, 81920, 400.0, 0.38, 12)
L40S = Model("NVIDIA L40S", 2, 142, 46068, 350.0, 0.31, 0)
A10 = Model("NVIDIA A10", 1, 72, 23028, 150.0, 0.15, 0)
MODELS = (H100, A100, L40S, A10)


def fact(value):
    return {"value": value, "source": "a test"}


def hole(name):
    """A place in the text of a record that each node fills."""
    return f"<<{name}>>"


def typical(model):
    """The record of a node with that model, with holes where nodes differ."""
    document = json.loads((DATA / "h100-smoke.json").read_text())
    bench = json.loads((DATA / "h100-bench-quick.json").read_text())
    facts, rows = document["facts"], document["measurements"]
    timeline = {name: points[::TIMELINE_STEP] for name, points in bench["facts"]["bench.0.timeline"]["value"].items()}
    card, nvml = facts["cuda.devices"]["value"][0], facts["nvml.gpus"]["value"][0]
    own = {name: facts[name] for name in list(facts) if re.search(r"\.0$", name)}
    document |= {"started": hole("started"), "measurements": [], "findings": []}
    for name in ("cuda.devices", "nvml.gpus"):
        facts[name] = fact([])
    facts["request.node"] = fact(hole("node"))
    for gpu in range(model.gpus):
        uuid = hole(f"uuid {gpu}")
        shared = {"name": model.name, "uuid": uuid}
        facts["cuda.devices"]["value"].append(
            card
            | shared
            | {"ordinal": gpu, "multiprocessors": model.multiprocessors, "pci": f"0000:{0x10 + gpu:02x}:00.0"}
        )
        limits = dict.fromkeys(("power_limit_w", "power_limit_default_w"), model.power_w)
        facts["nvml.gpus"]["value"].append(nvml | shared | limits | {"index": gpu, "memory_mib": model.memory_mib})
        facts |= {re.sub(r"\.0$", f".{gpu}", name): copy.deepcopy(held) for name, held in own.items()}
        facts[f"bench.{gpu}"]["value"] |= {"name": model.name, "multiprocessors": model.multiprocessors}
        facts[f"bench.{gpu}.others"] = fact({"processes": 0, "utilisation_percent": 0})
        facts[f"bench.{gpu}.timeline"] = fact(timeline)
        for at, row in enumerate(rows):
            readings = {name: hole(f"{name} {gpu} {at}") for name in ("sm_clock_mhz", "power_w", "temperature_c")}
            telemetry = row["telemetry"] | readings
            value = hole(f"value {gpu} {at}")
            document["measurements"].append(
                row | {"gpu": gpu, "device": model.name, "value": value, "telemetry": telemetry}
            )
        document["findings"].append(
            {
                "id": "gpu-works",
                "severity": "ok",
                "gpu": gpu,
                "title": f"{model.name}: all correct",
                "evidence": [],
                "advice": [],
                "link": None,
            }
        )
    if model.nvlinks:
        link(document, model)
    return HOLE.split(json.dumps(document, indent=1)), rows


def link(document, model):
    """Let the GPUs of a record be linked by a switch: what NVML says of it, and copies from each to each."""
    linked = json.loads((DATA / "h100-x4-smoke.json").read_text())
    facts, each = document["facts"], range(model.gpus)
    for row in facts["nvml.gpus"]["value"]:
        row["nvlinks"] = {"up": model.nvlinks, "down": [], "version": 6, "to": {"switch": model.nvlinks}}
    pair = linked["facts"]["nvml.pairs"]["value"][0]
    facts["nvml.pairs"] = fact([pair | {"gpus": list(two)} for two in combinations(each, 2)])
    for gpu in each:
        there = [{"to": other, "access": True, "failed": []} for other in each if other != gpu]
        facts[f"links.{gpu}"] = fact(there)
    for quantity, pairs in (("peer-copy", permutations(each, 2)), ("peer-copy-both-ways", combinations(each, 2))):
        copy = next(row for row in linked["measurements"] if row["quantity"] == quantity)
        usual = copy["value"] * model.nvlinks / 18
        document["measurements"] += [
            copy | {"gpu": gpu, "peer": peer, "device": model.name, "value": hole(f"copy {usual}")}
            for gpu, peer in pairs
        ]


def problem(kind, gpu, title):
    """A change of a record: it has that finding."""

    def change(document):
        document["findings"].append(
            {
                "id": kind,
                "severity": "problem",
                "gpu": gpu,
                "title": title,
                "evidence": ["a test"],
                "advice": ["pixi run smoke"],
                "link": None,
            }
        )
        document["verdict"] = "problem"

    return change


def slow(share, usual, gpu=0, limit=None, neighbour=False, **readings):
    """A change of a record: one GPU reaches that share of `usual`, with other readings meanwhile."""

    def change(document):
        facts = document["facts"]
        rows = [row for row in document["measurements"] if row["gpu"] == gpu and "peer" not in row]
        for row, rate in zip(rows, usual, strict=True):
            row["value"] = rate * share
            for name, factor in readings.items():
                row["telemetry"][name] = round(row["telemetry"][name] * factor)
        if limit:
            facts["nvml.gpus"]["value"][gpu]["power_limit_w"] *= limit
        if neighbour:
            facts[f"bench.{gpu}.others"]["value"] |= {"processes": 1, "utilisation_percent": 60}

    return change


def setting(name, value):
    """A change of a record: another fact, or another field of the record itself."""

    def change(document):
        if name in document:
            document[name] = value
        else:
            document["facts"][name] = fact(value)

    return change


def on_the_cpu(document):
    """The record of a machine without a GPU: healthy, with CUDA not exercised."""
    for name in ("cuda.devices", "nvml.gpus"):
        document["facts"][name] = fact(None)
    document["measurements"] = [
        row | {"gpu": None, "device": "a CPU", "backend": "cpu"} for row in document["measurements"][:4]
    ]


def one_gpu_less(document):
    """The record of a machine of which a GPU has fallen off the bus."""
    last = document["facts"]["cuda.devices"]["value"].pop()["ordinal"]
    document["facts"]["nvml.gpus"]["value"].pop()
    document["measurements"] = [row for row in document["measurements"] if last not in (row["gpu"], row.get("peer"))]


def interrupted(document):
    document |= {"complete": False, "verdict": "problem", "measurements": document["measurements"][:2]}


def truncated(text):
    return text[: len(text) // 2]


# What is done to a record (a function of the document, or of its text), and what has to name the node.
FAULTS = (
    ("node-broken", lambda usual: problem("wrong-result", 0, "The bf16 product is wrong: error 8.1, bound 0.53.")),
    ("node-broken", lambda usual: problem("worker-crashed", None, "The check of GPU 3 was ended by SIGKILL.")),
    ("slower-than-fleet", lambda usual: slow(0.94, usual)),
    ("slower-than-fleet", lambda usual: slow(0.88, usual, limit=0.7, sm_clock_mhz=0.88, power_w=0.7)),
    ("slower-than-fleet", lambda usual: slow(0.70, usual, sm_clock_mhz=0.7, temperature_c=1.3)),
    ("slower-than-fleet", lambda usual: slow(0.80, usual, neighbour=True)),
    ("record-damaged", lambda usual: truncated),
    ("record-damaged", lambda usual: lambda text: ""),
    ("record-damaged", lambda usual: lambda text: '{"hello": "world"}'),
    ("record-damaged", lambda usual: lambda text: "\x00\x01 no JSON"),
    ("node-missing", None),
    ("driver-skew", lambda usual: setting("nvml.driver_version", "570.86.10")),
    ("version-skew", lambda usual: setting("torch.version", "2.9.1+cu126")),
    ("version-skew", lambda usual: setting("version", "0.0.9")),
    ("node-without-gpu", lambda usual: on_the_cpu),
    ("node-interrupted", lambda usual: interrupted),
    ("gpus-changed", "twice"),
    ("fewer-gpus", lambda usual: one_gpu_less),
    ("slower-than-fleet", lambda usual: slow(0.92, usual, sm_clock_mhz=0.92)),
    ("node-broken", lambda usual: problem("ecc-errors", 0, "The GPU's memory had 3 errors that could not be fixed.")),
)
OF_TEXT = ("record-damaged",)


class Fleet:
    """Synthetic records of `count` nodes, `faults` of which have one of FAULTS each, in turns."""

    def __init__(self, count, faults=40, seed=4711, models=MODELS):
        self.random = random.Random(seed)  # noqa: S311 - no secret
        self.models = models
        self.names = [f"node{number:05}" for number in range(1, count + 1)]
        self.templates = [typical(model) for model in models]
        able = [at for at in range(count) if self.model(at).gpus > 1]  # one of them has to lose a GPU
        self.faulty = dict(zip(sorted(self.random.sample(able, faults)), FAULTS * (faults // len(FAULTS)), strict=True))
        self.planted = {self.names[at]: kind for at, (kind, _) in self.faulty.items()}

    def model(self, at):
        """The GPUs of the node at that place: the models take turns."""
        return self.models[at % len(self.models)]

    def usual(self, at):
        """The rates of a typical GPU of that node."""
        _, rows = self.templates[at % len(self.models)]
        return [row["value"] * self.model(at).speed for row in rows]

    def text(self, at):
        """A healthy record of the node at that place."""
        (pieces, rows), draw = self.templates[at % len(self.models)], self.random
        usual, cards = self.usual(at), {}

        def fill(name):
            what, *where = name.split()
            if what in ("node", "started"):
                return self.names[at] if what == "node" else STARTED
            if what == "copy":
                return round(float(where[0]) * draw.gauss(1, PRODUCT_NOISE), 3)
            gpu = int(where[0])
            if what == "uuid":
                return f"GPU-{draw.getrandbits(128):032x}"
            card = cards.setdefault(gpu, (draw.gauss(1, CARD_NOISE), draw.gauss(0, 3)))
            row = rows[int(where[1])]
            if what == "value":
                return round(usual[int(where[1])] * card[0] * draw.gauss(1, PRODUCT_NOISE), 3)
            reading = row["telemetry"][what]
            return round(reading + card[1]) if what == "temperature_c" else round(reading * draw.gauss(1, 0.01))

        uuids = {}  # told twice in a record
        filled = [
            json.dumps(uuids.setdefault(piece, fill(piece)) if piece.startswith("uuid") else fill(piece))
            if hole
            else piece
            for hole, piece in ((at % 2, piece) for at, piece in enumerate(pieces))
        ]
        return "".join(filled)

    def records(self):
        """(path below the folder, text) of every record, in order."""
        for at, name in enumerate(self.names):
            kind, change = self.faulty.get(at, ("healthy", None))
            text = self.text(at)
            if change == "twice":
                yield f"4712/{name}.json", self.text(at)
            elif change is not None:
                changed = change(self.usual(at))
                if kind in OF_TEXT:
                    text = changed(text)
                else:
                    document = json.loads(text)
                    changed(document)
                    text = json.dumps(document, indent=1)
            if kind != "node-missing":
                yield f"4711/{name}.json", text

    def write(self, folder):
        """Write all records below the folder; returns by node the finding that has to name it."""
        for name, text in self.records():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return self.planted
