"""The environments that tasks run in where there is no Pixi: from PyPI into .nox, with the pins of pyproject.toml."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import nox

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
GROUPS = {"tools": ["tools"], "report": ["report"], "gpu": ["gpu", "test"], "compile": ["compile"], "lint": ["lint"]}
# Bytes to download and on disk, on linux-64; elsewhere PyTorch comes without CUDA and is smaller.
SIZES = {
    "tools": (27e6, 135e6),
    "report": (70e6, 300e6),
    "gpu": (3.0e9, 6.1e9),
    "compile": (240e6, 700e6),
    "lint": (55e6, 200e6),
}
# uv installs on all cores, in a third of pip's time; it is 20 MB itself.
WORTH_UV = 200e6
# What pip may have been told, and how uv is told the same; of other settings pip alone knows what to do.
UV_WORDS = {
    "cert": "SSL_CERT_FILE",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
    "proxy": "ALL_PROXY",
}
OF_NO_ACCOUNT = {"break-system-packages", "default-timeout", "disable-pip-version-check", "no-cache-dir", "no-color"}
OF_NO_ACCOUNT |= {"no-input", "progress-bar", "quiet", "require-virtualenv", "retries", "root-user-action", "timeout"}
OF_NO_ACCOUNT |= {"verbose"}


def environment(name: str) -> Path:
    """The Python of an environment, which is made first where it is missing, unfinished or out of date."""
    if not is_ready(name):
        import fcntl  # Windows has none, and only Pixi there

        (ROOT / ".nox").mkdir(exist_ok=True)
        with (ROOT / ".nox" / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another run, which is installing .nox/{name}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_ready(name):
                install(name, lock.fileno())
    return ROOT / ".nox" / name / "bin" / "python"


def requirements(name: str) -> tuple[str, ...]:
    """What pyproject.toml pins for an environment."""
    return nox.project.dependency_groups(PYPROJECT, *GROUPS[name])


def stamp(name: str) -> str:
    """What a finished environment was made for and from."""
    return "\n".join([f"{sysconfig.get_platform()}, Python {sysconfig.get_python_version()}", *requirements(name)])


def is_ready(name: str) -> bool:
    """Whether nothing has to be installed."""
    written = ROOT / ".nox" / name / "stamp"
    return written.is_file() and written.read_text(encoding="utf-8") == stamp(name)


def install(name: str, lock: int) -> None:
    """Make an environment from nothing, its stamp last: an interrupted one is never taken for a finished one."""
    folder = ROOT / ".nox" / name
    download, on_disk = SIZES[name]
    shutil.rmtree(folder, ignore_errors=True)
    # pip keeps every download until the last package is unpacked, and one more copy in its cache.
    needed = on_disk + download * (1 if os.environ.get("PIP_NO_CACHE_DIR") else 2)
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        stop(
            f"installing {folder} takes {size(needed)}, but {size(free)} are free there; free some, or put the "
            f"repository on a larger disk (PIP_NO_CACHE_DIR=1 saves {size(download)})"
        )
    say(f"downloading {size(download)} from PyPI into {folder} ({size(on_disk)} on disk), this once")
    temporary, python = folder / "tmp", folder / "bin" / "python"
    temporary.mkdir(parents=True)
    log = folder.with_suffix(".log")
    with log.open("w") as quiet:
        output = sys.stderr if sys.stderr.isatty() else quiet  # progress is for people
        words = "above" if output is sys.stderr else f"in {log}"

        def succeeds(*command: str | Path, told: Mapping[str, str] | None = None) -> bool:
            # No deadline: installers have their own for a silent network, and a slow one may take hours. They inherit
            # the lock: one that outlives this process still keeps others away. /tmp may be small.
            environ = {**(told or {}), **os.environ, "TMPDIR": str(temporary)}
            return not subprocess.run(command, env=environ, stdout=output, stderr=output, pass_fds=[lock]).returncode

        pip: list[str | Path] = [python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]

        def by_uv() -> bool:
            told = settings_for_uv(python) if download >= WORTH_UV else None
            if told is None or not succeeds(*pip, *nox.project.dependency_groups(PYPROJECT, "installer")):
                return False
            # What is unpacked on the environment's own disk is linked and not copied.
            told = {"UV_CACHE_DIR": str(temporary / "uv"), **told}
            uv: list[str | Path] = [folder / "bin" / "uv", "pip", "install", "--compile-bytecode", "--python", python]
            if succeeds(*uv, *requirements(name), told=told):
                return True
            say(f"uv could not install {folder} (its words are {words}); now pip tries, which takes longer")
            return False

        made = succeeds(sys.executable, "-I", "-m", "venv", folder)
        if not made or not (by_uv() or succeeds(*pip, *requirements(name))):
            stop(
                f"{folder} could not be installed from PyPI (pip's words are {words}): check the network, or set "
                "HTTPS_PROXY or PIP_INDEX_URL; then run the same command again"
            )
    shutil.rmtree(temporary)
    (folder / "stamp").write_text(stamp(name), encoding="utf-8")


def settings_for_uv(python: Path) -> dict[str, str] | None:
    """What pip was told, as variables for uv; None where there is something that only pip can be told."""
    listing = subprocess.run([python, "-I", "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=60)
    told = {}
    for line in listing.stdout.splitlines():
        name, _, value = line.partition("=")  # global.index-url='https://…', or :env:.index-url=…
        setting = name.rpartition(".")[2]
        if setting in UV_WORDS:
            told[UV_WORDS[setting]] = ",".join(ast.literal_eval(value).split())
        elif setting not in OF_NO_ACCOUNT:
            return None
    return None if listing.returncode else told


def size(count: float) -> str:
    """Bytes, for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def say(text: str) -> None:
    """Standard output belongs to the tool."""
    print(f"nox: {text}", file=sys.stderr, flush=True)


def stop(sentence: str) -> NoReturn:
    """Say why a task can't be started."""
    say(sentence)
    sys.exit(2)
