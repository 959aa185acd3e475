"""audit through the real command line: on this repository's own lock, and on copies that were altered or damaged."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpusmoke.cli import main

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def stored_audit():
    """The record of this repository's lock."""
    pytest.importorskip("rattler")
    command = [sys.executable, "-P", "-m", "gpusmoke", "audit", "--json"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PIXI_PROJECT_ROOT": str(ROOT)}
    return json.loads(subprocess.run(command, env=env, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout)


def ids(found):
    return [kind for _, kind, _ in found]


def row(record, platform, environment="default"):
    rows = record["facts"]["lock.solves"]["value"]
    return next(one for one in rows if one["platform"] == platform and environment in one["environments"])


def megabytes(row):
    """A download as the tables tell it. It is no constant: a package more or less is no reason to fail."""
    return f"{row['bytes'] / 1e6:.0f}"


def test_the_lock_of_this_repository_is_sound(workspace):
    found, code = workspace.found()
    assert code == 0
    assert [(severity, kind) for severity, kind, _ in found] == [("ok", "lock-sound")]
    assert found[0][2].startswith("6 environments are locked on 9 platforms")


def test_what_each_platform_holds_and_needs(workspace):
    record, _ = workspace.audit()
    cuda13, cuda12 = row(record, "linux-64-cuda13"), row(record, "linux-64-cuda12")
    assert cuda13["environments"] == ["default", "cuda13"]
    assert cuda13["pytorch"] == {
        "version": "2.12.1",
        "build": "cuda130_mkl_py314_h5d99997_300",
        "channel": "conda-forge",
    }
    assert (cuda13["declared"], cuda13["cuda"]["cuda-version"], cuda13["driver"]) == ("13.0", "13.3", "580.65.06")
    assert cuda13["architectures"] == ["7.5", "8.0", "8.6", "9.0", "10.0", "11.0", "12.0+PTX"]
    assert 3.0e9 < cuda13["bytes"] < 3.5e9
    assert list(cuda13["largest"]) == ["libtorch", "libcudnn", "libcublas"]
    assert cuda13["packages"] > 150
    assert cuda13["unsized"] == 0
    assert (cuda12["cuda"]["cuda-version"], cuda12["driver"]) == ("12.9", "525.60.13")
    assert cuda12["architectures"][:3] == ["5.0", "6.0", "7.0"]
    assert row(record, "win-64-cuda12")["driver"] == "527.41"
    assert row(record, "win-64-cuda13")["driver"] == "580"  # the branch: no Windows driver comes with CUDA 13
    assert row(record, "linux-aarch64-cuda12")["pytorch"]["version"] == "2.10.0"
    cpu = row(record, "osx-arm64-cpu", "cpu")
    assert (cpu["driver"], cpu["architectures"], cpu["cuda"]) == (None, None, {})
    assert row(record, "linux-64-cpu", "doctor")["pytorch"] is None


def test_the_record_is_small_and_report_shows_it_again(workspace):
    done = workspace.kit("audit", "--json")
    assert len(done.stdout) < 32 * 1024
    (workspace.folder / "record.json").write_text(done.stdout)
    assert "linux-64-cuda13       2.12.1   cuda130" in workspace.kit("report", "record.json").stdout


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_a_stored_record_with_odd_rows_is_shown_all_the_same(stored_audit, tmp_path, capsys, data):
    document = copy.deepcopy(stored_audit)
    row = data.draw(st.sampled_from(document["facts"]["lock.solves"]["value"]))
    name = data.draw(st.sampled_from(sorted(row)))
    if data.draw(st.booleans()):
        del row[name]
    else:
        row[name] = data.draw(st.none() | st.integers() | st.text() | st.just([3]) | st.just({"a": None}))
    (tmp_path / "odd.json").write_text(json.dumps(document))
    assert main(["report", str(tmp_path / "odd.json")]) == 0, capsys.readouterr().err


def test_the_table_fits_80_columns(workspace):
    done = workspace.kit("audit")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    lines = done.stdout.splitlines()
    assert lines[1] == "default, cuda13"
    assert lines[2].split() == [
        "linux-64-cuda13",
        "2.12.1",
        "cuda130",
        "13.3",
        "580.65.06",
        megabytes(row(workspace.audit()[0], "linux-64-cuda13")),
        "7.5",
        "to",
        "12.0+PTX",
    ]
    assert "doctor: no PyTorch, 37 to 72 MB on 4 platforms" in lines
    assert "  linux-64-cuda13       libtorch 473, libcudnn 440, libcublas 385" in lines
    assert lines[-1] == "Healthy."


def test_markdown_has_a_row_for_every_solve(workspace):
    done = workspace.kit("audit", "--markdown")
    assert done.returncode == 0
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in rows} == {10}
    assert len(rows) == 1 + 17
    size = megabytes(row(workspace.audit()[0], "linux-64-cuda13"))
    assert rows[1].startswith(
        f"| linux-64-cuda13 | default, cuda13 | 2.12.1 | cuda130 | 13.3 | 580.65.06 | {size} | 7.5 8.0 "
    )


def test_markdown_has_problems_with_their_advice(workspace):
    workspace.lock_instead("pytorch cuda130", "pytorch cpu")
    done = workspace.kit("audit", "--markdown")
    assert done.returncode == 1
    assert "- **PROBLEM** linux-64-cuda13 declares CUDA 13.0" in done.stdout
    assert "\n  pixi lock\n" in done.stdout


def test_one_kind_of_machine_alone(workspace):
    record, code = workspace.audit("--subdir", "linux-aarch64")
    assert code == 0
    assert {one["subdir"] for one in record["facts"]["lock.solves"]["value"]} == {"linux-aarch64"}
    assert record["findings"][0]["title"].startswith("5 environments are locked on 2 platforms")


def test_a_cuda_platform_that_slipped_to_the_cpu(workspace):
    workspace.lock_instead("pytorch cuda130", "pytorch cpu")
    found, code = workspace.found()
    assert code == 1
    assert found == [
        (
            "problem",
            "cpu-build-on-cuda-platform",
            "linux-64-cuda13 declares CUDA 13.0, but its lock slipped to a CPU build of PyTorch "
            "(environments: default and cuda13).",
        )
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [("libcublas 13", "libcublas 12"), ("cuda-version 13", "cuda-version 12"), ("pytorch cuda130", "pytorch cuda129")],
)
def test_two_cuda_majors(workspace, old, new):
    workspace.lock_instead(old, new)
    found, code = workspace.found("--subdir", "linux-64")
    assert (code, ids(found)) == (1, ["cuda-majors-mixed"])
    assert found[0][2].startswith("linux-64-cuda13 mixes CUDA majors")


def test_pytorch_gpu_of_another_cuda_is_none_of_them():
    lock = (ROOT / "pixi.lock").read_text(encoding="utf-8")
    section = lock.partition("  cuda13:\n")[2].partition("\n      p4:\n")[0]
    assert "/pytorch-gpu-2.12.1-cuda129_mkl_" in section  # this repository's own lock has such a pair, and is sound
    assert "/pytorch-2.12.1-cuda130_mkl_" in section


def test_a_platform_that_declares_another_cuda(workspace):
    workspace.alter("pixi.toml", 'cuda = "13.0" },', 'cuda = "12.1" },', 1)
    workspace.alter("pixi.lock", "__cuda=13.0", "__cuda=12.1", 1)
    found, code = workspace.found()
    assert (code, ids(found)) == (1, ["declared-cuda-differs"])
    assert found[0][2].startswith('linux-64-cuda13 declares cuda = "12.1", but its lock holds CUDA 13')


def test_a_cuda_build_where_none_is_declared(workspace):
    workspace.lock_instead("pytorch cpu", "pytorch cuda130")
    found, code = workspace.found()
    assert (code, ids(found)) == (1, ["declared-cuda-differs"])
    assert found[0][2].startswith("linux-64-cpu declares no cuda, but its lock holds CUDA 13")


def test_an_environment_that_is_not_locked(workspace):
    workspace.alter("pixi.toml", "[environments]\n", '[environments]\nspare = { features = ["cuda13"] }\n')
    found, code = workspace.found()
    assert (code, ids(found)) == (1, ["environment-missing-from-lock"])
    assert "'spare' is not locked for linux-64-cuda13, win-64-cuda13" in found[0][2]


def test_a_platform_changed_in_the_manifest_alone(workspace):
    workspace.alter("pixi.toml", 'cuda = "13.0" },', 'cuda = "13.1" },', 1)
    found, code = workspace.found()
    assert code == 1
    assert set(ids(found)) == {"environment-missing-from-lock", "locked-but-not-declared"}
    assert any("for linux-64, cuda 13.0, which pixi.toml does not ask for" in title for _, _, title in found)


def test_pypis_packages_are_counted_and_told_by_their_names(workspace):
    wheels = {"torch": "2.9.0+cu126", "nvidia-cudnn-cu12": "9.13.0"}
    for name, version in wheels.items():
        link = f"https://example.org/{name}-{version.replace('+', '%2B')}-py3-none-any.whl"
        workspace.alter("pixi.lock", "      p1:\n", f"      p1:\n      - pypi: {link}\n", 1)
        entry = f"- pypi: {link}\n  name: {name}\n  version: {version}\n  sha256: {'0' * 64}\n"
        workspace.alter("pixi.lock", "\npackages:\n", f"\npackages:\n{entry}")
    found, code = workspace.found()
    assert (code, ids(found)) == (1, ["cuda-majors-mixed"])
    held = row(workspace.audit()[0], "linux-64-cuda13", "cuda13")
    assert held["unsized"] == 2
    assert f" {megabytes(held)}+ " in workspace.kit("audit").stdout


@pytest.mark.parametrize(
    ("args", "culprit"),
    [
        (["--driver", "12.4"], "'12.4'"),
        (["--driver", "newest"], "'newest'"),
        (["--gpu", "86"], "'86'"),
        (["--gpu", "sm_86"], "'sm_86'"),
        (["--subdir", "linux-32"], "linux-32; choose from linux-64, win-64, linux-aarch64, osx-arm64"),
        (["--diff", "nosuch.lock"], "nosuch.lock can't be read"),
        (["--diff", "pixi.toml"], "pixi.toml can't be read"),
        (["--diff", "pixi.lock", "--driver", "560"], "--diff compares two locks"),
        (["--json", "--markdown"], "--json and --markdown"),
    ],
)
def test_bad_options_are_one_sentence(workspace, args, culprit):
    done = workspace.kit("audit", *args)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert culprit in line


def damage_half(workspace):
    path = workspace.folder / "pixi.lock"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "culprit"),
    [
        (damage_half, "pixi.lock can't be read as a lock of Pixi"),
        (lambda w: w.alter("pixi.lock", "version: 7", "version: 99"), "version 99"),
        (lambda w: w.alter("pixi.lock", "  cuda12:\n", "<<<<<<< HEAD\n  cuda12:\n"), "merge conflict"),
        (lambda w: (w.folder / "pixi.lock").write_text(""), "does not start with its version"),
        (lambda w: (w.folder / "pixi.lock").unlink(), "there is no pixi.lock beside pixi.toml; make it: pixi lock"),
        (lambda w: (w.folder / "pixi.toml").unlink(), "there is no pixi.toml"),
        (lambda w: (w.folder / "pixi.toml").write_text("[workspace"), "pixi.toml can't be read"),
        (lambda w: (w.folder / "pixi.toml").write_text("[workspace]\n"), "declares no platforms"),
    ],
)
def test_manifests_and_locks_that_cannot_be_read_are_one_sentence(workspace, damage, culprit):
    damage(workspace)
    done = workspace.kit("audit")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert culprit in line


def test_without_py_rattler_the_command_that_gets_it(workspace, tmp_path):
    (tmp_path / "rattler.py").write_text("raise ModuleNotFoundError(name='rattler')")
    search = f"{tmp_path}{':' if sys.platform != 'win32' else ';'}{workspace.kit.environment()['PYTHONPATH']}"
    done = workspace.kit("audit", env={"PYTHONPATH": search})
    assert done.returncode == 2
    assert done.stderr.strip().endswith("pip install py-rattler")
