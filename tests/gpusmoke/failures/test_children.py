"""Children that crash, hang, print garbage or can't import PyTorch: each a finding, through the real command line.

A stand-in `torch` that comes first on PYTHONPATH misbehaves at import, in the child alone: the parent never imports it.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from processes import wait_until

STAND_IN = "pytorch"

# Every open descriptor gets it, the one that the child reports on included.
GARBAGE = """import os
for fd in range(3, 20):
    try: os.write(fd, b'\\x00\\xff not json\\n')
    except OSError: pass
os._exit(0)"""
# Killed, a traced process is a zombie that nobody but its tracer can collect: to the parent it seems not to end, as
# if it were stuck in the driver. Yama wants the tracee's permission.
TRACER = """import ctypes, sys, time
print(ctypes.CDLL(None).ptrace(ctypes.c_long(0x4206), int(sys.argv[1]), None, None), flush=True)
time.sleep(40)"""
UNKILLABLE = f"""import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_long(-1), 0, 0, 0)
tracer = subprocess.Popen([sys.executable, '-c', {TRACER!r}, str(os.getpid())], stdout=subprocess.PIPE)
assert tracer.stdout.readline() == b'0\\n'
time.sleep(600)"""

# Says what CUDA shows once it is started; without cuInit that is an error, 3.
ASKING = """import ctypes, time
cuda, count, until = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), time.monotonic() + 20
while cuda.cuDeviceGetCount(ctypes.byref(count)) and time.monotonic() < until:
    time.sleep(0.01)
raise ImportError(f"CUDA shows {count.value} while PyTorch is imported")"""

MISSING = "raise ImportError('libcudnn.so.9: cannot open shared object file')"
CASES = [
    ("worker-crashed", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11", "sudo dmesg"),
    ("worker-crashed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "while importing", "sudo dmesg"),
    ("worker-crashed", "import os; os._exit(3)", "exit code 3", "sudo dmesg"),
    ("worker-hung", "import time; time.sleep(600)", "2.0 s; it stopped while importing PyTorch", "sudo dmesg"),
    ("worker-unkillable", UNKILLABLE, "even SIGKILL", "sudo dmesg"),
    ("worker-garbled", GARBAGE, "not a report", "env -u PYTHONPATH -u LD_LIBRARY_PATH"),
    ("torch-missing", MISSING, "libcudnn.so.9", "pixi run check"),
]
NAMED = {kind for kind, *_ in CASES} | {"interrupted"}


@pytest.fixture
def check(kit, driver, tmp_path):
    """Run `check --json` with a torch whose body is given, and a driver in that state; returns record and exit code."""

    def run(body, *args, state=None):
        package = tmp_path / "standin" / "torch"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(body)
        env = driver(state) if state else {}
        search = os.pathsep.join([str(package.parent), *kit.environment(env)["PYTHONPATH"].split(os.pathsep)])
        done = kit("check", "--json", *args, env=env | {"PYTHONPATH": search})
        return json.loads(done.stdout), done.returncode

    return run


def gone(pid):
    """Whether there is no such process."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    return False


def problems(record):
    return {found["id"]: found for found in record["findings"] if found["severity"] == "problem"}


@pytest.mark.parametrize(("expected", "body", "words", "advice"), CASES)
def test_each_end_of_a_child_is_named_with_its_cure(check, expected, body, words, advice):
    if expected == "worker-unkillable" and sys.platform != "linux":
        pytest.skip("traces a process as Linux does")
    record, code = check(body, "--timeout", "2" if expected in ("worker-hung", "worker-unkillable") else "60")
    found = problems(record)[expected]
    assert code == 1
    assert words in found["title"]
    assert found["advice"][0].startswith(advice)
    assert found["evidence"]


def test_a_child_that_ignores_everything_but_sigkill_is_ended_too(check):
    ignore = "for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)"
    body = f"import signal, time\n{ignore}\ntime.sleep(600)"
    record, code = check(body, "--timeout", "2")
    assert code == 1
    assert "worker-hung" in problems(record)


def test_what_a_library_prints_is_no_garbage(check):
    record, _ = check(
        "print('hello from a library')\nraise ImportError('libcudnn.so.9: cannot open shared object file')"
    )
    assert list(problems(record)) == ["torch-missing"]
    assert "libcudnn.so.9" in problems(record)["torch-missing"]["title"]


def test_the_last_words_of_a_crashed_child_are_kept(check):
    record, _ = check("import sys, os; print('terminate called', file=sys.stderr, flush=True); os.abort()")
    assert any("terminate called" in line for line in problems(record)["worker-crashed"]["evidence"])


def test_a_long_stack_does_not_push_them_out(check):
    stack = "[print(f'frame #{n}: c10::Error', file=sys.stderr, flush=True) for n in range(40)]"
    record, _ = check(f"import sys, os; print('what(): NCCL error', file=sys.stderr, flush=True); {stack}; os.abort()")
    assert any("what(): NCCL error" in line for line in problems(record)["worker-crashed"]["evidence"])


