"""The kit's types, checked against the PyTorch that it is used with."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.long


ROOT = Path(__file__).parents[2]
CONFIGURED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["files"]
# Nothing else looks at these where there is no GPU, so that they would go on calling what is called otherwise by now.
ON_GPUS = sorted((ROOT / "tests").rglob("test_*on_gpu*.py"))


def test_mypy_has_nothing_to_say():
    assert ON_GPUS
    command = [sys.executable, "-m", "mypy", *CONFIGURED, *ON_GPUS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
