"""scripts/rename, run for real in clones of this repository."""

import importlib.util
import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import InvalidName, canonicalize_name
from renames import KEEPABLE, NEEDS_GIT, PARTS, RENAME, ROOT, TRACKED, Clone

(OWN,) = {path.parent.name for path in ROOT.glob("src/*/__init__.py")} - {"gpusmoke"}
OWN_WORDS = (OWN, OWN.replace("_", "-"))
pytestmark = NEEDS_GIT


def names():
    spec = importlib.util.spec_from_file_location("names", RENAME / "names.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NAMES = names()


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
        } - {"__init__", "session", "bundle", "crews", "peers"}

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


def test_where_nobody_reads_what_it_does_it_does_nothing(clone):
    unread, out = os.pipe()
    os.close(unread)
    command = [sys.executable, "-P", clone.root / "scripts/rename", "my-project"]
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(out)
    done.stdout = ""
    assert refused(done) == "rename: nothing was changed, since nobody read to the end what would be"
    assert clone.changes == ""


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

    def test_a_lock_whose_platforms_are_not_the_manifests(self, clone):
        lock = clone.read("pixi.lock")
        assert "\n- name: p1\n" in lock
        (clone.root / "pixi.lock").write_text(lock.replace("\n- name: p1\n", "\n- name: p99\n"), encoding="utf-8")
        clone.commit()
        assert "not as the template has it" in refused(clone.rename("my-project", "--drop", "windows"))
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


def test_help_lists_the_parts_and_has_examples():
    done = subprocess.run([sys.executable, RENAME, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in KEEPABLE)
    assert "pixi run rename my-project --drop windows" in done.stdout
