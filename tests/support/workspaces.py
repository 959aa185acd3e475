"""A copy of this repository's manifest and lock, for `audit`."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Packages of the lock that tests put in each other's place.
PACKAGES = {
    "pytorch cuda130": "linux-64/pytorch-2.12.1-cuda130_mkl_py314_h5d99997_300",
    "pytorch cuda129": "linux-64/pytorch-2.12.1-cuda129_mkl_py314_h89d6db0_300",
    "pytorch cpu": "linux-64/pytorch-2.12.1-cpu_mkl_py314_h8b22790_100",
    "libcublas 13": "linux-64/libcublas-13.6.0.2-h676940d_0",
    "libcublas 12": "linux-64/libcublas-12.9.2.10-h676940d_0",
    "cuda-version 13": "noarch/cuda-version-13.3-hcbadf70_3",
    "cuda-version 12": "noarch/cuda-version-12.9-h4f385c5_3",
    "colorlog": "noarch/colorlog-6.11.0-pyh8f84b5b_0",
    "hyperframe": "noarch/hyperframe-6.1.0-pyhd8ed1ab_0",
}


class Workspace:
    """A copy of pixi.toml and pixi.lock that tests alter, and the program run in it."""

    def __init__(self, kit, valid):
        self.kit, self.valid, self.folder = kit, valid, kit.cwd
        for name in ("pixi.toml", "pixi.lock"):
            self.copy(name, name)

    def copy(self, name: str, new: str) -> None:
        (self.folder / new).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")

    def alter(self, name: str, old: str, new: str, count: int = -1) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, count), encoding="utf-8")

    def cut(self, name: str, pattern: str) -> None:
        """Take out the lines that match."""
        path = self.folder / name
        text, count = re.subn(rf"(?m)^{pattern}", "", path.read_text(encoding="utf-8"))
        assert count
        path.write_text(text, encoding="utf-8")

    def unlock(self, environment: str, name: str = "pixi.lock") -> None:
        """Take an environment out of a lock."""
        self.cut(name, rf"  {environment}:\n(    .*\n)+")

    def lock_instead(self, old: str, new: str, name: str = "pixi.lock") -> None:
        """Let every environment that holds one of PACKAGES hold another; what is known of both stays in the lock."""
        path = self.folder / name
        environments, mark, packages = path.read_text(encoding="utf-8").partition("\npackages:\n")
        old, new = f"{PACKAGES[old]}.conda", f"{PACKAGES[new]}.conda"
        assert old in environments
        assert new in packages
        path.write_text(environments.replace(old, new) + mark + packages, encoding="utf-8")

    def audit(self, *args: str) -> tuple[dict[str, object], int]:
        """The record, which is valid, and the exit code."""
        done = self.kit("audit", "--json", *args)
        assert done.stderr == ""
        record = json.loads(done.stdout)
        self.valid(record)
        return record, done.returncode

    def found(self, *args: str) -> tuple[list[tuple[str, str, str]], int]:
        """Severity, id and title of each finding, and the exit code."""
        record, code = self.audit(*args)
        return [(one["severity"], one["id"], one["title"]) for one in record["findings"]], code
