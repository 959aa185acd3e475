"""pytest's --no-skips, and what is said of skips without it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class TestNoSkips:
    SKIPS = """
import pytest
pytest.importorskip("no_such_module")
"""
    # Skipped and failing on purpose: what --no-skips has to tell apart.
    TESTS = """
import pytest

def test_runs(): pass

@pytest.mark.skip(reason="no such tool here")
def test_marked(): pass

def test_called(): pytest.skip("no such tool there")

@pytest.mark.xfail(reason="known")
def test_expected(): assert False
"""

    @pytest.fixture
    def run(self, tmp_path):
        """pytest with this repository's settings and conftest.py, on tests that are skipped in every way there is."""
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        (tmp_path / "tests").mkdir()
        shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
        (tmp_path / "tests" / "test_skips.py").write_text(self.SKIPS)
        (tmp_path / "tests" / "test_some.py").write_text(self.TESTS)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        return lambda *arguments: subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    def test_without_it_the_last_lines_give_each_skip_and_its_reason(self, run):
        done = run()
        *_, first, second, third, closing = [
            line for line in done.stdout.splitlines() if line.startswith(("SKIPPED", "="))
        ]
        assert done.returncode == 0
        assert "1 passed, 3 skipped, 1 xfailed" in closing
        assert {line.split("]")[0] for line in (first, second, third)} == {"SKIPPED [1"}
        reasons = "\n".join((first, second, third))
        assert all(reason in reasons for reason in ("no_such_module", "no such tool here", "no such tool there"))

    def test_with_it_each_skip_is_a_failure_that_gives_its_reason(self, run):
        done = run("--no-skips", "--continue-on-collection-errors")
        assert done.returncode == 1
        assert "1 failed, 1 passed, 1 xfailed, 2 errors" in done.stdout.splitlines()[-1]
        for reason in ("no_such_module", "no such tool here", "no such tool there"):
            assert sum("--no-skips: " in line and reason in line for line in done.stdout.splitlines()) >= 1

    def test_with_it_a_run_without_skips_passes(self, run):
        done = run("--no-skips", "-k", "test_runs", "tests/test_some.py")
        assert done.returncode == 0
