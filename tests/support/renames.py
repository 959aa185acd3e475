"""Clones of this repository to rename, and what rename's own tables say."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RENAME = ROOT / "scripts/rename"
PARTS = tomllib.loads((RENAME / "parts.toml").read_text(encoding="utf-8"))
KEEPABLE = [name for name, part in PARTS.items() if not part.get("always")]
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "core.hooksPath=/dev/null")
TRACKED = subprocess.run(("git", "ls-files"), cwd=ROOT, capture_output=True, text=True, timeout=60).stdout.split()
NEEDS_GIT = [
    pytest.mark.system,
    pytest.mark.skipif(not TRACKED, reason="needs git and a clone, since it works on what git tracks"),
]


def git(folder, *arguments):
    return subprocess.run([*GIT, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=True).stdout


@functools.cache
def original():
    """What is cloned: this repository's files as they are here, also before they are committed."""
    folder = tempfile.TemporaryDirectory()
    for file in TRACKED:
        if (ROOT / file).is_file():
            copy = Path(folder.name, file)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, copy)
    for command in (["init", "-q", "--template="], ["add", "-A"], ["commit", "-qm", "a"]):
        git(folder.name, *command)
    return folder


class Clone:
    """What somebody has cloned."""

    def __init__(self, root):
        self.root = root
        git(root.parent, "clone", "-q", "--template=", original().name, root)

    def git(self, *arguments):
        return git(self.root, *arguments)

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-qm", "a")

    def rename(self, *arguments, **options):
        """`rename ARGUMENTS`, from a folder that has nothing to do with it."""
        command = [sys.executable, "-P", self.root / "scripts/rename", *arguments]
        return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, **options)

    def renamed(self, *arguments):
        done = self.rename(*arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    def python(self, *arguments, **variables):
        environ = os.environ | {"PYTHONPATH": f"{self.root}/src"} | variables
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(command, cwd=self.root, env=environ, capture_output=True, text=True, timeout=180)

    @property
    def changes(self):
        return self.git("status", "--porcelain")

    def read(self, file):
        return (self.root / file).read_text(encoding="utf-8")

    def toml(self, file):
        return tomllib.loads(self.read(file))

    def files(self):
        return self.git("ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate").split()

    def left(self):
        return [file for file in self.files() if (self.root / file).exists()]
