"""Machines and PyTorchs that fail, for the tables in this folder, and what each of their cases must show."""

import json
import os
import sys
from pathlib import Path

import pytest

from gpusmoke.findings import catalogue

FAULTS = Path(__file__).parents[1] / "faults"
IN_CHILD = "import sys\nif 'gpusmoke.workers.child' in sys.orig_argv:\n"


@pytest.fixture
def named(valid):
    """`named(done, id, advice)`: the program ended with that finding, its exit code and its first advice."""

    def check(done, expected, advice):
        record = json.loads(done.stdout)
        valid(record)
        found = [one for one in record["findings"] if one["id"] == expected]
        assert found, [one["id"] for one in record["findings"]]
        severity = catalogue()[expected]["severity"]
        assert {one["severity"] for one in found} == {severity}
        others = {one["severity"] for one in record["findings"] if one["id"] != expected}
        assert done.returncode == (1 if "problem" in {severity, *others} else 0)
        assert "".join(found[0]["advice"][:1]).startswith(advice)
        return found[0]

    return check


@pytest.fixture
def children(kit, tmp_path):
    """`children(code)`: the variables that make the kit's children, and nothing else, run this code at their start.

    `parent` is what the program itself and its probes run.
    """

    def variables(code, parent="pass"):
        folder = tmp_path / "children"
        folder.mkdir()
        lines = [f"    {line}\n" for line in code.split("\n")]
        folder.joinpath("sitecustomize.py").write_text("".join([IN_CHILD, *lines, f"else:\n    {parent}\n"]))
        search = [str(folder), str(FAULTS), kit.environment()["PYTHONPATH"]]
        return {"PYTHONPATH": os.pathsep.join([*search, *(one for one in sys.path if "site-packages" in one)])}

    return variables


@pytest.fixture
def environment(kit, tmp_path):
    """An environment of its own for the kit to run in: a folder with a Python, lib and conda-meta."""
    prefix, interpreter = tmp_path / "environment", Path(sys.executable).resolve()
    (prefix / "bin").mkdir(parents=True)
    (prefix / "conda-meta").mkdir()
    (prefix / "lib/python{}.{}/site-packages".format(*sys.version_info)).mkdir(parents=True)
    (prefix / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\n")
    (prefix / "bin/python").symlink_to(interpreter)
    kit.python = str(prefix / "bin/python")
    return prefix
