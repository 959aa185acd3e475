"""What Pixi runs here, and whether that leaves a working GPU unused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gpusmoke.facts import Facts, Json
from gpusmoke.findings import Finding, finding
from gpusmoke.findings.platforms import allowed_here, conda_subdir, cuda_seen_by_pixi, pick, pick_for, version

SLOW_SECONDS = 5.0
EVIDENCE = ("pixi.cuda", "pixi.version", "cuda.driver_version", "host.nvidia_smi", "env.CONDA_OVERRIDE_CUDA")


def environment_in_question(facts: Facts) -> str | None:
    """The environment that `pixi run` gives this user: the one this runs in if it has a CUDA platform, else `default`.

    doctor's own environment has none, so its answer is about `default`. None where Pixi is not used at all.
    """
    if facts.text("pixi.executable") is None:
        return None
    current = facts.row("pixi.current").get("environment")
    here = isinstance(current, str) and any(row.get("cuda") for row in allowed_here(facts, current))
    return str(current) if here else "default"


def installed_here(facts: Facts, environment: str) -> Mapping[str, Json] | None:
    """What that environment was installed for, if it was, and for this kind of machine."""
    rows = facts.rows("pixi.installed")
    return next(
        (r for r in rows if r.get("environment") == environment and r.get("subdir") == conda_subdir(facts)), None
    )


def platform_of(facts: Facts, row: Mapping[str, Json]) -> str:
    """The name that the manifest gives to the platform of an installed environment, or its parts."""
    for platform in facts.rows("pixi.platforms"):
        if platform.get("subdir") == row.get("subdir") and version(platform.get("cuda")) == version(row.get("cuda")):
            return str(platform.get("name"))
    return f"{row.get('subdir')}, {'CUDA ' + str(row['cuda']) if row.get('cuda') else 'CPU'}"


def override(facts: Facts) -> Iterator[Finding]:
    """What Pixi is told, or says, of the driver beside what the driver says itself."""
    value, runs, seen = (facts.text(name) for name in ("env.CONDA_OVERRIDE_CUDA", "cuda.driver_version", "pixi.cuda"))
    evidence = facts.evidence("env.CONDA_OVERRIDE_CUDA", "cuda.driver_version", "pixi.cuda", "cuda.library")
    if value is not None and runs and version(value) > version(runs):
        yield finding("cuda-override-too-high", evidence, value=value, runs=runs)
    elif value is not None:
        yield finding("cuda-override", evidence, value=value)
    elif seen and runs and version(seen) != version(runs):
        yield finding("pixi-driver-disagree", evidence, seen=seen, runs=runs)
    seconds = facts.value("pixi.info_seconds")
    if isinstance(seconds, float) and seconds > SLOW_SECONDS:
        yield finding("nvidia-smi-slow", facts.evidence("pixi.info_seconds", "host.nvidia_smi"), seconds=seconds)
    if seen and facts.text("pixi.cuda_arch") is None:
        for row in facts.rows("pixi.platforms"):
            if row.get("subdir") == conda_subdir(facts) and row.get("arch"):
                evidence = facts.evidence("pixi.cuda", "pixi.cuda_arch")
                yield finding("cuda-arch-undetected", evidence, platform=row.get("name"))


def choice(facts: Facts, cuda_usable: bool) -> Iterator[Finding]:
    """What `pixi run` uses here: what is installed, else what Pixi would pick."""
    name = environment_in_question(facts)
    chosen = pick_for(facts, name or "default")
    evidence, runs = facts.evidence(*EVIDENCE), facts.text("cuda.driver_version")
    if chosen is None:
        allowed = facts.row("pixi.environments").get(name or "")
        if name is not None and isinstance(allowed, list) and allowed:
            here = allowed_here(facts, name)
            needs = [f"{row.get('name')} needs CUDA {row.get('cuda')}" for row in here]
            why = ", ".join(needs) or f"its platforms are {', '.join(map(str, allowed))}"
            if here and (seen := cuda_seen_by_pixi(facts)):
                yield newer_driver(facts, name, str(here[-1].get("cuda")), seen)
            else:
                yield finding("unsupported-platform", evidence, environment=name, why=why)
        return
    fits = pick(allowed_here(facts, name or "default"), conda_subdir(facts), runs) or {}
    left_unused = cuda_usable and fits.get("cuda") is not None and chosen.get("cuda") is None
    installed = installed_here(facts, name) if name else None
    if name is None and left_unused:
        yield finding("pixi-would-take-cpu", evidence, platform=chosen["name"], runs=runs)
    elif left_unused and (installed is None or not installed.get("cuda")):
        yield finding("cpu-platform-on-gpu-machine", evidence, platform=chosen["name"], runs=runs)
    elif installed is None or platform_of(facts, installed) == chosen["name"]:
        yield finding("pixi-platform", evidence, platform=chosen["name"], environment=name or "default")
    elif installed.get("cuda") and version(installed["cuda"]) <= version(cuda_seen_by_pixi(facts)):
        yield finding(
            "pixi-stays", evidence, platform=platform_of(facts, installed), environment=name, better=chosen["name"]
        )
    # What was installed for a CPU or for a newer driver is told by `installations`.


def newer_driver(facts: Facts, environment: str, cuda: str, seen: str) -> Finding:
    """An environment for a newer CUDA than the driver's, which Pixi 0.77 runs (it refuses only where it sees none)."""
    evidence = facts.evidence("pixi.cuda", "cuda.driver_version", "pixi.installed")
    return finding("environment-needs-newer-driver", evidence, environment=environment, cuda=cuda, seen=seen)


def installations(facts: Facts) -> Iterator[Finding]:
    """What each environment was installed for: Pixi keeps using that, also where it would pick another platform now."""
    asked = environment_in_question(facts)
    for row in facts.rows("pixi.installed"):
        name, subdir, cuda = str(row.get("environment")), row.get("subdir"), row.get("cuda")
        fits = pick_for(facts, name) if subdir == conda_subdir(facts) else None
        evidence = [f"environment {name}: installed for {subdir} with cuda {cuda} (conda-meta/pixi)"]
        if fits is not None and not cuda and fits.get("cuda") is not None:
            kind = "sticky-platform" if name == asked else "sticky-platform-elsewhere"
            yield finding(kind, evidence, environment=name, platform=fits["name"])
        elif fits is not None and cuda and version(cuda) > version(cuda_seen_by_pixi(facts)):
            # A machine without a driver, such as a login node, is not the one that it was installed for.
            here, seen = name == asked and facts.text("cuda.driver_version") is not None, cuda_seen_by_pixi(facts)
            kind = "installed-needs-driver" if here else "installed-for-another-machine"
            if here and seen:
                yield newer_driver(facts, name, str(cuda), seen)
            else:
                yield finding(kind, evidence, environment=name, cuda=cuda, platform=fits["name"])
        else:
            yield finding("environment-installed", evidence, environment=name, platform=platform_of(facts, row))