def test_each_gpu_has_a_child_of_its_own(check):
    record, code = check("import os; os._exit(3)", state={"devices": 3})
    crashed = [found["gpu"] for found in record["findings"] if found["id"] == "worker-crashed"]
    assert code == 1
    assert crashed == [0, 1, 2]


def test_cuda_is_started_while_pytorch_is_imported(check):
    pytest.importorskip("torch")  # CUDA is started for no other
    record, _ = check(ASKING, state={"devices": 2})
    assert record["facts"]["torch.version"]["reason"] == "ImportError: CUDA shows 2 while PyTorch is imported"


def test_a_driver_that_crashes_meanwhile_is_named_beside_pytorch(check):
    pytest.importorskip("torch")
    record, code = check(ASKING, state={"devices": 1, "cuInit.crash": 1})
    assert code == 1
    assert "(signal 11) while importing PyTorch and starting CUDA" in problems(record)["worker-crashed"]["title"]


@pytest.fixture
def waiting(kit, tmp_path):
    """`waiting(*args)`: the program, once a child waits in PyTorch's import, and the file with all such processes.

    Of smoke there are two where there are cores enough.
    """

    def start(*args):
        package, marker = tmp_path / "torch", tmp_path / "pid"
        package.mkdir()
        package.joinpath("__init__.py").write_text(
            f"import os, time\nopen({str(marker)!r}, 'a').write(f'{{os.getpid()}} ')\ntime.sleep(600)"
        )
        env = kit.environment({})
        env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
        command = [sys.executable, "-m", "gpusmoke", *args]
        process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        wait_until(lambda: marker.exists() and marker.read_text().endswith(" "), seconds=60)
        return process, marker

    return start


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_recorded_and_leaves_no_child_behind(waiting, tmp_path, number):
    process, marker = waiting("smoke", "--json")
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    record = json.loads(out)
    assert process.returncode == 130
    assert record["complete"] is False
    assert [one["id"] for one in record["findings"]] == ["interrupted"]
    assert [path.name for path in (tmp_path / "results").iterdir()]
    assert all(map(gone, marker.read_text().split()))


def test_a_child_ends_when_its_parent_is_killed(waiting):
    process, marker = waiting("check")
    process.kill()
    process.communicate(timeout=30)
    wait_until(lambda: all(map(gone, marker.read_text().split())), seconds=60)


def test_a_child_ends_when_its_parent_is_gone_in_the_middle_of_a_word(kit):
    program = "from gpusmoke.workers.reporter import Reporter; import time; Reporter(); time.sleep(600)"
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=kit.environment({}), input=b'{"a": 1', capture_output=True, timeout=60)
    assert done.returncode == 1


@pytest.mark.skipif("sys.platform != 'linux'", reason="traces a process as Linux does")
def test_however_many_can_not_be_ended_they_are_waited_for_once(check):
    """A driver that hangs holds the children of all GPUs; each by itself would be waited for for five seconds."""
    started = time.monotonic()
    record, code = check(UNKILLABLE, "--timeout", "2", state={"devices": 8})
    assert code == 1
    assert [one["gpu"] for one in record["findings"] if one["id"] == "worker-unkillable"] == list(range(8))
    assert time.monotonic() - started < 30


def test_a_module_of_the_users_folder_is_not_taken_for_another(kit, driver, fake_root, tmp_path):
    for name in ("torch", "json", "pynvml", "queue"):
        (kit.cwd / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "torch.py").write_text("raise ImportError('the right one')")
    env = kit.environment(driver() | {"GPUSMOKE_ROOT": str(fake_root)})
    env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    command = [sys.executable, "-P", "-m", "gpusmoke", "check", "--json"]
    done = subprocess.run(command, env=env, cwd=kit.cwd, capture_output=True, text=True, timeout=120, check=False)
    facts = json.loads(done.stdout)["facts"]
    assert facts["nvml.driver_version"]["value"] == "580.159.04"
    assert facts["torch.version"]["reason"] == "ImportError: the right one"
    assert "the wrong one" not in done.stdout


def test_what_a_child_leaves_running_is_not_waited_for(check):
    body = "import os, subprocess, sys\nsubprocess.Popen(['/bin/sleep', '100'])\nos._exit(3)"
    started = time.monotonic()
    record, code = check(body, "--timeout", "90")
    assert code == 1
    assert "exit code 3" in problems(record)["worker-crashed"]["title"]
    assert time.monotonic() - started < 45


def test_a_child_that_prints_without_end_does_not_fill_the_record(check):
    write = "    try: os.write(fd, b'x' * 1000 + b'\\n')\n    except OSError: pass"
    body = f"import os\nfor fd in [2, *range(3, 20)] * 3000:\n{write}\nos._exit(0)"
    record, code = check(body)
    outcome = record["facts"]["check.worker.0"]["value"]
    assert code == 1
    assert "worker-garbled" in problems(record)
    assert 0 < len(outcome["stray_lines"]) <= 12
    assert all(len(line) <= 200 for line in outcome["stray_lines"] + outcome["stderr"])
