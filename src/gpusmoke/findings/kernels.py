"""What it means how the kit's own kernels were built, verified, and measured beside cuBLAS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import geometric_mean

from gpusmoke.facts import Facts, Json, listed, objects
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.driver import driver
from gpusmoke.findings.exercise import devices_used, gpu_of, nvcc_words, ordinals, wrong_result
from gpusmoke.findings.rates import judge as judge_rates
from gpusmoke.findings.rates import wrong
from gpusmoke.measuring.shares import shares


def kernels(facts: Facts, ordinal: int) -> Iterator[Finding]:
    """How building and verifying went on one GPU."""
    row, gpu = facts.row(f"bench.{ordinal}.kernels"), gpu_of(facts, "bench", ordinal)
    if failure := row.get("failure"):
        yield finding(failure, listed(row.get("said")), gpu, **nvcc_words(row))
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
    """Each GPU's kernels: their rates as shares of cuBLAS's in the same run, by geometric mean, which ratios want."""
    found: dict[tuple[int | None, str, str], dict[str, list[tuple[float, str]]]] = {}
    for row, share in zip(measurements, shares(measurements), strict=True):
        if share is not None and row["backend"].startswith("nvcc"):
            told = f"{row['dtype']} {'x'.join(map(str, row['shape']))} {row['layout']} {row['regime']}: {share:.3f}"
            mine = found.setdefault((row["gpu"], row["backend"], row["dtype"]), {})
            mine.setdefault(row["regime"], []).append((share, told))
    for (gpu, backend, dtype), regimes in found.items():
        words = [f"{geometric_mean(share for share, _ in all_):.2f} x {name}" for name, all_ in regimes.items()]
        evidence = [told for all_ in regimes.values() for _, told in all_]
        count = max(map(len, regimes.values()))
        products = f"{count} product{'s' if count > 1 else ''}"
        yield finding(
            "beside-cublas", evidence, gpu, kernel=backend, dtype=dtype, shares=", ".join(words), products=products
        )


def failures(facts: Facts, measurements: Sequence[dict[str, Json]]) -> list[Finding]:
    """What was wrong, however the run ended."""
    verified = [one for ordinal in ordinals(facts, "bench") for one in kernels(facts, ordinal)]
    # Not what became of nvcc, which whoever ended the run may have ended, too.
    return [*(one for one in verified if one.id == "wrong-result"), *wrong(measurements)]


def judge(facts: Facts, measurements: Sequence[dict[str, Json]]) -> list[Finding]:
    """Every finding of `kernels`: those of bench, and how the kernels fared."""
    if devices_used(facts) == ["cpu"]:
        return [finding("kernels-need-gpu", facts.evidence("torch.available", "cuda.init")), *driver(facts)]
    found = judge_rates(facts, measurements)
    for ordinal in ordinals(facts, "bench"):
        found += kernels(facts, ordinal)
    return [*found, *beside_cublas(measurements)]
