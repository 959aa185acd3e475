"""scripts/rename, run for real in clones of this repository."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import InvalidName, canonicalize_name

ROOT = Path(__file__).parents[2]
RENAME = ROOT / "scripts/rename"
PARTS = tomllib.loads((RENAME / "parts.toml").read_text(encoding="utf-8"))
KEEPABLE = [name for name, part in PARTS.items() if not part.get("always")]
(OWN,) = {path.parent.name for path in ROOT.glob("src/*/__init__.py")} - {"gpusmoke"}
OWN_WORDS = (OWN, OWN.replace("_", "-"))
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "core.hooksPath=/dev/null")
TRACKED = subprocess.run(("git", "ls-files"), cwd=ROOT, capture_output=True, text=True, timeout=60).stdout.split()

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not TRACKED, reason="needs git and a clone, since it works on what git tracks"),
]


def names():
    spec = importlib.util.spec_from_file_location("names", RENAME / "names.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NAMES = names()
SOAK = tomllib.loads((ROOT / "src/gpusmoke/data/findings/soak.toml").read_text(encoding="utf-8")).keys()


class Clone:
    """What somebody has cloned."""

    def __init__(self, root):
        self.root = root
        for file in TRACKED:
            if (ROOT / file).is_file():  # as it is here, also before it is committed
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                (root / file).write_bytes((ROOT / file).read_bytes())
        self.git("init", "-q", "--template=")
        self.commit()

    def git(self, *arguments):
        done = subprocess.run([*GIT, *arguments], cwd=self.root, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

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


def imports(clone):
    """Each module of the kit or of the tests' own that a Python file of the clone imports, also late."""
    for file in (file for file in clone.left() if file.endswith(".py")):
        for node in ast.walk(ast.parse(clone.read(file))):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield file, node.module
                yield from ((file, f"{node.module}.{alias.name}") for alias in node.names)


def is_module(clone, name):
    """Whether a module is in the clone, if the template has it at all."""
    paths = [
        f"{top}{name.replace('.', '/')}{end}" for top in ("src/", "tests/support/") for end in (".py", "/__init__.py")
    ]
    return not any((ROOT / path).exists() for path in paths) or any((clone.root / path).exists() for path in paths)


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path / "my clone")


@pytest.fixture(scope="module")
def slim(tmp_path_factory):
    """A clone that became my-project; tests only look at it."""
    clone = Clone(tmp_path_factory.mktemp("slim") / "my clone")
    clone.words = clone.renamed("my-project")
    return clone


def refused(done):
    """The one sentence that a refusal is."""
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


