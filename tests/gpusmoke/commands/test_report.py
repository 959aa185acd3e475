"""`report`: a stored record on the terminal, as one HTML file, and as Markdown."""

import json
import os
import shutil
from pathlib import Path

import pytest

from gpusmoke.findings import finding
from gpusmoke.record import Record, write

DATA = Path(__file__).parents[1] / "data"
BROKEN = "raise ModuleNotFoundError(f'No module named {__name__!r}', name=__name__)\n"


@pytest.fixture
def record(kit):
    """The path of a record of a real H100, in the folder where `kit` runs."""
    return Path(shutil.copy(DATA / "h100-bench-method-1.json", kit.cwd / "bench.json"))


def refused(done, *culprits):
    """One sentence that names the culprits, and nothing else."""
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert all(culprit in line for culprit in culprits)
    return True


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_html_is_written_beside_the_record_and_again_over_itself(kit, record):
    for _ in range(2):
        done = kit("report", "bench.json", "--html")
        assert (done.returncode, done.stdout, done.stderr) == (0, "Report: bench.html\n", "")
        page = (kit.cwd / "bench.html").read_text(encoding="utf-8")
        assert page.startswith("<!doctype html>")
        assert "NVIDIA H100 80GB HBM3" in page
        assert files(kit.cwd) == ["bench.html", "bench.json"]


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["--html", "bench.json"], "bench.html"),
        (["--html", "page.html", "bench.json"], "page.html"),
        (["bench.json", "--html", "pages"], "pages/bench.html"),
    ],
)
def test_html_goes_where_one_says(kit, record, args, name):
    (kit.cwd / "pages").mkdir()
    assert kit("report", *args).stdout == f"Report: {name}\n"
    assert "</html>" in (kit.cwd / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["bench.json", "notes.html", "empty.html"])
def test_no_file_that_is_not_our_own_page_is_overwritten(kit, record, name):
    (kit.cwd / "notes.html").write_text('<!doctype html><p>mine</p><meta name="generator" content="other">')
    (kit.cwd / "empty.html").touch()
    before = {path.name: path.read_bytes() for path in kit.cwd.iterdir()}
    assert refused(kit("report", "bench.json", "--html", name), name, "no report of gpusmoke")
    assert {path.name: path.read_bytes() for path in kit.cwd.iterdir()} == before


def test_html_that_cannot_be_written_is_told(kit, record):
    assert refused(kit("report", "bench.json", "--html", "nosuch/page.html"), "nosuch/page.html")
    assert files(kit.cwd) == ["bench.json"]


def test_a_damaged_record_leaves_the_old_page_alone(kit, record):
    kit("report", "bench.json", "--html")
    before = (kit.cwd / "bench.html").read_bytes()
    record.write_text("{")
    assert refused(kit("report", "bench.json", "--html"), "bench.json")
    assert (kit.cwd / "bench.html").read_bytes() == before


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_the_packages_that_draw_it_says_how_to_get_them(kit, record, tmp_path, package):
    (tmp_path / f"{package}.py").write_text(BROKEN)
    env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{kit.environment()['PYTHONPATH']}"}
    assert refused(kit("report", "bench.json", "--html", env=env), package, "pip install matplotlib jinja2")
    assert files(kit.cwd) == ["bench.json"]
    assert kit("report", "bench.json", env=env).returncode == 0
    assert kit("report", "bench.json", "--markdown", env=env).returncode == 0


def test_standard_output_belongs_to_json_and_to_markdown(kit, record):
    done = kit("report", "bench.json", "--html", "--json")
    assert json.loads(done.stdout) == json.loads(record.read_text())
    assert done.stderr == "Report: bench.html\n"
    done = kit("report", "bench.json", "--html", "--markdown")
    assert done.stdout.startswith("### bench: Healthy")
    assert done.stderr == "Report: bench.html\n"
    assert refused(kit("report", "bench.json", "--json", "--markdown"), "--json", "--markdown")


