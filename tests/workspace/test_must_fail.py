"""scripts/must-fail: a negative test that passes where it should not would be worse than none."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/must-fail"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script, for jobs on Linux")
SAYS_AND_FAILS = ["sh", "-c", "echo there is no-driver here >&2; exit 1"]


def run(*args):
    return subprocess.run([SCRIPT, *args], capture_output=True, text=True, timeout=30, check=False)


def test_a_command_that_fails_as_it_must_passes_and_is_shown():
    done = run("1", "no-driver", *SAYS_AND_FAILS)
    assert done.returncode == 0
    assert "there is no-driver here" in done.stdout


def test_a_failure_that_is_wanted_is_no_annotation_of_the_run(monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "not in Actions" in run("1", "not in", "sh", "-c", "echo ${GITHUB_ACTIONS:-not in Actions}; exit 1").stdout


@pytest.mark.parametrize(
    ("code", "words", "command", "told"),
    [
        ("1", "no-driver", ["echo", "no-driver"], "ended with 0, and had to end with 1"),
        ("2", "no-driver", SAYS_AND_FAILS, "ended with 1, and had to end with 2"),
        ("1", "gpu-required", SAYS_AND_FAILS, "did not say 'gpu-required'"),
        ("1", "no-driver", ["nosuchcommand"], "ended with 127"),
    ],
)
def test_anything_else_is_red(code, words, command, told):
    done = run(code, words, *command)
    assert done.returncode == 1
    assert told in done.stderr


@pytest.mark.parametrize(
    "args", [(), ("1",), ("1", "words"), ("0", "words", "true"), ("1", "", "false"), ("x", "y", "z")]
)
def test_wrong_usage_is_never_green(args):
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ./scripts/must-fail")
