"""`--no-skips`: a test that did not run proves nothing, so in CI it fails, with its reason. Order and place, too."""

import gc
import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long something takes is not what a test of ours is about: it says how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# A shell lets what it starts in the background ignore Ctrl-C, and every program would inherit that from the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Several test at a time, with programs of their own: threads of OpenMP that wait for each other keep cores busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Clones, checkouts and images are many thousand small files, which take a minute longer on a disk than in memory. They
# stay on the disk where memory is scarce, as in a container, or where no program may be started in it.
MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of one's own in it
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4e9 and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_addoption(parser):
    parser.addoption("--no-skips", action="store_true", help="make every skip a failure: CI has all that tests need")


def fail_where_skipped(config, report):
    """Expected failures (xfail) count as skipped for pytest, but they did run."""
    if report.skipped and config.getoption("no_skips") and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        report.outcome = "failed"
        report.longrepr = f"--no-skips: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return fail_where_skipped(item.config, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return fail_where_skipped(collector.config, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is collected and imported stays: to look for garbage in it takes a sixth of the time, for every worker."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config, items):
    """Those that are marked long first, dealt out to the workers, each of which begins with an equal part of the list.

    Otherwise all wait at the end for the few that began last.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for item in items if item.get_closest_marker("long")]
    short = [item for item in items if not item.get_closest_marker("long")]
    ordered = []
    for worker in range(workers):
        size = (len(items) - len(ordered)) // (workers - worker)
        mine = long[worker::workers]
        rest = max(0, size - len(mine))
        ordered += [*mine, *short[:rest]]
        del short[:rest]
    items[:] = [*ordered, *short]
