"""noxfile.py, run for real through scripts/run with a Python and a pip that install nothing."""

import json
import os
import shutil
import signal
import time
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="without Pixi nothing runs on Windows")

ROOT = Path(__file__).parents[2]
NOT_FOUND = "echo 'ERROR: No matching distribution'; exit 1"


def only(requirement, action):
    """What the stand-in pip does when it has to install this, and nothing for other requirements."""
    return f"case $* in *{requirement}*) {action} ;; esac"


def until(file):
    """What lets it wait for a file."""
    return f'until [[ -e "{file}" ]]; do sleep 0.05; done'


def waits(process):
    """Whether it says that it waits for another; else it comes to its end."""
    return any("waiting for another run" in line for line in process.stderr)


def test_every_task_of_pixi_has_its_session_and_the_other_way_round(nox):
    manifest = tomllib.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
    tables = [manifest["tasks"], *(feature.get("tasks", {}) for feature in manifest["feature"].values())]
    tasks = {name: task for table in tables for name, task in table.items()}
    listed = json.loads(nox("--list", "--json").stdout)
    # With Pixi an environment holds one CUDA line, and compile needs the compilers of both.
    assert {entry["name"] for entry in listed} == tasks.keys() | {"compile"}


class TestEnvironments:
    def test_sessions_share_them(self, clone):
        clone.has_python()
        for task in ("doctor", "report", "check", "bench", "smoke"):
            assert clone.run(task).returncode == 0
        assert clone.run("test", "-n0").returncode == 5, "pytest's own for a folder without tests"
        assert [name.split("==")[0] for name in clone.installed] == ["nox", "nvidia-ml-py", "uv", "nvidia-ml-py"]

    def test_rename_needs_the_small_one(self, clone):
        clone.has_python()
        shutil.copytree(ROOT / "scripts/rename", clone.root / "scripts/rename")
        done = clone.run("rename", "two words", "--dry-run")
        assert (done.returncode, done.stdout) == (2, "")
        assert "see rename --help" in clone.run("rename").stderr
        assert [name.split("==")[0] for name in clone.installed] == ["nox", "nvidia-ml-py"]

    def test_what_a_larger_one_holds_is_not_installed_again(self, clone):
        """A job on nodes without a network ends with fleet; check was run on the login node."""
        clone.has_python()
        clone.run("check")
        for command in (["fleet", "results"], ["fleet", "results", "--html", "page.html"], ["doctor"]):
            assert clone.run(*command, STAND_IN_PIP=NOT_FOUND).returncode == 0
        assert [name.split("==")[0] for name in clone.installed] == ["nox", "uv", "nvidia-ml-py"]

    def test_the_gpu_one_holds_all_pins_of_its_groups(self, clone):
        clone.has_python()
        clone.run("check")
        groups = tomllib.loads((clone.root / "pyproject.toml").read_text())["dependency-groups"]
        pins = [pin.split(";")[0] for name in ("gpu", "test") for pin in groups[name] if isinstance(pin, str)]
        asked = clone.pip_log.read_text().splitlines()[-1]
        assert [pin for pin in pins if f"{pin}" not in asked] == []
        assert "ruff" not in asked

    def test_an_interrupted_installation_is_begun_again(self, clone):
        clone.has_python()
        process = clone.start("doctor", STAND_IN_PIP=only("rich", "sleep 30"))
        while len(clone.installed) < 2:
            time.sleep(0.05)
        left = clone.root / ".nox" / "tools" / "left behind"
        left.touch()
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
        assert clone.run("doctor").returncode == 0
        assert len(clone.installed) == 3
        assert not left.exists()

    def test_changed_pins_are_installed(self, clone):
        clone.has_python()
        clone.run("doctor")
        pyproject = clone.root / "pyproject.toml"
        pyproject.write_text(pyproject.read_text().replace('"rich==15.0.0"', '"rich==15.0.1"'))
        assert clone.run("doctor").returncode == 0
        assert clone.pip_log.read_text().splitlines()[-1].endswith("rich==15.0.1")

    def test_without_a_network_that_is_said(self, clone):
        clone.has_python()
        done = clone.run("check", STAND_IN_PIP=f"{only('torch==', NOT_FOUND)}; {only('uv==', NOT_FOUND)}")
        assert (done.returncode, done.stdout) == (2, "")
        log = clone.root / ".nox" / "gpu.log"
        assert log.read_text() == "ERROR: No matching distribution\n" * 2  # for uv, and then for the rest
        assert f"(pip's words are in {log}): check the network" in done.stderr.splitlines()[-1]
        assert clone.run("check").returncode == 0

    def test_too_little_disk_is_said_before_anything_is_downloaded(self, clone):
        clone.has_python()
        done = clone.run("check", STAND_IN_FREE="6.0e9")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1].endswith(
            "takes 6.1 GB, but 6.0 GB are free there; free some, or put the repository on a larger disk"
        )
        assert len(clone.installed) == 1
        assert clone.run("check", STAND_IN_FREE="6.2e9").returncode == 0

    def test_pip_takes_more_and_without_a_cache_less(self, clone):
        clone.has_python()
        pips = {"STAND_IN_CONFIG": "global.extra-index-url='x'"}
        done = clone.run("check", STAND_IN_FREE="12.0e9", **pips)
        assert "takes 12.1 GB, but 12.0 GB are free" in done.stderr.splitlines()[-1]
        assert done.stderr.endswith("(PIP_NO_CACHE_DIR=1 saves 3.0 GB)\n")
        assert clone.run("check", STAND_IN_FREE="9.0e9", PIP_NO_CACHE_DIR="1", **pips).returncode == 2
        assert clone.run("check", STAND_IN_FREE="9.2e9", PIP_NO_CACHE_DIR="1", **pips).returncode == 0

    def test_pip_keeps_its_temporary_files_off_a_small_tmp(self, clone, tmp_path):
        clone.has_python()
        seen = tmp_path / "tmpdir"
        clone.run("doctor", TMPDIR=str(tmp_path), STAND_IN_PIP=f'echo "$TMPDIR" >>"{seen}"')
        assert [Path(line).is_relative_to(clone.root / ".nox") for line in seen.read_text().splitlines()] == [
            True,
            True,
        ]
        assert sorted(path.name for path in (clone.root / ".nox" / "tools").iterdir()) == ["bin", "stamp"]

    def test_two_runs_at_once_install_once(self, clone, tmp_path):
        clone.has_python()
        clone.run("doctor")
        first = clone.start("check", STAND_IN_UV=until(tmp_path / "go"))
        while len(clone.installed) < 4:
            time.sleep(0.05)
        second = clone.start("check")
        assert waits(second)
        (tmp_path / "go").touch()
        for process in (first, second):
            process.communicate(timeout=30)
        assert (first.returncode, second.returncode) == (0, 0)
        assert len(clone.installed) == 4

    def test_an_installer_that_outlives_its_run_is_waited_for(self, clone, tmp_path):
        clone.has_python()
        clone.run("doctor")
        first = clone.start("check", STAND_IN_UV=until(tmp_path / "go"))
        while len(clone.installed) < 4:
            time.sleep(0.05)
        first.kill()
        second = clone.start("check")
        assert waits(second)
        (tmp_path / "go").touch()
        second.communicate(timeout=30)
        assert second.returncode == 0

    def test_a_small_one_is_not_worth_uv(self, clone):
        clone.has_python()
        clone.run("doctor")
        assert [name.split("==")[0] for name in clone.installed] == ["nox", "nvidia-ml-py"]

    @pytest.mark.parametrize(
        ("told", "environ"),
        [
            ("global.disable-pip-version-check='1'\n:env:.timeout='180'", {}),
            (
                "global.cert='/my own/ca.crt'\nglobal.proxy='http://proxy:3128'\ninstall.find-links='/a\\n/b'",
                {"SSL_CERT_FILE": "/my own/ca.crt", "ALL_PROXY": "http://proxy:3128", "UV_FIND_LINKS": "/a,/b"},
            ),
            # The later one wins, as with pip.
            (
                "global.index-url='https://a/simple'\n:env:.index-url='https://b/simple?x=1'",
                {"UV_DEFAULT_INDEX": "https://b/simple?x=1"},
            ),
        ],
    )
    def test_uv_is_told_what_pip_was_told(self, clone, told, environ):
        clone.has_python()
        assert clone.run("check", STAND_IN_CONFIG=told).returncode == 0
        assert [name.split("==")[0] for name in clone.installed] == ["nox", "uv", "nvidia-ml-py"]
        seen = dict(line.split("=", 1) for line in clone.uv_environ.read_text().splitlines())
        cache = seen.pop("UV_CACHE_DIR")
        assert seen == environ
        assert Path(cache).is_relative_to(clone.root / ".nox/gpu")
        assert sorted(path.name for path in (clone.root / ".nox/gpu").iterdir()) == ["bin", "stamp"]

    def test_what_uv_was_told_itself_comes_first(self, clone):
        clone.has_python()
        mine = {"UV_CACHE_DIR": "/mine", "UV_DEFAULT_INDEX": "https://mine/simple"}
        clone.run("check", STAND_IN_CONFIG="global.index-url='https://a/simple'", **mine)
        assert dict(line.split("=", 1) for line in clone.uv_environ.read_text().splitlines()) == mine

    @pytest.mark.parametrize("setting", ["extra-index-url", "require-hashes", "no-index", "something-new"])
    def test_what_only_pip_can_be_told_leaves_it_to_pip(self, clone, setting):
        clone.has_python()
        assert clone.run("check", STAND_IN_CONFIG=f"global.{setting}='x'").returncode == 0
        assert [name.split("==")[0] for name in clone.installed] == ["nox", "nvidia-ml-py"]

    def test_where_uv_can_not_pip_does_and_it_is_said(self, clone):
        clone.has_python()
        done = clone.run("check", STAND_IN_UV="echo 'error: no'; exit 2")
        assert done.returncode == 0
        log = clone.root / ".nox" / "gpu.log"
        assert f"uv could not install {clone.root}/.nox/gpu (its words are in {log}); now pip tries" in done.stderr
        assert log.read_text() == "error: no\n"
        asked = clone.pip_log.read_text().splitlines()
        assert len(asked) == 4
        assert asked[-1] == asked[-2]

    def test_help_needs_no_pytorch(self, clone):
        clone.has_python()
        for task in ("check", "bench", "smoke"):
            assert json.loads(clone.run(task, "--help").stdout)["argv"] == [task, "--help"]
        assert "torch==" not in clone.pip_log.read_text()


