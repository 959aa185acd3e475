"""bench, smoke and report through the real command line, with the real PyTorch on the CPU."""

import json
import os

import pytest

pytest.importorskip("torch")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="meant for a machine without a GPU"),
]


# A CPU may take half a second for the smallest cube in bf16.
IN_LESS_TIME = """import sys
if "gpusmoke.workers.child" in sys.orig_argv:
    from gpusmoke.workers import product; product.SMALLEST = 256
"""


def test_bench_measures_what_was_asked_for_on_the_cpu_and_says_so(kit, bare_root, valid):
    options = ["--dtype", "fp32,fp8,fp32", "--shape", "300x200x100,64,64", "--layout", "nt,TN", "--backend", "cublas"]
    done = kit("bench", "--seconds", "2", *options, env=bare_root, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran on the CPU; CUDA was NOT exercised." in done.stdout.splitlines()[0]
    assert "fp8 was not measured: not measured on a CPU" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    (path,) = (kit.cwd / "results").iterdir()
    record = json.loads(path.read_text())
    valid(record)
    asked = [(layout, shape) for layout in ("NT", "TN") for shape in ([300, 200, 100], [64, 64, 64])]
    assert [(row["regime"], row["layout"], row["shape"]) for row in record["measurements"]] == [
        *(("burst", *one) for one in asked),
        *(("settled", *one) for one in asked),
    ]
    for row in record["measurements"]:
        assert (row["dtype"], row["gpu"]) == ("fp32", None)
        assert row["backend"] == "cpu"  # whatever was asked for: there is no cuBLAS
        assert row["p10"] <= row["p90"]
        assert min(row["samples"]) * 0.999 <= row["value"] <= max(row["samples"]) * 1.001
        assert row["value"] > 0
        assert row["verified"]["passed"] is True
        assert row["verified"]["repeats_equal"] is True
        assert "percent_of_datasheet" not in row
        assert "joules_per_tflop" not in row
    assert "fp32 burst" in done.stderr  # progress, a line per measurement where there is no terminal
    assert [one["id"] for one in record["findings"]] == ["cuda-not-exercised", "dtype-skipped", "rates-measured"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--shape", "0x1x1"], "argument --shape: '0x1x1' is not a size: give M x N x K as in 4096x8192x1024"),
        (["--shape", "12x12"], "argument --shape: '12x12' is not a size"),
        (["--shape", "64,"], "argument --shape: '' is not a size"),
        (["--dtype", "fp32,fp9"], "argument --dtype: unknown number format 'fp9'; choose from bf16, fp16, fp8, int8"),
        (["--layout", "NT,XY"], "argument --layout: unknown layout 'XY'; choose from NT, NN, TN, TT"),
        (
            ["--backend", "cublas,cuda"],
            "argument --backend: unknown backend 'cuda'; choose from cublas, triton",
        ),
        (
            ["--search", "--backend", "cublas,triton"],
            "--search finds the fastest shape of one backend: name one with --backend",
        ),
        (["--seconds", "0"], "argument --seconds"),
        (["--quick", "--full"], "argument --full: not allowed with argument --quick"),
        (["--search", "--quick"], "argument --quick: not allowed with argument --search"),
        (["--search", "--shape", "64"], "--search chooses the shapes itself: leave out --shape, or --search"),
        (["--search", "--dtype", "bf16,fp8"], "--search finds the fastest shape of one format: name one with --dtype"),
        (["--gpus", "first"], "argument --gpus: 'first' is no list of GPUs: give their numbers, as in 0,2"),
        (["--gpus", "1,0"], "--gpus names GPU 0, and there is none here"),
        (["--shape", "9999999"], "--shape 9999999x9999999x9999999 needs"),
    ],
)
def test_bad_input_is_one_sentence(kit, bare_root, options, sentence):
    done = kit("bench", *options, env=bare_root)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith(f"gpusmoke: {sentence}")
    assert not list((kit.cwd / "results").glob("*"))


def test_a_gpu_that_is_not_there_and_a_size_that_none_can_hold_are_refused(kit, driver):
    env = driver({"devices": 2})
    done = kit("bench", "--gpus", "0,2", env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gpusmoke: --gpus names GPU 2, and CUDA shows 2; pixi run doctor lists them\n"
    done = kit("bench", "--shape", "64,9999999", "--gpus", "1", env=env)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "--shape 9999999x9999999x9999999 needs" in done.stderr
    assert "the largest GPU here has" in done.stderr


def test_smoke_is_doctor_check_and_bench_in_one_record(kit, bare_root, valid, tmp_path):
    tmp_path.joinpath("sitecustomize.py").write_text(IN_LESS_TIME)
    search = os.pathsep.join([str(tmp_path), kit.environment()["PYTHONPATH"]])
    done = kit("smoke", "--json", "--seconds", "2", env=bare_root | {"PYTHONPATH": search}, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(done.stdout)
    valid(record)
    ids = {found["id"] for found in record["findings"]}
    assert {"no-gpu", "cuda-not-exercised", "cpu-works", "rates-measured"} <= ids
    assert {row["dtype"] for row in record["measurements"]} == {"bf16", "fp32"}
    assert record["facts"]["request.bench"]["value"]["seconds"] == 2
    (path,) = (kit.cwd / "results").iterdir()
    assert path.name.startswith("smoke-")


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
