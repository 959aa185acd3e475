"""A clone whose Pythons are stand-ins: scripts/run and noxfile.py run for real in it, but pip installs nothing."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
# All that scripts/run may need of a machine.
TOOLS = [
    "awk",
    "bash",
    "cat",
    "cp",
    "cut",
    "dirname",
    "env",
    "grep",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sed",
    "sleep",
]
TOOLS += ["sort", "tail", "uname"]

# Makes environments whose Python is this file again. pip, which was told STAND_IN_CONFIG, only notes what it should
# install, and then does what STAND_IN_PIP says; so does uv, once it is installed (STAND_IN_UV). nox is the real one,
# with the stand-in as sys.executable and as much disk as STAND_IN_FREE says.
PYTHON = r"""#!/usr/bin/env bash
case "$*" in
  *ensurepip*) [[ -z "${STAND_IN_BARE:-}" ]] ;;
  "-I -m venv "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  "-I -m pip config list") printf '%s' "${STAND_IN_CONFIG:-}" ;;
  "-I -m pip install "*)
    words=$*
    printf '%s\n' "${words##*--no-input }" >>"$STAND_IN_LOG"
    eval "${STAND_IN_PIP:-}"
    [[ $words != *" uv=="* ]] || cp "$0" "${0%python}uv"
    ;;
  "pip install --compile-bytecode --python $(dirname "$0")/python "*)
    printf '%s\n' "${*:6}" >>"$STAND_IN_LOG"
    env | grep -E '^(UV|SSL|ALL)_' | sort >"$STAND_IN_LOG.uv"
    eval "${STAND_IN_UV:-}"
    ;;
  "-I -m nox "*)
    shift 3
    exec REAL -I -c '
import os, runpy, shutil, sys
from types import SimpleNamespace
sys.executable = sys.argv.pop(1)
if "STAND_IN_FREE" in os.environ:
    shutil.disk_usage = lambda path: SimpleNamespace(free=float(os.environ["STAND_IN_FREE"]))
runpy.run_module("nox", run_name="__main__", alter_sys=True)' "$0" "$@"
    ;;
  *) exec REAL "$@" ;;
esac
"""

# The kit, as far as it concerns who starts it.
KIT = """
import json, os, sys, time
if "STAND_IN_WAITS" in os.environ:
    try:
        print("waiting", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(1)  # longer than nox would give it
        print("kept what was measured", flush=True)
        sys.exit(130)
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "root": os.environ["PIXI_PROJECT_ROOT"]}))
sys.exit(int(os.environ.get(f"STAND_IN_{sys.argv[1].upper()}_EXIT", "0")))
"""


class Clone:
    """A clone of this repository on a machine that has bash, and nothing else until a test adds it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my clone"
        self.path = folder / "bin"
        self.pip_log = folder / "pip.log"
        self.uv_environ = folder / "pip.log.uv"
        self.started: list[subprocess.Popen] = []
        self.path.mkdir()
        for tool in TOOLS:
            (self.path / tool).symlink_to(shutil.which(tool))
        for name in ("scripts/run", "scripts/from_pypi.py", "noxfile.py", "pixi.toml", "pyproject.toml"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        kit = self.root / "src" / "gpusmoke" / "__main__.py"
        kit.parent.mkdir(parents=True)
        kit.write_text(KIT)

    def has_program(self, name: str, text: str) -> Path:
        program = self.path / name
        program.unlink(missing_ok=True)
        program.write_text(text)
        program.chmod(0o755)
        return program

    def has_python(self, name: str = "python3.11") -> Path:
        return self.has_program(name, PYTHON.replace("REAL", sys.executable))

    def environ(self, settings: dict) -> dict:
        return {"PATH": str(self.path), "STAND_IN_LOG": str(self.pip_log), "STAND_IN_FREE": "1e15", **settings}

    def run(self, *arguments: str, cwd: Path | None = None, **settings: str) -> subprocess.CompletedProcess:
        """`./scripts/run ARGUMENTS` to its end; settings are environment variables."""
        return subprocess.run(
            [self.root / "scripts" / "run", *arguments],
            cwd=cwd or self.root,
            env=self.environ(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen:
        """The same, not waited for, and in a process group of its own as in a terminal."""
        process = subprocess.Popen(
            [self.root / "scripts" / "run", *arguments],
            cwd=self.root,
            env=self.environ(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    @property
    def installed(self) -> list[str]:
        """The first requirement of every call of pip or uv."""
        return [line.split()[0] for line in self.pip_log.read_text().splitlines()] if self.pip_log.exists() else []


@pytest.fixture
def clone(tmp_path):
    clone = Clone(tmp_path)
    yield clone
    for process in clone.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE_SECONDS)


@pytest.fixture
def nox():
    """`nox("-s", "check", folder=...)`: nox itself, in this environment."""

    def run(*arguments, folder=ROOT, **settings):
        return subprocess.run(
            [sys.executable, "-m", "nox", "--noxfile", folder / "noxfile.py", *arguments],
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run
