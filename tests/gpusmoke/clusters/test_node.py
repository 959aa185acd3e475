"""--node, which names a record after the node that made it, --quick, and what ends a run early."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.cli import parser_of
from gpusmoke.commands import smoke
from gpusmoke.commands.session import node
from gpusmoke.record import Record, read, write

SLEEPING_TORCH = "import os, time\nopen({marker!r}, 'w').close()\ntime.sleep(600)"

# The last call of that function comes with a SIGTERM.
LATE = """import importlib, os, signal, sys
if "gpusmoke.workers.child" not in sys.orig_argv and "gpusmoke" in sys.orig_argv:
    module = importlib.import_module("{module}")
    own = module.{name}
    def late(*args):
        print("killed", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGTERM)
        return own(*args)
    module.{name} = late"""


def made(number):
    return Record(command="smoke", started="2026-11-26T10:00:00Z", seconds=number).made_by(f"gpu{number % 4}")


def written(number, folder):
    """One of many writers, each a process."""
    return write(made(number), folder).name


def test_nodes_that_write_at_once_lose_nothing(tmp_path):
    """Four nodes with ten runs each, as if each had been requeued nine times while the others wrote."""
    with ProcessPoolExecutor(8) as writers:
        names = list(writers.map(written, range(40), [tmp_path] * 40))
    files = list(tmp_path.iterdir())
    assert sorted(names) == sorted(path.name for path in files)
    records = [read(path) for path in files]
    assert sorted(record.seconds for record in records) == list(range(40))
    for path, record in zip(files, records, strict=True):
        name = record.facts.text("request.node")
        assert name == f"gpu{record.seconds % 4:.0f}"
        assert path.stem == name or path.stem in {f"{name}-{number}" for number in range(2, 11)}


@pytest.mark.parametrize("name", ["gpu07", "gpu07.example.org", "a-b_c.1", "_x", "x" * 120])
def test_the_names_of_nodes(name):
    assert node(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a/b", "../x", "a b", "a\n", "é", "x" * 121])
def test_what_is_no_name_of_a_node_is_wrong_usage(kit, name):
    done = kit("smoke", f"--node={name}")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "is no name of a node" in line
    assert not (kit.cwd / "results").exists()


@given(st.text(min_size=1))
def test_a_name_that_is_taken_stays_in_its_folder(name):
    """Whatever it is: there is one part in it, and none that a listing hides."""
    try:
        taken = node(name)
    except Exception:  # noqa: BLE001 - argparse's own
        return
    assert taken == name
    assert os.path.basename(name) == name  # noqa: PTH119 - a Path would normalise it
    assert name[0] not in ".-"


@pytest.fixture
def without_torch(kit, tmp_path):
    """The variables of a machine without a GPU, whose Python lacks PyTorch and finds what else is in `tmp_path`."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('none here')")
    return {"GPUSMOKE_ROOT": str(tmp_path), "PYTHONPATH": f"{tmp_path}{os.pathsep}{kit.environment()['PYTHONPATH']}"}


def test_only_where_it_is_asked_for_does_a_record_tell_the_node(kit, without_torch):
    for options in ([], ["--node", "gpu07"], ["--node", "gpu07"]):
        assert kit("smoke", *options, env=without_torch).returncode == 1
    first, second, plain = sorted((kit.cwd / "results").iterdir())
    assert (first.name, second.name) == ("gpu07-2.json", "gpu07.json")
    for path in (first, second):
        assert json.loads(path.read_text())["facts"]["request.node"] == {"value": "gpu07", "source": "command line"}
    assert plain.name.startswith("smoke-2")
    assert "request.node" not in json.loads(plain.read_text())["facts"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_a_second_sigterm_takes_nothing_away(kit, tmp_path):
    """Slurm sends it to Pixi and to what Pixi runs, and Pixi passes it on."""
    marker = tmp_path / "imported"
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text(SLEEPING_TORCH.format(marker=str(marker)))
    env = kit.environment({"GPUSMOKE_ROOT": str(tmp_path)})
    env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    command = [sys.executable, "-m", "gpusmoke", "smoke", "--node", "gpu07"]
    process = subprocess.Popen(command, env=env, cwd=kit.cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not marker.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    assert process.returncode == 130
    assert read(kit.cwd / "results/gpu07.json").complete is False


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("moment", ["gpusmoke.commands.session.merged", "gpusmoke.record.add"])
def test_a_sigterm_that_comes_when_all_is_done_takes_nothing_away(kit, without_torch, tmp_path, moment):
    """As the findings are made, and as the record is written."""
    module, _, name = moment.rpartition(".")
    (tmp_path / "sitecustomize.py").write_text(LATE.format(module=module, name=name))
    done = kit("smoke", "--node", "gpu07", env=without_torch)
    assert done.returncode == 1
    assert read(kit.cwd / "results/gpu07.json").complete is True
    assert "killed" in done.stderr


@pytest.mark.parametrize(
    ("options", "at", "check_deadline", "seconds", "bench_deadline"),
    [
        (["--quick"], 6, 35, 9, 39),
        (["--quick"], 34, 35, 5, 11),  # PyTorch came slowly: as short as it can be, and in time all the same
        (["--quick", "--seconds", "30"], 6, 45, 19, 49),
        (["--quick", "--timeout", "10"], 6, 10, 9, 39),
        (["--seconds", "30"], 6, 180, 30, 210),
    ],
)
def test_quick_ends_even_what_hangs_within_the_minute_that_slurm_gives(
    monkeypatch, options, at, check_deadline, seconds, bench_deadline
):
    """`at` is how long the check took, in seconds; ten more are for children that can't be ended."""
    asked = {}

    def exercise(session, timeout, quiet, links):
        asked["check"] = timeout
        monkeypatch.setattr(type(session), "elapsed", at)

    def measure(session, crew, request, quiet, patience=180.0):
        asked["bench"] = (request.seconds, request.seconds + patience)

    monkeypatch.setattr(smoke, "exercise", exercise)
    monkeypatch.setattr(smoke, "measure", measure)
    smoke.run(parser_of("smoke").parse_args(options))
    assert asked == {"check": check_deadline, "bench": (seconds, bench_deadline)}
    if options == ["--quick"]:
        assert max(check_deadline, at + bench_deadline) + 10 < 60
