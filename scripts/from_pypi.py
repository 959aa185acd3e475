"""The environments that tasks run in where there is no Pixi: from PyPI into .nox, with the pins of pyproject.toml."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO

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
    """The Python of an environment, which is made first where it is missing, unfinished or out of date.

    Another one that holds all of its packages will do: a cluster's nodes may have no network to make one more.
    """
    holding = [one for one in (name, *GROUPS) if set(requirements(name)) <= set(requirements(one))]
    held = next(filter(is_ready, holding), name)
    if not is_ready(held):
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
    return ROOT / ".nox" / held / "bin" / "python"


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
    told = settings_for_uv() if download >= WORTH_UV else None
    # uv unpacks as it downloads; pip keeps every download until the last package is unpacked, and one in its cache.
    kept = 0 if told is not None else 1 if os.environ.get("PIP_NO_CACHE_DIR") else 2
    needed, free = on_disk + kept * download, shutil.disk_usage(folder.parent).free
    if free < needed:
        hint = f" (PIP_NO_CACHE_DIR=1 saves {size(download)})" if kept == 2 else ""
        stop(
            f"installing {folder} takes {size(needed)}, but {size(free)} are free there; free some, or put the "
            f"repository on a larger disk{hint}"
        )
    say(f"downloading {size(download)} from PyPI into {folder} ({size(on_disk)} on disk), this once")
    (folder / "tmp").mkdir(parents=True)
    log = folder.with_suffix(".log")
    with log.open("w") as quiet:
        output = sys.stderr if sys.stderr.isatty() else quiet  # progress is for people
        words = "above" if output is sys.stderr else f"in {log}"
        installer = Installer(folder, output, lock)
        made = installer.succeeds(sys.executable, "-I", "-m", "venv", folder)
        by_uv = made and told is not None and installer.uv(requirements(name), told)
        if made and told is not None and not by_uv:
            say(f"uv could not install {folder} (its words are {words}); now pip tries, which takes longer")
        if not made or not (by_uv or installer.pip(requirements(name))):
            stop(
                f"{folder} could not be installed from PyPI (pip's words are {words}): check the network, or set "
                "HTTPS_PROXY or PIP_INDEX_URL; then run the same command again"
            )
    shutil.rmtree(folder / "tmp")
    (folder / "stamp").write_text(stamp(name), encoding="utf-8")


class Installer(NamedTuple):
    """What fills the environment in a folder; installers inherit the lock, which they keep if they outlive us."""

    folder: Path
    output: TextIO
    lock: int

    def succeeds(self, *command: str | Path, told: Mapping[str, str] | None = None) -> bool:
        """Run a command, with variables that it is told unless the user told it others."""
        environ = {**(told or {}), **os.environ, "TMPDIR": str(self.folder / "tmp")}  # /tmp may be small
        # No deadline: installers have their own for a silent network, and a slow one may take hours.
        done = subprocess.run(command, env=environ, stdout=self.output, stderr=self.output, pass_fds=[self.lock])
        return done.returncode == 0

    def pip(self, pins: Sequence[str]) -> bool:
        """Install by pip."""
        python = self.folder / "bin" / "python"
        return self.succeeds(python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *pins)

    def uv(self, pins: Sequence[str], told: Mapping[str, str]) -> bool:
        """Install by uv, which pip installs first."""
        cache = self.folder / "tmp" / "uv"  # on the environment's own disk, so that its files are linked, not copied
        programs = self.folder / "bin"
        options = ("pip", "install", "--compile-bytecode", "--python", programs / "python")
        made = self.pip(nox.project.dependency_groups(PYPROJECT, "installer")) and self.succeeds(
            programs / "uv", *options, *pins, told={"UV_CACHE_DIR": str(cache), **told}
        )
        shutil.rmtree(cache, ignore_errors=True)
        return made


def settings_for_uv() -> dict[str, str] | None:
    """What pip was told, as variables for uv; None where there is something that only pip can be told."""
    command = [sys.executable, "-I", "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, timeout=60)
    told = {}
    for line in listing.stdout.splitlines():
        name, _, value = line.partition("=")  # global.index-url='https://…', or :env:.index-url=…
        setting = name.rpartition(".")[2]
        if setting in UV_WORDS:
            words = ast.literal_eval(value)
            told[UV_WORDS[setting]] = ",".join(words.split()) if setting == "find-links" else words
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
