"""What it means how the kit's own kernels were built, verified, and measured beside cuBLAS."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gpusmoke.facts import Facts, Json, objects
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.driver import driver
from gpusmoke.findings.exercise import devices_used, gpu_of, ordinals, wrong_result
from gpusmoke.findings.rates import judge as judge_rates

PRODUCT = ("dtype", "shape", "layout", "regime")


def kernels(facts: Facts, ordinal: int) -> Iterator[Finding]:
    """How building and verifying went on one GPU."""
    row, gpu = facts.row(f"bench.{ordinal}.kernels"), gpu_of(facts, "bench", ordinal)
    error = row.get("error")
    if isinstance(error, dict):
        yield Finding.from_json(error)._replace(gpu=gpu)
        return
    built = objects(row.get("built"))
    if built:
        names = ", ".join(f"{one.get('kernel')} ({one.get('architecture')})" for one in built)
        evidence = [f"{one.get('kernel')}: {one.get('seconds')} s" for one in built]
        yield finding("kernels-built", evidence, gpu, names=names, seconds=row.get("build_seconds"))
    wrong = objects(row.get("wrong"))
    for case in wrong:
        size = "x".join(map(str, case.get("shape") or ()))
        what = f"matmul_{case.get('family')} of {case.get('dtype')} {size} {case.get('layout')}"
        yield wrong_result(what, {key: value for key, value in case.items() if key != "family"}, gpu)
    if row.get("cases") and not wrong:
        yield finding("kernels-right", [], gpu, count=row["cases"])


def beside_cublas(measurements: Sequence[dict[str, Json]]) -> Iterator[Finding]:
    """Each GPU's kernels: their rates as shares of cuBLAS's in the same run, by geometric mean."""
    usual = {key(row): row["value"] for row in measurements if row["backend"] == "cublas" and row["value"] > 0}
    shares: dict[tuple[int | None, str, str], dict[str, list[tuple[float, str]]]] = {}
    for row in measurements:
        if row["backend"].startswith("nvcc") and key(row) in usual:
            ratio = row["value"] / usual[key(row)]
            told = f"{row['dtype']} {'x'.join(map(str, row['shape']))} {row['layout']} {row['regime']}: {ratio:.3f}"
            mine = shares.setdefault((row["gpu"], row["backend"], row["dtype"]), {})
            mine.setdefault(row["regime"], []).append((ratio, told))
    for (gpu, backend, dtype), regimes in shares.items():
        words = [f"{mean([ratio for ratio, _ in found]):.2f} x {name}" for name, found in regimes.items()]
        evidence = [told for found in regimes.values() for _, told in found]
        count = max(len(found) for found in regimes.values())
        products = f"{count} product{'s' if count > 1 else ''}"
        yield finding(
            "beside-cublas", evidence, gpu, kernel=backend, dtype=dtype, shares=", ".join(words), products=products
        )


def key(row: dict[str, Json]) -> tuple[Json, ...]:
    """What two measurements have in common that may be compared: the GPU and the product."""
    return (row["gpu"], *(tuple(row[name]) if name == "shape" else row[name] for name in PRODUCT))


def mean(values: Sequence[float]) -> float:
    """The geometric mean, which is right for ratios; of numbers above 0."""
    return math.exp(sum(map(math.log, values)) / len(values))


def judge(facts: Facts, measurements: Sequence[dict[str, Json]]) -> list[Finding]:
    """Every finding of `kernels`: those of bench, and how the kernels fared."""
    if devices_used(facts) == ["cpu"]:
        return [finding("kernels-need-gpu", facts.evidence("torch.available", "cuda.init")), *driver(facts)]
    found = judge_rates(facts, measurements)
    for ordinal in ordinals(facts, "bench"):
        found += kernels(facts, ordinal)
    return [*found, *beside_cublas(measurements)]
