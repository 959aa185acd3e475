"""The command line itself: help, exit codes, and bad input in one sentence."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from terminals import on_a_terminal

from gpusmoke import __version__
from gpusmoke.cli import COMMANDS
from gpusmoke.record import Record, write


def sentence(done):
    """The one line that a command printed on standard error."""
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    return line


def test_no_command_shows_them_all_and_is_wrong_usage(kit):
    done = kit()
    assert done.returncode == 2
    assert all(name in done.stdout for name in COMMANDS)


def test_help_and_version(kit):
    done = kit("--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert kit("--version").stdout.strip() == f"gpusmoke {__version__}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_has_examples_and_exit_codes(kit, name):
    done = kit(name, "--help", env={"COLUMNS": "80"})
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert f"pixi run {name}" in done.stdout or f"python -m gpusmoke {name}" in done.stdout
    assert "exit codes: 0 healthy" in done.stdout
    assert "--json" in done.stdout


@pytest.mark.parametrize(
    ("args", "culprit"),
    [
        (["nosuch"], "'nosuch'"),
        (["doctor", "--frob"], "--frob"),
        (["doctor", "--build-cuda", "new"], "'new'"),
        (["check", "--timeout", "-1"], "--timeout"),
        (["check", "--timeout", "soon"], "'soon' is no number above 0"),
        (["bench", "--dtype", "bf17"], "'bf17'"),
        (["bench", "--shape", "0x1x1"], "'0x1x1'"),
        (["bench", "--shape", "12x12"], "'12x12'"),
        (["bench", "--shape", "99999999999"], "'99999999999'"),
        (["bench", "--seconds", "0"], "--seconds"),
        (["smoke", "--seconds", "0"], "--seconds"),
        (["smoke", "--tolerance", "50"], "'50'"),
        (["report"], "record"),
        (["report", "x.json", "--outputs", "--markdown"], "--outputs"),
        (["report", "nosuch.json"], "nosuch.json"),
        (["report", "."], ". can't be read"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_culprit(kit, args, culprit):
    done = kit(*args)
    assert done.returncode == 2
    assert culprit in sentence(done)


def test_a_damaged_record_is_refused_by_report_and_left_alone(kit):
    path = kit.cwd / "cut.json"
    path.write_text('{"schema": "gpusmoke-record/1", "command": "check"')
    done = kit("report", "cut.json")
    assert done.returncode == 2
    assert "cut.json" in sentence(done)
    assert path.read_text().endswith('"check"')


def test_report_shows_a_stored_record_and_prints_it_as_json(kit, tmp_path):
    path = write(Record("doctor", "2026-11-24T10:15:00Z", seconds=0.3), tmp_path / "stored")
    shown = kit("report", str(path))
    assert shown.returncode == 0
    assert "2026-11-24 10:15:00 UTC" in shown.stdout
    assert json.loads(kit("report", str(path), "--json").stdout) == json.loads(path.read_text())


def test_under_pixi_paths_keep_the_meaning_they_have_where_the_user_stands(kit, tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    write(Record("doctor", "2026-11-24T10:15:00Z"), below)
    pixi = {"PIXI_PROJECT_ROOT": str(kit.cwd), "INIT_CWD": str(below)}
    assert kit("report", "doctor-20261124T101500Z.json", env=pixi).returncode == 0
    elsewhere = pixi | {"PIXI_PROJECT_ROOT": str(tmp_path)}
    assert kit("report", "doctor-20261124T101500Z.json", env=elsewhere).returncode == 2


@pytest.mark.skipif("sys.platform == 'win32'", reason="a folder in use can't be removed there")
def test_a_folder_that_is_gone_is_told_in_one_sentence(kit, tmp_path):
    gone = tmp_path / "gone"
    pixi = {"PIXI_PROJECT_ROOT": str(kit.cwd), "INIT_CWD": str(gone)}
    done = kit("doctor", env=pixi)
    assert done.returncode == 2
    assert "does not exist any more" in sentence(done)
    gone.mkdir()
    command = [sys.executable, "-P", "-m", "gpusmoke", "doctor"]
    line = f"import os; os.rmdir(os.getcwd()); os.execv({sys.executable!r}, {command!r})"
    done = subprocess.run(
        [sys.executable, "-c", line], cwd=gone, env=kit.environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "does not exist any more" in sentence(done)


def test_our_own_fault_is_70_and_says_so(kit, tmp_path):
    (tmp_path / "tomllib.py").write_text("raise RuntimeError('broken on purpose')")
    search = os.pathsep.join([str(tmp_path), kit.environment()["PYTHONPATH"]])
    done = kit("doctor", env={"PYTHONPATH": search})
    assert done.returncode == 70
    assert "broken on purpose" in done.stderr
    assert done.stderr.strip().endswith("please report the lines above")


def test_a_terminal_without_utf_8_gets_its_text_all_the_same(kit):
    done = kit("report", "--help", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"})
    assert done.returncode == 0


@pytest.mark.skipif("sys.platform == 'win32'", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("changes", "coloured"), [({"TERM": "xterm"}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_only_on_a_terminal_that_wants_it(kit, changes, coloured):
    assert not re.search("\x1b", kit("doctor", env={"NO_COLOR": ""}).stdout)
    assert bool(re.search(r"\x1b\[", on_a_terminal(kit, changes, "doctor"))) == coloured


@pytest.mark.skipif("sys.platform == 'win32'", reason="needs a pseudo-terminal")
def test_a_table_reads_on_a_terminal_as_it_does_in_a_file(kit):
    record = str(Path(__file__).parent / "data/h100-smoke.json")
    painted = on_a_terminal(kit, {"TERM": "xterm-256color"}, "report", record)
    assert re.sub(r"\x1b\[[0-9;]*m|\r", "", painted) == kit("report", record).stdout
