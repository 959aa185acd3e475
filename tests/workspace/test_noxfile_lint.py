"""The session `lint` of noxfile.py, with linters that note how they are called."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="without Pixi nothing runs on Windows")

ROOT = Path(__file__).parents[2]
LINTER = """#!/usr/bin/env bash
echo "${0##*/} $*" >>"${0%/*}/calls"
echo "${0##*/} says so"
[[ ${LINT_FAILS:-} != *${0##*/}* ]]
"""


@pytest.mark.system
class TestLint:
    @pytest.fixture
    def clone(self, clone):
        """Linters that print how they were called and fail where LINT_FAILS names them."""
        git = shutil.which("git") or pytest.skip("needs git, which tells lint what belongs to the repository")
        (clone.path / "git").symlink_to(git)
        clone.has_python()
        for name in ("ruff", "typos", "taplo", "shellcheck", "zizmor", "actionlint", "hadolint"):
            clone.has_program(name, LINTER)
        workflow = clone.root / ".github" / "workflows" / "ci.yml"
        workflow.parent.mkdir(parents=True)
        workflow.touch()
        (clone.root / "Dockerfile").touch()
        shutil.copy(ROOT / ".gitignore", clone.root)
        (clone.root / "results").mkdir()
        (clone.root / "results" / "x.toml").touch()
        (clone.root / "hook").write_text("#!/bin/sh\n")
        subprocess.run(["git", "init", "--quiet", clone.root], check=True, timeout=60)
        return clone

    def calls(self, clone):
        return (clone.path / "calls").read_text().splitlines()

    def test_each_linter_gets_the_files_that_are_its_own(self, clone):
        done = clone.run("lint")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "lint: all 9 passed")
        assert "says so" not in done.stdout
        assert self.calls(clone) == [
            "ruff check .",
            "ruff format --check .",
            "typos --force-exclude .github/workflows/ci.yml .gitignore Dockerfile hook noxfile.py pixi.toml"
            " pyproject.toml scripts/from_pypi.py scripts/run src/gpusmoke/__main__.py",
            "taplo lint pixi.toml pyproject.toml",
            "taplo format --check --diff pixi.toml pyproject.toml",
            "shellcheck hook scripts/run",
            "zizmor --offline --persona pedantic .github/workflows/ci.yml",
            "actionlint .github/workflows/ci.yml",
            "hadolint Dockerfile",
        ]

    def test_all_run_though_some_fail_and_those_are_named(self, clone):
        done = clone.run("lint", LINT_FAILS="ruff actionlint")
        assert done.returncode == 1
        assert len(self.calls(clone)) == 9
        assert done.stdout.count("says so") == 3
        assert "3 of 9 linters failed: ruff check, ruff format --check, actionlint" in done.stderr

    @pytest.mark.parametrize("linter", ["zizmor", "hadolint"])
    def test_a_missing_linter_fails(self, clone, linter):
        (clone.path / linter).unlink()
        done = clone.run("lint")
        assert done.returncode == 1
        assert f"FAILED, {linter} is not on PATH" in done.stdout

    def test_missing_workflows_fail(self, clone):
        (clone.root / ".github" / "workflows" / "ci.yml").unlink()
        done = clone.run("lint")
        assert done.returncode == 1
        assert "zizmor --offline --persona pedantic: FAILED, there is no file for it" in done.stdout

    def test_from_pypi_actionlint_is_said_not_to_run(self, clone):
        (clone.path / "actionlint").unlink()
        done = clone.run("lint")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "lint: all 8 passed")
        assert "actionlint: NOT RUN" in done.stderr
        assert "hadolint Dockerfile" in self.calls(clone)

    def test_in_pixis_environment_actionlint_has_to_be_there(self, clone, nox):
        (clone.path / "actionlint").unlink()
        done = nox("--no-venv", "-s", "lint", folder=clone.root, PATH=str(clone.path))
        assert done.returncode == 1
        assert "FAILED, actionlint is not on PATH" in done.stdout

    def test_in_pixis_environment_hadolint_is_said_not_to_run(self, clone, nox):
        (clone.path / "hadolint").unlink()
        done = nox("--no-venv", "-s", "lint", folder=clone.root, PATH=str(clone.path))
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "lint: all 8 passed")
        assert "hadolint: NOT RUN" in done.stderr

    def test_a_project_without_a_dockerfile_needs_no_hadolint(self, clone, nox):
        (clone.root / "Dockerfile").unlink()
        (clone.path / "hadolint").unlink()
        for done in (clone.run("lint"), nox("--no-venv", "-s", "lint", folder=clone.root, PATH=str(clone.path))):
            assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "lint: all 8 passed")
            assert "hadolint" not in done.stdout + done.stderr

    def test_outside_a_git_repository_the_cure_is_named(self, clone):
        clone.has_program("git", "#!/usr/bin/env bash\necho 'fatal: not a git repository' >&2\nexit 128\n")
        done = clone.run("lint")
        assert done.returncode == 2
        assert done.stderr.endswith("git init\n")