def test_outputs_are_lines_for_the_next_step_of_a_job(kit, record):
    done = kit("report", "bench.json", "--outputs")
    assert done.stdout.splitlines() == ["verdict=healthy", "record=bench.json", "tflops=683.8"]
    document = json.loads(record.read_text())
    slower = [dict(row, gpu=1, value=row["value"] / 2) for row in document["measurements"]]
    document["measurements"] += slower
    record.write_text(json.dumps(document))
    assert kit("report", "bench.json", "--outputs").stdout.endswith("tflops=341.9\n")  # of the slowest GPU
    by_another = [dict(row, backend="nvcc-mma", value=row["value"] / 2) for row in document["measurements"]]
    record.write_text(json.dumps(document | {"measurements": document["measurements"] + by_another}))
    assert kit("report", "bench.json", "--outputs").stdout.endswith("tflops=341.9\n")  # by the first backend
    document["measurements"], document["complete"] = [], False
    record.write_text(json.dumps(document))
    assert kit("report", "bench.json", "--outputs").stdout == "verdict=problem\nrecord=bench.json\ntflops=\n"


def test_a_path_that_would_be_more_than_one_line_is_no_output(kit, record):
    record.rename(kit.cwd / "a\nverdict=healthy")
    assert refused(kit("report", "a\nverdict=healthy", "--outputs"), "line break")


def test_markdown_has_verdict_rates_and_findings(kit, record):
    lines = kit("report", "bench.json", "--markdown").stdout.splitlines()
    assert lines[0] == "### bench: Healthy."
    assert "**GPU 0: NVIDIA H100 80GB HBM3**" in lines
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 1 + 7
    assert all(line.count(" | ") == rows[0].count(" | ") for line in rows)
    assert any("777.4" in line and "683.8" in line and "69.1" in line for line in rows)
    assert "- GPU 0: NVIDIA H100 80GB HBM3: bf16 777.4 TFLOP/s burst, bf16 683.8 TFLOP/s settled" in lines


def test_markdown_tells_problems_first_and_what_to_type(kit):
    found = [
        finding("rates-measured", gpu=0, name="A | B", summary="<b>*1*</b>"),
        finding("clock-held-down", gpu=1, reasons="power brake")._replace(advice=("echo ```", "# a\n# b")),
    ]
    write(Record("bench", "2026-11-24T10:15:00Z", findings=found), kit.cwd)
    shown = kit("report", "bench-20261124T101500Z.json", "--markdown").stdout
    assert shown.startswith("### bench: 1 problem found: clock-held-down.\n")
    problem = "- **PROBLEM** GPU 1: The clock was held down during the run by: power brake. (`clock-held-down`)\n"
    assert f"{problem}\n  ````text\n  echo ```\n  # a # b\n  ````\n" in shown
    assert "- GPU 0: A \\| B: &lt;b&gt;\\*1\\*&lt;/b&gt;\n" in shown
    assert shown.index("PROBLEM") < shown.index("GPU 0")


def test_markdown_says_first_that_cuda_was_not_exercised(kit):
    found = [finding("clock-held-down", gpu=1, reasons="heat"), finding("cuda-not-exercised")]
    write(Record("smoke", "2026-11-24T10:15:00Z", findings=found), kit.cwd)
    shown = kit("report", "smoke-20261124T101500Z.json", "--markdown").stdout
    assert shown.index("CUDA was NOT exercised") < shown.index("PROBLEM")


def test_a_record_of_audit_is_shown_as_audit_shows_it(kit, workspace):
    done = kit("audit", "--json")
    (kit.cwd / "audit.json").write_text(done.stdout)
    assert kit("report", "audit.json", "--markdown").stdout == kit("audit", "--markdown").stdout
    assert kit("report", "audit.json", "--html").returncode == 0
    page = (kit.cwd / "audit.html").read_text(encoding="utf-8")
    assert "What the lock holds" in page
    assert "No GPU in this record." not in page  # nor a machine
    assert "linux-64-cuda13" in page


def test_a_record_of_compare_is_shown_as_compare_shows_it(kit, edited):
    for name in ("a.json", "b.json"):
        edited(name)
    done = kit("compare", "a.json", "b.json", "--json")
    (kit.cwd / "compare.json").write_text(done.stdout)
    shown = kit("report", "compare.json", "--markdown").stdout
    assert shown == kit("compare", "a.json", "b.json", "--markdown").stdout
    assert kit("report", "compare.json", "--html").returncode == 0
    assert "A and B" in (kit.cwd / "compare.html").read_text(encoding="utf-8")
