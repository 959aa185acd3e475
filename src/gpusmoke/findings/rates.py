"""What measured rates mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpusmoke.facts import Facts, Json, listed, shown
from gpusmoke.findings import Finding, finding, links, siblings
from gpusmoke.findings.comparable import workload
from gpusmoke.findings.driver import driver
from gpusmoke.findings.exercise import children, coverage, gpu_of, ordinals, wrong_result
from gpusmoke.findings.health import BUSY_PERCENT, number, nvml_row, uuid_of
from gpusmoke.findings.pytorch import pytorch
from gpusmoke.measuring.clocks import HARMLESS_REASONS, POWER_CAP, SLOWED_DOWN, reason_names, together
from gpusmoke.measuring.expected import shortfalls

LOWERED = 0.99  # of the default: drivers round


def wrong(measurements: Sequence[dict[str, Json]]) -> Iterator[Finding]:
    """Results that are not right; of copies between GPUs links.py tells."""
    for row in measurements:
        if "peer" not in row and row["verified"]["passed"] is not True:
            dtype, quantity = row["dtype"], row["quantity"].replace("-", " ")
            yield wrong_result(f"The {dtype} product" if dtype else f"The {quantity}", row["verified"], row["gpu"])


def device_rates(facts: Facts, measurements: Sequence[dict[str, Json]], ordinal: int) -> Iterator[Finding]:
    """One device: a summary line, and what was wrong, slowed down or left out."""
    row = facts.row(f"bench.{ordinal}")
    if not row and facts.row(f"bench.worker.{ordinal}").get("finished"):
        return  # PyTorch does not see this GPU, and another child had the CPU
    gpu = gpu_of(facts, "bench", ordinal)
    mine = [m for m in measurements if m.get("gpu") == gpu]
    name = row.get("name") or "the device"
    yield from wrong(mine)
    for measurement in mine:
        if gpu is not None and measurement.get("settled") is False:  # a CPU has no power controller to wait for
            yield finding("not-settled", [], gpu, dtype=measurement["dtype"])
    yield from slowed(facts, ordinal, gpu, mine)
    if gpu is not None:
        yield from too_slow(str(name), gpu, mine)
    for left_out in facts.rows(f"bench.{ordinal}.left_out"):
        item, text = left_out.get("what"), left_out.get("text")
        if left_out.get("failed"):
            yield finding("step-failed", [f"{item}: {text}"], gpu, what=f"The {item} benchmark", text=text)
        else:
            yield finding("dtype-skipped", [], gpu, dtype=item, text=text)
    if best := facts.row(f"bench.{ordinal}.search"):
        size = "x".join(str(one) for one in listed(best.get("shape")))
        evidence = facts.evidence(f"bench.{ordinal}.search")
        yield finding("fastest-shape", evidence, gpu, size=size, layout=best.get("layout"), value=best.get("value"))
    if gpu is not None and mine and not any("datasheet" in measurement for measurement in mine):
        yield finding("peak-unknown", [f"name: {name}"], gpu, name=name)
    if mine:
        yield finding("rates-measured", [], gpu, name=name, summary=summary(mine))
    else:
        yield finding("nothing-measured", [], gpu, name=name)


def too_slow(name: str, gpu: int, rows: Sequence[dict[str, Json]]) -> Iterator[Finding]:
    """One finding for all rates that are below what the model reaches, named after the one that is furthest below."""
    shorts = sorted(shortfalls(name, rows), key=lambda short: float(short.row["value"]) / short.low)
    for short, *rest in [shorts] if shorts else []:
        row, words = short.row, {"name": name, "low": short.low, "size": "x".join(map(str, short.row["shape"]))}
        words |= {"dtype": row["dtype"], "regime": row["regime"], "value": f"{row['value']:.4g}", "unit": row["unit"]}
        words["more"] = f" (and {len(rest)} more)" if rest else ""
        evidence = [
            f"{one.row['dtype']} {one.row['regime']}: {one.row['value']:.4g} {one.row['unit']}, expected {one.low} or "
            f"more ({one.source})"
            for one in shorts
        ]
        yield finding("slower-than-its-model", [*evidence, f"telemetry: {shown(row['telemetry'])}"], gpu, **words)


def summary(rows: Sequence[dict[str, Json]]) -> str:
    """The first product from rest and settled, in words; else whatever was measured first."""
    first = next((row for row in rows if row["quantity"] == "matmul"), rows[0])
    same = [row for row in rows if workload(row) == workload(first)]
    what = first["dtype"] or first["quantity"].replace("-", " ")
    return ", ".join(f"{what} {row['value']:.4g} {row['unit']} {row['regime']}" for row in same)


def slowed(facts: Facts, ordinal: int, gpu: int | None, rows: Sequence[dict[str, Json]]) -> Iterator[Finding]:
    """What held the clock down during the run, and who else was using the GPU."""
    reasons = together(row["telemetry"].get("throttle_reasons", 0) for row in rows)
    evidence = [f"throttle reasons: {reasons:#x} (NVML)"]
    if reasons & SLOWED_DOWN:
        yield finding("clock-held-down", evidence, gpu, reasons=", ".join(reason_names(reasons & SLOWED_DOWN)))
    if rest := reasons & ~HARMLESS_REASONS & ~SLOWED_DOWN:
        yield finding("clock-limited", evidence, gpu, reasons=", ".join(reason_names(rest)))
    card = nvml_row(facts, uuid_of(facts, ordinal))
    limit, default = number(card, "power_limit_w"), number(card, "power_limit_default_w")
    if reasons & POWER_CAP and limit is not None and default is not None and limit < LOWERED * default:
        evidence.append(f"power limit {limit:.0f} W, default {default:.0f} W (NVML)")
        words = {"limit": f"{limit:.0f}", "default": f"{default:.0f}", "index": card.get("index")}
        yield finding("held-by-lowered-power-cap", evidence, gpu, **words)
    others = facts.row(f"bench.{ordinal}.others")
    count, use = number(others, "processes") or 0, number(others, "utilisation_percent") or 0
    if count > 0 or use > BUSY_PERCENT:
        seen = [f"{count} process{'es' if count > 1 else ''}"] if count else []
        seen += [f"busy {use} % of the time before the run"] if use else []
        yield finding("another-process", facts.evidence(f"bench.{ordinal}.others"), gpu, seen=", ".join(seen))


def judge(facts: Facts, measurements: Sequence[dict[str, Json]]) -> list[Finding]:
    """Every finding of `bench`."""
    found = [*coverage(facts), *driver(facts), *pytorch(facts), *children(facts, "bench")]
    own = [row for row in measurements if "peer" not in row]
    for ordinal in ordinals(facts, "bench"):
        found += device_rates(facts, own, ordinal)
    busy = [one.gpu for one in found if one.id == "another-process"]
    known: list[int | None] = []
    for at, one in enumerate(found):
        if one.id == "slower-than-its-model":
            known.append(one.gpu)
            found[at] = one._replace(evidence=(*one.evidence, *siblings.beside(facts, own, one.gpu)))
    return [*found, *siblings.judge(facts, own, known), *links.judge(facts, measurements, busy)]
