"""soak through the real command line, with the real PyTorch on the CPU."""

import json

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="meant for a machine without a GPU")

SHORT = ("soak", "--minutes", "0.05", "--memory", "0.04")


@pytest.fixture
def soak(kit, tmp_path):
    """Run `soak` on a machine without a GPU."""
    root = tmp_path / "bare"
    root.mkdir()
    return lambda *args: kit(*SHORT, *args, env={"GPUSMOKE_ROOT": str(root)}, timeout=180)


def test_the_cpu_is_soaked_and_it_is_said_that_it_was_the_cpu(soak, kit, valid):
    done = soak()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran on the CPU; CUDA was NOT exercised." in done.stdout.splitlines()[0]
    assert "CPU: " in done.stderr  # progress, a line every some seconds
    assert "no wrong bit" in done.stderr
    (path,) = (kit.cwd / "results").iterdir()
    assert path.name.startswith("soak-")
    record = json.loads(path.read_text())
    valid(record)
    row = record["facts"]["soak.0"]["value"]
    assert row["seconds"] >= 3
    assert row["products"] == row["checked"] > 0
    assert row["buffers"] >= 2
    assert row["reference"]["passed"] is True
    assert row["wrong_results"] == 0
    (measured,) = record["measurements"]
    assert (measured["gpu"], measured["backend"], measured["dtype"]) == (None, "cpu", "fp32")
    assert measured["verified"]["passed"] is True
    assert min(measured["samples"]) <= measured["value"] <= max(measured["samples"])
    assert "soaked" in [one["id"] for one in record["findings"]]


def test_json_is_alone_on_standard_output_and_a_gpu_or_a_number_format_that_is_not_there_is_told(soak, kit):
    done = soak("--json", "--require-gpu", "--dtype", "fp8")
    assert done.returncode == 1
    assert done.stderr == ""
    record = json.loads(done.stdout)
    problems = [one["id"] for one in record["findings"] if one["severity"] == "problem"]
    assert problems == ["gpu-required", "nothing-measured"]
    assert "fp8 was not measured: not measured on a CPU" in [one["title"].rstrip(".") for one in record["findings"]]
    (path,) = (kit.cwd / "results").iterdir()
    assert json.loads(path.read_text()) == record


@pytest.mark.parametrize(
    ("args", "culprit"),
    [
        (["--minutes", "0"], "--minutes"),
        (["--minutes", "soon"], "'soon'"),
        (["--memory", "0"], "--memory"),
        (["--memory", "1"], "--memory"),
        (["--dtype", "bf17"], "'bf17'"),
        (["--timeout", "-1"], "--timeout"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_culprit(kit, args, culprit):
    done = kit("soak", *args)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert culprit in line
    assert not (kit.cwd / "results").exists()
