"""Turns that children take: one at a time, and never for ever."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import gpusmoke
from gpusmoke.workers.turns import turn

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere nobody waits")

LONG = 15.0  # that nobody has to wait
HOLDER = """import sys, time
from gpusmoke.workers.turns import turn
import os; os.getppid = lambda: int(sys.argv[1])
with turn("test"):
    print("mine", flush=True)
    time.sleep(600)
"""


def test_nobody_is_let_in_beside_another():
    inside, most, done = [0], [0], []

    def work():
        with turn("test"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.02)
            inside[0] -= 1
        done.append(1)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (most[0], len(done)) == (1, 5)


def test_other_things_and_other_runs_are_nobodys_turn(monkeypatch):
    started = time.monotonic()
    with turn("test"):
        with turn("other", LONG):
            pass
        monkeypatch.setattr(os, "getppid", lambda: 1)
        with turn("test", LONG):
            pass
    assert time.monotonic() - started < LONG


def test_one_that_hangs_is_waited_for_only_so_long_and_one_that_dies_no_longer():
    command = [sys.executable, "-c", HOLDER, str(os.getppid())]
    env = os.environ | {"PYTHONPATH": str(Path(gpusmoke.__file__).parents[1])}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "mine\n"
        started = time.monotonic()
        with turn("test", patience=0.2):
            assert time.monotonic() - started >= 0.2
        holder.kill()
        holder.wait(30)
        with turn("test", LONG):
            assert time.monotonic() - started < LONG
