"""What a healthy card of a model reaches at least. Data: data/expected.toml."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpusmoke.facts import Json
from gpusmoke.measuring.peaks import named
from gpusmoke.tables import table

SMALLEST = 4096**3
NARROWEST = 1024  # M, N and K: below it memory sets the pace


@dataclass(frozen=True)
class Shortfall:
    """A rate below what is expected, in TFLOP/s (TOP/s for int8): which measurement, the bound, and where it stands."""

    row: dict[str, Json]
    low: float
    source: str


def shortfalls(name: str, rows: Sequence[dict[str, Json]]) -> list[Shortfall]:
    """Of the measurements of one device, by NVML's name for it, those that are below what is expected of its model.

    Of bursts the best of a format counts, since which shape is fastest depends on the library.
    """
    found = []
    products = [
        row for row in rows if row["quantity"] == "matmul" and row["layout"] == "NT" and row["backend"] == "cublas"
    ]
    for card in table("expected")["card"]:
        if not named(card["names"], name):
            continue
        for dtype, low in card.get("burst", {}).items():
            bursts = [row for row in products if row["regime"] == "burst" and row["dtype"] == dtype]
            # Small and narrow products never reach it: those of a user's own choice are not judged.
            bursts = [row for row in bursts if math.prod(row["shape"]) >= SMALLEST and min(row["shape"]) >= NARROWEST]
            if bursts and (best := max(bursts, key=lambda row: float(row["value"])))["value"] < low:
                found.append(Shortfall(best, low, card["source"]))
        for one in card.get("settled", ()):
            same = [row for row in products if (row["dtype"], row["shape"]) == (one["dtype"], one["shape"])]
            found += [
                Shortfall(row, one["low"], card["source"])
                for row in same
                if row["regime"] == "settled" and row["value"] < one["low"]
            ]
    return found
