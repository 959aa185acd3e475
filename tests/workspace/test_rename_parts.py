"""What rename takes out, part by part and platform by platform, in clones of this repository."""

import ast
import functools
import json
import re
import tomllib
from fnmatch import fnmatchcase

import pytest
from renames import KEEPABLE, NEEDS_GIT, PARTS, ROOT, TRACKED, Clone

pytestmark = NEEDS_GIT
SOAK = tomllib.loads((ROOT / "src/gpusmoke/data/findings/soak.toml").read_text(encoding="utf-8")).keys()


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path / "my clone")


@functools.cache  # most files are the same in all clones, and to parse all of them takes a second
def imported(text):
    """Each module that this Python imports, also late."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imports(clone):
    """The Python files of the clone, each with every module that it imports."""
    return {(file, name) for file in clone.left() if file.endswith(".py") for name in imported(clone.read(file))}


def is_module(clone, name):
    """Whether a module is in the clone, if the template has it at all."""
    paths = [
        f"{top}{name.replace('.', '/')}{end}" for top in ("src/", "tests/support/") for end in (".py", "/__init__.py")
    ]
    return not any((ROOT / path).exists() for path in paths) or any((clone.root / path).exists() for path in paths)


class TestParts:
    @pytest.mark.parametrize(("part", "path"), [(name, path) for name in PARTS for path in PARTS[name]["files"]])
    def test_every_path_is_there(self, part, path):
        assert [file for file in TRACKED if fnmatchcase(file, path) and (ROOT / file).exists()], f"{part}: {path}"

    @pytest.mark.parametrize("part", KEEPABLE)
    def test_one_is_kept_with_what_it_needs_and_its_tasks(self, clone, part):
        words = clone.renamed("my-project", "--keep", part)
        kept = {part, *PARTS[part].get("with", [])}
        assert set(re.findall(r"removed: (\w+),", words)) == PARTS.keys() - kept
        going = [path for name in PARTS.keys() - kept for path in PARTS[name]["files"]]
        for name in kept:
            held = {file for file in TRACKED for path in PARTS[name]["files"] if fnmatchcase(file, path)}
            # A file of two parts goes with either.
            assert (
                held - set(clone.left()) <= {file for file in held for path in going if fnmatchcase(file, path)} < held
            )
            for task in PARTS[name].get("tasks", []):
                assert f"pixi run -e cpu {task}" in clone.read(".github/workflows/ci.yml")

    @pytest.mark.parametrize("part", [*KEEPABLE, "all"])
    def test_nothing_misses_one(self, clone, part):
        """Each part dropped alone, with those that can't do without it; and all."""
        going = KEEPABLE if part == "all" else [part]
        going = [name for name in KEEPABLE if name in going or set(going) & set(PARTS[name].get("with", []))]
        clone.renamed("my-project", *(word for name in KEEPABLE if name not in going for word in ("--keep", name)))
        assert {(file, module) for file, module in imports(clone) if not is_module(clone, module)} == set()
        helped, listed = (
            clone.python("-m", "gpusmoke", *args) for args in (["--help"], ["doctor", "--list", "--json"])
        )
        assert (helped.returncode, listed.returncode) == (0, 0), helped.stderr + listed.stderr
        assert bool(re.search(r"^  soak ", helped.stdout, re.MULTILINE)) is ("soak" not in going)
        known = {entry["id"] for entry in json.loads(listed.stdout)}
        assert (known & SOAK) == (set() if "soak" in going else SOAK)
        manifest = clone.toml("pixi.toml")
        tasks = {task for one in (manifest, *manifest["feature"].values()) for task in one.get("tasks", {})}
        assert not tasks & {task for name in going for task in PARTS[name].get("tasks", [])}
        header = re.findall(r"^#     pixi run (?:-e \w+ )?(\w+)", clone.read("pixi.toml"), re.MULTILINE)
        assert set(header) == tasks
        assert set(re.findall(r"^@session\ndef (\w+)", clone.read("noxfile.py"), re.MULTILINE)) == tasks | {"compile"}
        assert set(re.findall(r"pixi run (?:-e \w+ )?([a-z]+)", clone.read(".github/workflows/ci.yml"))) <= tasks


class TestPlatforms:
    @pytest.mark.parametrize(
        ("drop", "gone"), [("cuda12", "-cuda12"), ("windows", "win-64"), ("aarch64", "linux-aarch64")]
    )
    def test_they_are_dropped_from_manifest_lock_and_ci(self, clone, drop, gone):
        declared = {one["name"] for one in clone.toml("pixi.toml")["workspace"]["platforms"]}
        clone.renamed("my-project", "--drop", drop)
        manifest = clone.toml("pixi.toml")
        left = {one["name"] for one in manifest["workspace"]["platforms"]}
        assert left == {name for name in declared if gone not in name} != declared
        assert gone not in clone.read("pixi.toml").partition("[workspace]")[2]
        named = [name for one in manifest["feature"].values() for name in one.get("platforms", [])]
        assert set(named) == left
        # It is about others too.
        assert "  # Locked, but never run by us.\n" in clone.read("pixi.toml")
        locked = clone.read("pixi.lock").partition("\nenvironments:\n")[2].partition("\npackages:\n")[0]
        assert set(re.findall(r"^  ([\w-]+):$", locked, re.MULTILINE)) == manifest["environments"].keys()
        workflow = clone.read(".github/workflows/ci.yml")
        assert (drop != "cuda12") is ('\'["cuda13", "cuda12"]\'' in workflow)
        assert (drop != "windows") is ("windows-latest" in workflow)
        done = clone.python("-m", "pytest", "-q", "tests/workspace/test_lock.py", "tests/workspace/test_manifest.py")
        assert done.returncode == 0, done.stdout

    def test_the_lock_keeps_what_the_others_have_and_nothing_else(self, clone):
        before = clone.read("pixi.lock")
        clone.renamed("my-project", "--drop", "cuda12", "--drop", "windows", "--drop", "aarch64")
        after = clone.read("pixi.lock")
        assert set(after.splitlines()) < set(before.splitlines())
        listed = set(re.findall(r"^      - (.*)$", after, re.MULTILINE))
        described = re.findall(r"^- (conda: .*)$", after, re.MULTILINE)
        assert listed == set(described)
        assert re.findall(r"^- name: (.*)$", after, re.MULTILINE) == ["p1", "p2", "p3"]

    def test_the_order_is_of_no_account_and_neither_is_when(self, tmp_path):
        at_once, one_by_one = Clone(tmp_path / "one"), Clone(tmp_path / "two")
        at_once.renamed("my-project", "--drop", "cuda12", "--drop", "aarch64", "--drop", "windows")
        one_by_one.renamed("my-project")
        for drop in ("windows", "aarch64", "cuda12"):
            one_by_one.commit()
            one_by_one.renamed("my-project", "--drop", drop)
        for file in ("pixi.toml", "pixi.lock", ".github/workflows/ci.yml"):
            assert at_once.read(file) == one_by_one.read(file)
        one_by_one.commit()
        assert "nothing to do" in one_by_one.renamed("my-project", "--drop", "cuda12")
