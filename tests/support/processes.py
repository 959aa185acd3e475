"""Processes that a test has started, or that those have: whether they are still there."""

import time
from pathlib import Path


def alive(pids):
    """Those of these numbers that still run; a zombie, which nobody has collected yet, does not."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            continue
        found += [pid] if state != "Z" else []
    return found


def wait_until(condition, seconds=120):
    """Wait until the condition holds; fail where it never does."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
