"""audit --diff through the real command line: what changed since an older lock?"""

import re

import pytest


def ids(found):
    return [kind for _, kind, _ in found]


@pytest.fixture
def workspace(workspace):
    """With a second copy of the lock, to be the older one."""
    workspace.copy("pixi.lock", "old.lock")
    return workspace


def test_the_same_lock_twice(workspace):
    assert workspace.found("--diff", "old.lock") == (
        [("ok", "lock-unchanged", "Both locks hold the same packages for every environment and platform.")],
        0,
    )


def test_support_that_was_lost_is_a_warning_and_exit_0(workspace):
    """Before, linux-64-cuda13 was made for CUDA 12.4; its platform is recognized although it declared another CUDA."""
    workspace.alter("old.lock", "__cuda=13.0", "__cuda=12.4", 1)
    workspace.lock_instead("libcublas 13", "libcublas 12", "old.lock")
    workspace.lock_instead("cuda-version 13", "cuda-version 12", "old.lock")
    workspace.lock_instead("pytorch cuda130", "pytorch cuda129", "old.lock")
    found, code = workspace.found("--diff", "old.lock", "--subdir", "linux-64")
    assert code == 0
    (severity, kind, title), *lost = found
    assert (severity, kind) == ("note", "lock-changed")
    assert title.startswith(
        "linux-64-cuda13 (default and cuda13): build cuda129 -> cuda130, CUDA 12.9 -> 13.3, declared cuda 12.4 -> 13.0"
    )
    before, after, change = map(int, re.search(r", download (\d+) -> (\d+) MB \((-\d+)\)\.$", title).groups())
    assert 3000 < after < before < 3500
    assert abs(after - before - change) <= 1  # each is rounded
    assert lost == [
        (
            "warning",
            "driver-floor-raised",
            "linux-64-cuda13 (default and cuda13) needs driver 580.65.06 now; before, 550.54.14 was enough.",
        ),
        (
            "warning",
            "gpus-dropped",
            "linux-64-cuda13 (default and cuda13) no longer runs on GPUs of compute capability 5.0, 6.0, 7.0.",
        ),
    ]


def test_a_slip_to_the_cpu_drops_every_gpu(workspace):
    workspace.lock_instead("pytorch cuda130", "pytorch cpu")
    found, _ = workspace.found("--diff", "old.lock", "--subdir", "linux-64")
    assert ids(found) == ["lock-changed", "gpus-dropped"]
    assert found[1][2].endswith("7.5, 8.0, 8.6, 9.0, 10.0, 11.0, 12.0.")


def test_packages_that_nobody_asks_about(workspace):
    workspace.lock_instead("colorlog", "hyperframe", "old.lock")
    found, _ = workspace.found("--diff", "old.lock", "--subdir", "osx-arm64")
    assert set(ids(found)) == {"lock-changed"}
    assert found[0][2] == "osx-arm64-cpu (default and cpu): only packages other than PyTorch and CUDA."


def test_environments_that_come(workspace):
    workspace.unlock("cuda12", "old.lock")
    record, code = workspace.audit("--diff", "old.lock", "--subdir", "linux-64")
    (one,) = record["findings"]
    assert (code, one["severity"], one["id"]) == (0, "note", "locked-anew")
    rows = record["facts"]["lock.solves"]["value"]
    (size,) = [row["bytes"] for row in rows if row["platform"] == "linux-64-cuda12"]
    assert one["title"] == f"linux-64-cuda12 (cuda12) is new: PyTorch 2.12.1 cuda129, {size / 1e6:.0f} MB."


def test_an_environment_without_cuda_that_goes_is_a_note(workspace):
    workspace.unlock("lint")
    found, code = workspace.found("--diff", "old.lock", "--subdir", "linux-64")
    assert (code, [one[:2] for one in found]) == (0, [("note", "no-longer-locked")])
