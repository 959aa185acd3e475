"""What the workflows promise: the gate waits for every job, and no task of pixi.toml goes untested."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CI = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
JOBS = dict(re.findall(r"^  ([a-z][\w-]*):\n((?:    .*\n|  *#.*\n|\n)+)", CI[CI.index("\njobs:") :], re.MULTILINE))


def runs(text):
    """The commands in it, without its comments."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def test_the_gate_waits_for_every_other_job_whatever_became_of_them():
    (needs,) = re.findall(r"^    needs: \[(.*)\]$", JOBS["gate"], re.MULTILINE)
    assert set(needs.split(", ")) == JOBS.keys() - {"gate"}
    assert len(JOBS) > 5
    assert re.search(r"^    if: always\(\)", JOBS["gate"], re.MULTILINE)


def test_every_task_is_run_by_a_job():
    manifest = tomllib.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
    tasks = {task for table in (manifest, *manifest["feature"].values()) for task in table.get("tasks", {})}
    run = re.findall(r"\bpixi run (?:-e \w+ )?([\w-]+)", runs("".join(JOBS.values())))
    assert tasks - set(run) == set()


def test_every_job_has_a_time_limit_and_permissions_of_its_own():
    assert re.search(r"^permissions: \{\}$", CI, re.MULTILINE)
    for name, text in JOBS.items():
        assert re.search(r"^    timeout-minutes: \d+$", text, re.MULTILINE), name
        assert re.search(r"^    permissions:$", text, re.MULTILINE), name


def test_the_gpu_job_has_no_override_no_cache_and_leaves_its_record():
    gpu, action = runs(JOBS["gpu"]), (ROOT / ".github/actions/gpu-smoke/action.yml").read_text(encoding="utf-8")
    assert "CONDA_OVERRIDE" not in gpu + action
    assert "if-no-files-found: error" in gpu
    assert "cache: false" in action
    assert "post-cleanup: true" in action
