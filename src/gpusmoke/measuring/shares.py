"""Rates as parts of cuBLAS's, for the same product of the same run."""

from __future__ import annotations

from collections.abc import Sequence

from gpusmoke.facts import Json

CUBLAS = "cublas"


def shares(rows: Sequence[dict[str, Json]]) -> list[float | None]:
    """The share of each measurement; None of cuBLAS's own, and where cuBLAS has not measured the same."""
    usual = {product(row): row["value"] for row in rows if row["backend"] == CUBLAS and row["value"] > 0}
    return [
        None if row["backend"] == CUBLAS or product(row) not in usual else row["value"] / usual[product(row)]
        for row in rows
    ]


def product(row: dict[str, Json]) -> tuple[Json, ...]:
    """What is the same where another backend has multiplied the same on the same device."""
    return row["gpu"], row["dtype"], tuple(row["shape"]), row["layout"], row["regime"]