class TestTheRenamed:
    def test_the_placeholder_is_nowhere(self, slim):
        for file in slim.left():
            assert not any(word in file for word in OWN_WORDS)
            content = (slim.root / file).read_bytes().lower()
            assert not any(word.encode() in content for word in OWN_WORDS), file
        assert not (slim.root / "src" / OWN).exists()

    def test_the_package_and_its_tests_have_moved(self, slim):
        for folder in ("src", "tests"):
            was = {path.name for path in (ROOT / folder / OWN).rglob("*.*") if path.suffix != ".pyc"}
            assert {path.name for path in (slim.root / folder / "my_project").rglob("*.*")} == was != set()
        assert slim.python("-c", "import my_project, gpusmoke").returncode == 0

    def test_every_document_has_the_name(self, slim):
        assert slim.toml("pixi.toml")["workspace"]["name"] == "my-project"
        project = slim.toml("pyproject.toml")["project"]
        assert (project["name"], project["authors"]) == ("my-project", [{"name": "The my-project authors"}])
        wheel = slim.toml("pyproject.toml")["tool"]["hatch"]["build"]["targets"]["wheel"]
        assert wheel["packages"] == ["src/gpusmoke", "src/my_project"]
        assert slim.read("README.md").startswith("# my-project\n")
        assert "\ntitle: my-project\n" in slim.read("CITATION.cff")
        assert slim.read("CHANGELOG.md").endswith("## [Unreleased]\n")
        assert "The gpusmoke authors" in slim.read("LICENSE")
        for file in ("README.md", "CITATION.cff", "CHANGELOG.md"):
            assert not re.search(r"gpusmoke(?!/)|[{}]", slim.read(file))

    def test_the_lock_and_what_was_not_named_are_untouched(self, slim):
        changed = {line[3:] for line in slim.changes.splitlines() if line.startswith(" M")}
        assert changed >= {"README.md", "pixi.toml", "pyproject.toml", "CITATION.cff", "CHANGELOG.md"}
        assert not [file for file in changed if file.startswith(("src/gpusmoke", "tests/gpusmoke"))]
        assert "pixi.lock" not in changed
        workflows = [file for file in slim.left() if file.startswith(".github/")]
        assert len(workflows) >= 4
        assert [file for file in workflows if re.search("my.project", slim.read(file))] == []

    def test_a_slim_repository_is_left(self, slim):
        left = slim.left()
        assert [
            file for file in left for part in PARTS.values() for path in part["files"] if fnmatchcase(file, path)
        ] == []
        folders = {path for path in slim.root.rglob("*") if path.is_dir() and ".git/" not in f"{path}/"}
        assert {path for path in folders if not any(path.iterdir())} == set()
        assert {"doctor", "check", "bench", "smoke", "compare", "audit", "report", "gate"} == {
            Path(file).stem for file in left if file.startswith("src/gpusmoke/commands/")
        } - {"__init__", "session", "bundle"}

    def test_no_link_leads_nowhere(self, slim):
        for file in slim.left():
            if file.startswith("scripts/rename/files/"):
                continue  # written for another place
            for target in re.findall(r"\]\(([^)#:\s]+)[#)]", slim.read(file)) if file.endswith(".md") else ():
                assert ((slim.root / file).parent / target).exists(), f"{file}: {target}"

    def test_links_to_what_is_left_are_links_still(self, slim):
        before, after = ((root / "docs/gpu-ci.md").read_text(encoding="utf-8") for root in (ROOT, slim.root))
        assert "[action.yml](../.github/actions/gpu-smoke/action.yml)" in before
        assert "[action.yml](../.github/actions/gpu-smoke/action.yml)" in after
        assert "[its report](sample-report.html)" in (ROOT / "docs/performance.md").read_text(encoding="utf-8")
        assert "; its report." in slim.read("docs/performance.md")

    def test_sections_about_what_is_gone_are_gone_alone(self, slim):
        before, after = ((root / "docs/gpu-ci.md").read_text(encoding="utf-8") for root in (ROOT, slim.root))
        (heading,) = (part["sections"]["docs/gpu-ci.md"] for part in PARTS.values() if "sections" in part)
        kept = [line for line in re.findall("^## .*", before, re.MULTILINE) if line != f"## {heading}"]
        assert re.findall("^## .*", after, re.MULTILINE) == kept
        assert re.search(r"\S\n\Z", after)

    def test_it_says_what_was_done_and_what_to_type_next(self, slim):
        for part in PARTS:
            assert f"removed: {part}, " in slim.words
        assert "git reset --hard && git clean -fd" in slim.words
        assert "./scripts/run test" in slim.words


def test_a_second_time_nothing_changes(clone):
    clone.renamed("my-project")
    before = clone.changes
    clone.commit()
    done = clone.rename("my-project")
    assert (done.returncode, done.stdout) == (0, "This is my-project already: nothing to do.\n")
    assert clone.changes == ""
    assert before
    assert "this is my-project already" in refused(clone.rename("another"))


def test_a_folder_made_later_is_no_part(clone):
    clone.renamed("my-project")
    (clone.root / "benchmarks").mkdir()
    (clone.root / "benchmarks/mine.py").touch()
    clone.commit()
    clone.renamed("my-project", "--drop", "windows")
    assert (clone.root / "benchmarks/mine.py").exists()


@pytest.mark.parametrize("arguments", [[], ["--keep-all"], ["--drop", "windows"]])
def test_a_dry_run_says_the_same_and_changes_nothing(clone, arguments):
    dry = clone.renamed("my-project", "--dry-run", *arguments)
    assert clone.changes == ""
    assert (clone.root / "src" / OWN).is_dir()
    dry, end = dry.replace("would be ", "").split("Nothing was changed", 1)
    assert "dry run" in end
    assert clone.renamed("my-project", *arguments).startswith(dry)


def test_what_git_says_takes_it_all_back(clone):
    clone.renamed("my-project")
    clone.git("reset", "--hard", "-q")
    clone.git("clean", "-fdq")
    assert clone.changes == ""
    assert sorted(clone.left()) == sorted(file for file in TRACKED if (ROOT / file).exists())


def test_what_python_compiled_keeps_no_folder_alive_and_what_else_git_ignores_does(clone):
    for folder in (clone.root / "src" / OWN, clone.root / "benchmarks"):
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__/compiled.pyc").touch()
    (clone.root / "benchmarks/dist").mkdir()
    clone.renamed("my-project")
    assert not (clone.root / "src" / OWN).exists()
    assert (clone.root / "benchmarks/dist").exists()


