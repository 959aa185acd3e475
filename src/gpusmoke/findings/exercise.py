"""What it means how the children of `check` fared: PyTorch, copies and verified products on each device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gpusmoke.facts import Facts, Json, listed, objects, shown
from gpusmoke.findings import Finding, catalogue, finding, ids_for, links, problems
from gpusmoke.findings.driver import driver
from gpusmoke.findings.pytorch import pytorch

BY_NVCC = "A product by a kernel that nvcc built"
NVCC_SAYS = ("failure", "said", "source", "error", "command", "product")  # what is in a finding's own words
NVCC_WORDS = ("nvcc", "version", "origin", "host_compiler", "architecture", "source", "error", "command")


def ordinals(facts: Facts, job: str) -> list[int]:
    """The devices that had a child for this job."""
    prefix = f"{job}.worker."
    return sorted(int(name.removeprefix(prefix)) for name in facts if name.startswith(prefix))


def devices_used(facts: Facts) -> list[str]:
    """The devices that children worked on, well or not, as PyTorch names them."""
    rows = [facts.row(f"{job}.{n}") for job in ("check", "bench", "soak") for n in ordinals(facts, job)]
    return [str(row["device"]) for row in rows if "device" in row]


def gpu_of(facts: Facts, job: str, ordinal: int) -> int | None:
    """The GPU that a child was for, or None where it had the CPU."""
    device = facts.row(f"{job}.{ordinal}").get("device")
    on_gpu = str(device).startswith("cuda") if device else ordinal < len(facts.rows("cuda.devices"))
    return ordinal if on_gpu else None


def children(facts: Facts, job: str) -> Iterator[Finding]:
    """Children that ended otherwise than by finishing their work."""
    for ordinal in ordinals(facts, job):
        gpu = gpu_of(facts, job, ordinal)
        outcome = facts.row(f"{job}.worker.{ordinal}")
        where = outcome.get("last_step") or "before its first step"
        evidence = [
            f"exit code {outcome.get('exit_code')}",
            *(f"stderr: {line}" for line in listed(outcome.get("stderr"))[-4:]),
        ]
        if outcome.get("unkillable"):
            yield finding("worker-unkillable", [f"last step: {where}"], gpu)
        elif silent := outcome.get("silent_seconds"):
            yield finding("worker-silent", evidence, gpu, where=where, seconds=silent)
        elif outcome.get("timed_out"):
            yield finding("worker-hung", evidence, gpu, where=where, seconds=facts.value(f"request.{job}_deadline"))
        elif not outcome.get("finished") or outcome.get("exit_code") != 0:
            code = outcome.get("exit_code")
            how = f"signal {-code}" if isinstance(code, int) and code < 0 else f"exit code {code}"
            yield finding("worker-crashed", evidence, gpu, how=how, where=where)
        if stray := listed(outcome.get("stray_lines")):
            yield finding("worker-garbled", [f"stdout: {line}" for line in stray[:4]], gpu)


def wrong_result(what: str, checked: Mapping[str, Json], gpu: int | None) -> Finding:
    """The finding of a result that failed its verification, as it stands in a measurement or a step of check."""
    error, bound = checked.get("error"), checked.get("bound")
    if checked.get("repeats_equal") is False:
        how = "a repeat of it has other bits"
    elif error is None or checked.get("method") == "bitwise":
        how = "bytes were changed on the way"
    else:
        how = f"largest error {four_digits(error)}, allowed {four_digits(bound)}"
    return finding(
        "wrong-result", [f"{key}: {shown(value)}" for key, value in checked.items()], gpu, what=what, how=how
    )


def four_digits(value: Json) -> str:
    """An error as a sentence tells it; the evidence has all of its digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def steps(facts: Facts) -> Iterator[Finding]:
    """Each device's copies and products: one line where all is right, one finding per step where not."""
    for ordinal in ordinals(facts, "check"):
        row = facts.row(f"check.{ordinal}")
        done = objects(row.get("steps"))
        gpu = gpu_of(facts, "check", ordinal)
        for step in done:
            what, error = step.get("step"), step.get("error_text")
            rest = {key: value for key, value in step.items() if key != "step"}
            if error:
                evidence = [f"{key}: {value}" for key, value in rest.items()]
                code = step.get("error_code")
                kind = next(iter(ids_for("kernel", code)), "step-failed")
                capability = row.get("capability")
                yield finding(kind, evidence, gpu, what=what, text=error, code=code, capability=capability, count="")
            elif step.get("passed") is not True:
                yield wrong_result(str(what), rest, gpu)
        if (
            done
            and facts.row(f"check.worker.{ordinal}").get("finished")
            and all(step.get("passed") is True for step in done)
        ):
            what = ", ".join(str(step.get("step")) for step in done)
            yield finding("gpu-works" if gpu is not None else "cpu-works", [], gpu, name=row.get("name"), steps=what)


