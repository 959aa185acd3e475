"""bench, smoke and report through the real command line, with the real PyTorch on the CPU."""

import json
import os

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="meant for a machine without a GPU")


@pytest.fixture
def bare_root(tmp_path):
    root = tmp_path / "bare"
    root.mkdir()
    return {"GPUSMOKE_ROOT": str(root)}


def test_bench_measures_the_cpu_and_says_so(kit, bare_root, valid):
    done = kit("bench", "--seconds", "3", "--dtype", "fp32,fp8", "--shape", "300x200x100", env=bare_root, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran on the CPU; CUDA was NOT exercised." in done.stdout.splitlines()[0]
    assert "fp8 was not measured: not measured on a CPU" in done.stdout
    (path,) = (kit.cwd / "results").iterdir()
    record = json.loads(path.read_text())
    valid(record)
    assert [(row["dtype"], row["regime"], row["gpu"]) for row in record["measurements"]] == [
        ("fp32", "burst", None),
        ("fp32", "settled", None),
    ]
    for row in record["measurements"]:
        assert row["shape"] == [300, 200, 100]
        assert row["backend"] == "cpu"
        assert row["p10"] <= row["p90"]
        assert min(row["samples"]) <= row["value"] <= max(row["samples"])  # a mean may lie beyond the quantiles
        assert row["value"] > 0
        assert row["verified"]["passed"] is True
        assert row["verified"]["repeats_equal"] is True
        assert "percent_of_datasheet" not in row
    assert "fp32 burst" in done.stderr  # progress, a line per measurement where there is no terminal


def test_json_is_alone_on_standard_output_and_a_record_is_kept(kit, bare_root):
    done = kit("bench", "--seconds", "2", "--dtype", "fp32", "--shape", "64", "--json", env=bare_root, timeout=120)
    record = json.loads(done.stdout)
    assert done.stderr == ""
    (path,) = (kit.cwd / "results").iterdir()
    assert json.loads(path.read_text()) == record


def test_require_gpu_fails_there(kit, bare_root):
    done = kit(
        "bench", "--seconds", "1", "--dtype", "fp32", "--shape", "64", "--require-gpu", env=bare_root, timeout=120
    )
    assert done.returncode == 1
    assert "gpu-required" in done.stdout


def test_smoke_is_doctor_check_and_bench_in_one_record(kit, bare_root, valid):
    done = kit("smoke", "--json", env=bare_root, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(done.stdout)
    valid(record)
    ids = {found["id"] for found in record["findings"]}
    assert {"no-gpu", "cuda-not-exercised", "cpu-works", "rates-measured"} <= ids
    assert {row["dtype"] for row in record["measurements"]} == {"bf16", "fp32"}
    (path,) = (kit.cwd / "results").iterdir()
    assert path.name.startswith("smoke-")


def test_smoke_does_not_measure_what_does_not_work(kit, bare_root):
    done = kit("smoke", "--json", "--require-gpu", env=bare_root, timeout=120)
    record = json.loads(done.stdout)
    assert done.returncode == 1
    assert record["measurements"] == []
    assert [found["id"] for found in record["findings"] if found["severity"] == "problem"] == ["gpu-required"]


def test_a_folder_for_results_that_can_not_be_made_is_named_before_anything_is_measured(kit, bare_root):
    (kit.cwd / "results").write_text("a file")
    done = kit("bench", env=bare_root)
    assert done.returncode == 2
    assert "results" in done.stderr
    assert (kit.cwd / "results").read_text() == "a file"


def test_results_that_can_not_be_written_in_the_end_are_shown_and_kept_elsewhere(kit, bare_root, tmp_path):
    # PyTorch's import is where the folder goes away: after it was tried, and before the record is written.
    package = tmp_path / "standin/torch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import os\nos.rmdir('results')\nopen('results', 'w')\nraise ImportError('x')")
    spare = tmp_path / "spare"
    spare.mkdir()
    search = os.pathsep.join([str(package.parent), kit.environment()["PYTHONPATH"]])
    done = kit("bench", env=bare_root | {"PYTHONPATH": search, "TMPDIR": str(spare)})
    assert done.returncode == 1  # the problem was found, and stays the answer
    assert "results can't be written to results" in done.stderr.splitlines()[-1]
    (kept,) = spare.glob("bench-*.json")
    assert str(kept) in done.stdout
    assert json.loads(kept.read_text())["command"] == "bench"


def test_a_size_that_this_machine_can_not_hold_is_refused(kit, bare_root):
    done = kit("bench", "--shape", "9999999", env=bare_root)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "--shape 9999999x9999999x9999999 needs" in done.stderr
    assert "this machine has" in done.stderr


def test_a_size_that_takes_too_long_is_told_and_not_begun(kit, bare_root):
    done = kit("bench", "--shape", "16384", "--dtype", "fp64", "--seconds", "4", env=bare_root, timeout=100)
    assert done.returncode == 1
    assert "fp64 was not measured: one product of 16384x16384x16384 would take" in done.stdout


def test_a_size_that_no_gpu_here_can_hold_is_refused(kit, driver):
    done = kit("bench", "--shape", "9999999", env=driver())
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "--shape 9999999x9999999x9999999 needs" in done.stderr