class TestSmoke:
    def test_what_doctor_finds_stops_it_before_the_download(self, clone):
        clone.has_python()
        done = clone.run("smoke", "--json", STAND_IN_DOCTOR_EXIT="1")
        assert done.returncode == 1
        assert json.loads(done.stdout)["argv"] == ["doctor", "--build-cuda", "13.0", "--json"]
        assert "torch==" not in clone.pip_log.read_text()

    def test_doctor_is_asked_about_the_cuda_of_the_pinned_pytorch(self, clone):
        clone.has_python()
        done = clone.run("smoke", STAND_IN_DOCTOR_EXIT="2")
        assert done.returncode == 2
        assert json.loads(done.stdout)["argv"] == ["doctor", "--build-cuda", "13.0"]

    def test_otherwise_it_goes_on_and_doctors_answer_stays_out_of_its_output(self, clone):
        clone.has_python()
        done = clone.run("smoke", "--require-gpu", STAND_IN_SMOKE_EXIT="1")
        assert done.returncode == 1
        assert json.loads(done.stdout)["argv"] == ["smoke", "--require-gpu"]

    def test_doctor_is_not_asked_again_when_all_is_there(self, clone):
        clone.has_python()
        clone.run("check")
        assert json.loads(clone.run("smoke", STAND_IN_DOCTOR_EXIT="1").stdout)["argv"] == ["smoke"]


