"""The tasks of the template's own pixi.toml, and its header: house rules that a project may have others for."""

import re
import tomllib
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "pixi.toml").read_text(encoding="utf-8")
MANIFEST = tomllib.loads(TEXT)
TASKS = {
    name: task
    for feature in (MANIFEST, *MANIFEST["feature"].values())
    for name, task in feature.get("tasks", {}).items()
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_what_it_does_and_is_never_skipped_as_up_to_date(task):
    assert TASKS[task]["description"]
    assert not TASKS[task].keys() & {"inputs", "outputs"}


@pytest.mark.parametrize("task", TASKS)
def test_what_runs_by_nox_runs_the_session_of_its_name(task):
    assert "nox" not in TASKS[task]["cmd"] or TASKS[task]["cmd"] == f"nox --no-venv -s {task} --"


def test_the_header_lists_each_task_and_nothing_else():
    header = TEXT.partition("[workspace]")[0]
    typed = re.findall(r"^#     pixi run (?:-e (\S+) )?(\S+)", header, flags=re.M)
    assert {task for _, task in typed} == TASKS.keys()
    assert {environment for environment, _ in typed} - {""} <= MANIFEST["environments"].keys()
