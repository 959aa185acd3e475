"""What measured rates mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpusmoke.facts import Facts, Json
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.driver import driver
from gpusmoke.findings.exercise import children, coverage, gpu_of, ordinals
from gpusmoke.findings.pytorch import pytorch
from gpusmoke.measuring.clocks import HARMLESS_REASONS, reason_names


def device_rates(facts: Facts, measurements: Sequence[dict[str, Json]], ordinal: int) -> Iterator[Finding]:
    """One device: a summary line, and what was wrong, slowed down or left out."""
    row = facts.row(f"bench.{ordinal}")
    if not row and facts.row(f"bench.worker.{ordinal}").get("finished"):
        return  # PyTorch does not see this GPU, and another child had the CPU
    gpu = gpu_of(facts, "bench", ordinal)
    mine = [m for m in measurements if m.get("gpu") == gpu]
    name = row.get("name") or "the device"
    for measurement in mine:
        checked = measurement["verified"]
        if checked["passed"] is not True and measurement["regime"] == "settled":
            what = "The repeat of the {} product" if checked["repeats_equal"] is False else "The {} product"
            yield finding(
                "wrong-result",
                [f"{key}: {value}" for key, value in checked.items()],
                gpu,
                what=what.format(measurement["dtype"]),
                error=checked["error"],
                bound=checked["bound"],
            )
        if gpu is not None and measurement.get("settled") is False:  # a CPU has no power controller to wait for
            yield finding("not-settled", [], gpu, dtype=measurement["dtype"])
    reasons = 0
    for measurement in mine:
        reasons |= measurement["telemetry"].get("throttle_reasons", 0)
    if reasons & ~HARMLESS_REASONS:
        held = ", ".join(reason_names(reasons & ~HARMLESS_REASONS))
        yield finding("clock-held-down", [f"throttle reasons: {reasons:#x} (NVML)"], gpu, reasons=held)
    prefix = f"bench.{ordinal}."
    for left_out in sorted(fact for fact in facts if fact.startswith(prefix)):
        dtype, text = left_out.removeprefix(prefix), facts[left_out].reason
        if facts.text(left_out) == "failed":
            yield finding("step-failed", [f"{dtype}: {text}"], gpu, what=f"The {dtype} benchmark", text=text)
        else:
            yield finding("dtype-skipped", [], gpu, dtype=dtype, text=text)
    if gpu is not None and mine and not any("datasheet" in measurement for measurement in mine):
        yield finding("peak-unknown", [f"name: {name}"], gpu, name=name)
    if mine:
        summary = ", ".join(f"{m['dtype']} {m['value']:.4g} {m['unit']} {m['regime']}" for m in mine[:2])
        yield finding("rates-measured", [], gpu, name=name, summary=summary)
    else:
        yield finding("nothing-measured", [], gpu, name=name)


def judge(facts: Facts, measurements: Sequence[dict[str, Json]]) -> list[Finding]:
    """Every finding of `bench`."""
    found = [*coverage(facts), *driver(facts), *pytorch(facts), *children(facts, "bench")]
    for ordinal in ordinals(facts, "bench"):
        found += device_rates(facts, measurements, ordinal)
    return found