class TestTest:
    """The session `test`, with a pytest of its own."""

    @pytest.fixture
    def clone(self, clone):
        clone.has_python()
        (clone.root / "src" / "pytest.py").write_text(
            "import os, sys\nprint(*sys.argv[1:], os.getcwd(), sep='\\n')\nsys.exit(5)\n"
        )
        return clone

    def test_arguments_and_exit_code_are_pytests(self, clone):
        done = clone.run("test", "-n0", "-k", "two words", "tests")
        parallel, given = done.stdout.splitlines()[:2], done.stdout.splitlines()[2:]
        # The user's come last, so that they win.
        assert parallel == ["--numprocesses=4", "--dist=worksteal"]
        assert (given, done.returncode) == (["-n0", "-k", "two words", "tests", str(clone.root)], 5)

    def test_paths_keep_their_meaning(self, clone):
        folder = clone.root / "tests" / "workspace"
        folder.mkdir(parents=True)
        (folder / "test_x.py").touch()
        done = clone.run("test", "test_x.py::test_y", "-k", "y", cwd=folder)
        assert done.stdout.splitlines()[2:] == [f"{folder}/test_x.py::test_y", "-k", "y", str(clone.root)]


def test_in_pixis_environment_nothing_is_installed(clone, nox):
    done = nox("--no-venv", "-s", "check", "--", "--json", folder=clone.root)
    assert json.loads(done.stdout)["argv"] == ["check", "--json"]
    assert not (clone.root / ".nox").exists()


def test_two_sessions_at_once_are_refused_rather_than_one_forgotten(clone, nox):
    done = nox("--no-venv", "-s", "check", "lint", folder=clone.root)
    assert (done.returncode, done.stdout) == (2, "")
    assert "one session at a time" in done.stderr