def failures(facts: Facts) -> list[Finding]:
    """What was wrong in any step, however the run ended."""
    return problems(list(steps(facts)))


def pcie_links(facts: Facts) -> Iterator[Finding]:
    """PCIe links that stay below what card and slot can do while data moves."""
    for ordinal in ordinals(facts, "check"):
        link = facts.row(f"check.{ordinal}").get("link")
        link = link if isinstance(link, dict) else {}
        pairs = [(link.get(name), link.get(f"{name}_max")) for name in ("generation", "width")] if link else []
        if any(isinstance(now, int) and isinstance(most, int) and now < most for now, most in pairs):
            (generation, generation_max), (width, width_max) = pairs
            now, most = f"generation {generation}, x{width}", f"generation {generation_max}, x{width_max}"
            yield finding("pcie-link-slow", [f"link after a copy: {link} (NVML)"], ordinal, now=now, most=most)


def nvcc_words(row: Mapping[str, Json]) -> dict[str, Json]:
    """What fills in the findings about nvcc, of a child's row."""
    return {key: row.get(key) for key in NVCC_WORDS}


def by_nvcc(facts: Facts) -> Iterator[Finding]:
    """How the kernel fared on each device that --nvcc has nvcc build: compiled, taken by the driver, and right."""
    for ordinal in ordinals(facts, "check"):
        if not (row := facts.row(f"nvcc.{ordinal}")):
            continue
        gpu, product = gpu_of(facts, "check", ordinal), row.get("product")
        failure, text, code = row.get("failure"), row.get("error_text"), row.get("error_code")
        known = {key: value for key, value in row.items() if key not in NVCC_SAYS}
        evidence = [*map(str, listed(row.get("said"))), *(f"{key}: {shown(value)}" for key, value in known.items())]
        words = nvcc_words(row) | {"what": BY_NVCC, "text": text, "code": code, "count": ""}
        words["host_compiler"] = words["host_compiler"] or "a C++ compiler of its own choice"
        words["capability"] = facts.row(f"check.{ordinal}").get("capability")
        words["cuda"] = facts.text("cuda.driver_version")
        if failure and str(failure) in catalogue():
            yield finding(str(failure), evidence, gpu, **words)
        elif text:
            kind = next(iter([*ids_for("nvcc", code), *ids_for("kernel", code)]), "step-failed")
            yield finding(kind, evidence, gpu, **words)
        elif isinstance(product, dict) and product.get("passed") is not True:
            yield wrong_result(BY_NVCC, {**known, **product}, gpu)
        elif product or gpu is None:
            yield finding("nvcc-works" if product else "nvcc-compiles", [], gpu, **words)


def coverage(facts: Facts) -> Iterator[Finding]:
    """Whether CUDA was exercised at all, and whether it had to be."""
    used = devices_used(facts)
    if any(device.startswith("cuda") for device in used):
        return
    if "cpu" in used:
        yield finding("cuda-not-exercised", facts.evidence("torch.available", "torch.cuda"))
    if facts.flag("request.require_gpu"):
        yield finding("gpu-required", facts.evidence("request.require_gpu", "host.nvidia_cards", "cuda.init"))


def judge(facts: Facts) -> list[Finding]:
    """Every finding of `check`: why CUDA does not start, and how each device fared."""
    return [
        *coverage(facts),
        *driver(facts),
        *pytorch(facts),
        *children(facts, "check"),
        *steps(facts),
        *pcie_links(facts),
        *by_nvcc(facts),
        *links.judge(facts),
    ]