def test_moved_files_stay_executable_and_bytes_that_are_no_text_stay_as_they_are(clone):
    tool, picture = clone.root / "src" / OWN / "tool.sh", clone.root / "tests" / OWN / "picture.png"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    picture.write_bytes(bytes(range(256)))
    clone.commit()
    clone.renamed("my-project")
    assert os.access(clone.root / "src/my_project/tool.sh", os.X_OK)
    assert (clone.root / "tests/my_project/picture.png").read_bytes() == bytes(range(256))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """A clone for those that change nothing."""
    return Clone(tmp_path_factory.mktemp("untouched") / "my clone")


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("-project", "see rename --help"),
            ("", "is no name for a package"),
            ("my project", "is no name for a package"),
            ("my_project_", "is no name for a package"),
            ("my/project", "is no name for a package"),
            ("projekt-ä", "is no name for a package"),
            ("pro\u017fekt", "is no name for a package"),  # upper case makes an S of it
            ("my-project\n", "is no name for a package"),
            ("3d-net", "Python allows no '3d_net'"),
            ("a" * 41, "longer than 40"),
            ("class", "a word of Python's language"),
            ("Class", "a word of Python's language"),
            ("json", "a part of Python"),
            ("torch", "a package that the project depends on"),
            ("PyTorch", "a package that the project depends on"),
            ("nvidia-ml-py", "a package that the project depends on"),
            ("sympy", "pixi.lock"),
            ("pynvml", "is imported by the kit"),
            ("workspaces", "is imported by the kit or its tests"),
            ("gpusmoke", "the kit, which keeps its name"),
            (OWN, "a package in src/ already"),
            (OWN.replace("_", "-"), "a package in src/ already"),
            ("tests", "a file or folder of this repository"),
            ("noxfile", "a file or folder of this repository"),
        ],
    )
    def test_a_name_that_is_invalid_or_taken(self, untouched, name, why):
        assert why in refused(untouched.rename(name))
        assert untouched.changes == ""

    @pytest.mark.parametrize("untracked", [True, False])
    def test_what_is_not_committed(self, clone, untracked):
        changed = clone.root / ("new.py" if untracked else "README.md")
        changed.write_text("mine")
        sentence = refused(clone.rename("my-project"))
        assert "not committed" in sentence
        assert changed.name in sentence
        assert changed.read_text() == "mine"

    def test_a_folder_without_git(self, clone):
        (clone.root / ".git").rename(clone.root.parent / "elsewhere")
        assert "git init" in refused(clone.rename("my-project"))

    @pytest.mark.skipif(os.name == "nt", reason="Windows looks for programs elsewhere too")
    def test_a_machine_without_git(self, clone):
        assert "git" in refused(clone.rename("my-project", env={"PATH": "/nowhere"}))

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            ([], "NAME"),
            (["my-project", "--keep", "soaks"], "soaks"),
            (["my-project", "--drop", "cuda13"], "cuda13"),
            (["my-project", "--keep", "soak", "--keep-all"], "--keep"),
            (["my-project", "--keep", "template"], "template"),
            (["my-project", "--keep-all", "--drop", "windows"], "failures and machinery"),
        ],
    )
    def test_options_that_make_no_sense(self, untouched, arguments, why):
        assert why in refused(untouched.rename(*arguments))
        assert untouched.changes == ""

    @pytest.mark.parametrize(
        ("file", "old", "new"),
        [
            ("pixi.toml", 'soak = { cmd = "', 'soak = { env = {}, cmd = "'),
            ("noxfile.py", "def soak(", "def soaking("),
            (".github/workflows/ci.yml", "pixi run -e cpu soak", "pixi run --clean-env soak"),
            ("pyproject.toml", "keywords = ", '"keywords" = '),
            ("docs/gpu-ci.md", "## What is tested", "## What was tested"),
        ],
    )
    def test_a_file_of_another_form_rather_than_half_a_renaming(self, clone, file, old, new):
        assert old in clone.read(file)
        (clone.root / file).write_text(clone.read(file).replace(old, new), encoding="utf-8")
        clone.commit()
        assert "not as the template has it" in refused(clone.rename("my-project"))
        assert clone.changes == ""


@given(st.text(st.sampled_from("aZ09-_. é"), max_size=12) | st.from_regex(r"[A-Za-z][\w.-]{0,12}", fullmatch=True))
def test_what_is_allowed_is_what_pip_and_python_take(name):
    try:
        canonicalize_name(name, validate=True)
        compile(f"import {NAMES.module_of(name)}", "a test", "exec")
        taken = NAMES.module_of(name) in sys.stdlib_module_names
    except (InvalidName, SyntaxError):
        taken = True
    assert (NAMES.refusal(name, {}) is not None) is taken


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
        missing = {(file, module) for file, module in imports(clone) if not is_module(clone, module)}
        assert missing == set()
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


def test_help_lists_the_parts_and_has_examples():
    done = subprocess.run([sys.executable, RENAME, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in KEEPABLE)
    assert "pixi run rename my-project --drop windows" in done.stdout
