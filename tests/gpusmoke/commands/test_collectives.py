"""`collectives` with four gloo ranks under torchrun: the table, the record, its pages; and bad input."""

import json
import subprocess
import sys

import pytest
from processes import alive, wait_until

from gpusmoke.cli import main
from gpusmoke.commands import collectives
from gpusmoke.facts import Fact
from gpusmoke.measuring.collectives import OPERATIONS, bus_factor

pytest.importorskip("torch")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="meant for a machine without a GPU"),
]

RANKS = 4
SIZES = [1024, 16384, 262144]


def lines_below(text, title):
    """The cells of the lines of one operation's table."""
    lines = text.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith(title))
    return [line.split() for line in lines[first + 2 : first + 2 + len(SIZES)]]


def test_four_ranks_exchange_data_and_the_record_shows_it_in_every_form(kit, valid):
    """One test for all: importing PyTorch four times is most of it."""
    asked = ("--backend", "gloo", "--ranks", str(RANKS), "-b", "1K", "-e", "256K", "-f", "16", "-n", "3")
    done = kit("collectives", *asked, env={"GPUSMOKE_ROOT": str(kit.cwd / "bare")}, timeout=200)
    (path,) = (kit.cwd / "results").iterdir()
    record = json.loads(path.read_text())
    valid(record)
    every_operation_has_its_table_and_progress_while_it_goes(done, record)
    the_record_holds_what_nccl_tests_define(record)
    it_is_shown_again_as_the_same_table_as_markdown_and_as_a_page(done, record, path, kit)
    it_is_not_compared_with_others(path, kit)


def every_operation_has_its_table_and_progress_while_it_goes(done, record):
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0].endswith("Ran on the CPU; CUDA was NOT exercised.")
    assert "4 ranks exchanged data, 12 messages up to 256 KiB: every element right on every rank." in " ".join(
        done.stdout.split()
    )
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("Record: "))
    for operation in OPERATIONS:
        cells = lines_below(done.stdout, f"{operation}, fp32, gloo: 4 ranks on 1 node, CPU")
        part = 1 if operation in ("all-reduce", "broadcast") else RANKS
        assert [" ".join(line[:2]) for line in cells] == ["1 KiB", "16 KiB", "256 KiB"]
        assert [int(line[2]) for line in cells] == [size // 4 // part for size in SIZES]
        assert {line[-1] for line in cells} == {"yes"}
        for size in ("1 KiB", "16 KiB", "256 KiB"):
            assert f"{operation} of {size}: " in done.stderr
    # Nothing else comes through: neither the ranks' words nor torchrun's.
    assert all(" s  " in line for line in done.stderr.splitlines())
    assert len(done.stderr.splitlines()) == len(record["measurements"])


def the_record_holds_what_nccl_tests_define(record):
    assert [row["quantity"] for row in record["measurements"]] == [one for one in OPERATIONS for _ in SIZES]
    for row in record["measurements"]:
        (size,) = row["shape"]
        assert (row["ranks"], row["nodes"], row["backend"], row["gpu"]) == (4, 1, "gloo", None)
        assert row["value"] == pytest.approx(size / (row["time_us"] * 1e-6) / 1e9, rel=1e-3)
        assert row["bus_gb_s"] == pytest.approx(row["value"] * bus_factor(row["quantity"], 4), rel=1e-3)
        assert len(row["samples"]) == 5
        assert min(row["samples"]) <= row["value"] <= max(row["samples"])
        assert row["verified"]["passed"] is True
    rows = record["facts"]["collectives.roll"]["value"]
    assert [(row["rank"], row["local_rank"], row["node"], row["device"]) for row in rows] == [
        (rank, rank, 0, "cpu") for rank in range(4)
    ]
    assert len({row["torch"] for row in rows}) == 1
    assert [one["severity"] for one in record["findings"]] == ["note", "ok"]


def it_is_shown_again_as_the_same_table_as_markdown_and_as_a_page(done, record, path, kit):
    again = kit("report", str(path)).stdout
    first = next(row for row in record["measurements"] if row["quantity"] == "all-reduce")
    for operation in OPERATIONS:
        assert lines_below(again, operation) == lines_below(done.stdout, operation)
    page = kit("report", str(path), "--markdown").stdout
    assert page.count("| size | count | time us | algbw GB/s | busbw GB/s | right |") == 4
    assert f"| 1 KiB | 256 | {first['time_us']:.4g} |" in page or first["time_us"] >= 1000
    assert page.count("nccl-tests") == 1
    assert kit("report", str(path), "--html", "page.html", timeout=120).returncode == 0
    html = (kit.cwd / "page.html").read_text()
    assert "broadcast, fp32, gloo: 4 ranks on 1 node, CPU" in html
    assert html.count("256 KiB") >= 4


def it_is_not_compared_with_others(path, kit):
    done = kit("compare", str(path), str(path))
    assert done.returncode == 2
    assert "record of collectives" in done.stderr


@pytest.mark.parametrize(
    ("args", "culprit"),
    [
        (["--op", "all-to-none"], "'all-to-none'"),
        (["--min", "1T"], "'1T'"),
        (["--min", "2K", "--max", "1K"], "--min 2 KiB"),
        (["--factor", "1"], "'1'"),
        (["--dtype", "fp8"], "'fp8'"),
        (["--iters", "0"], "'0'"),
        (["--warmup", "-1"], "'-1'"),
        (["--ranks", "65"], "'65'"),
        (["--timeout", "0"], "--timeout"),
        (["--backend", "mpi"], "'mpi'"),
        (["--backend", "gloo"], "--ranks 4"),
        (["--json", "--markdown"], "--markdown"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_culprit(kit, args, culprit):
    done = kit("collectives", *args, env={"GPUSMOKE_ROOT": str(kit.cwd / "bare")})
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert culprit in line


RANK = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "300", "LOCAL_RANK": "1", "GROUP_RANK": "0"}


@pytest.mark.parametrize(
    ("args", "culprit"), [(["--ranks", "2"], "--ranks"), (["--dtype", "bf16"], "sums of 300 ranks")]
)
def test_what_a_rank_can_not_be_asked_for_is_refused_before_it_starts(kit, args, culprit):
    done = kit("collectives", *args, env=RANK)
    assert done.returncode == 2
    assert culprit in done.stderr


def test_a_rank_ends_when_its_torchrun_was_killed(kit, tmp_path):
    """A rank whose work waits in the import of PyTorch, started by a process that then goes."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}} ')\n"
        "time.sleep(600)"
    )
    env = kit.environment(RANK | {"WORLD_SIZE": "2"})
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    launcher = (
        "import pathlib, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-m', 'gpusmoke', 'collectives', '--backend', 'gloo'])\n"
        f"while not pathlib.Path({str(tmp_path / 'pid')!r}).exists(): time.sleep(0.05)"
    )
    subprocess.run([sys.executable, "-c", launcher], env=env, cwd=kit.cwd, timeout=60, check=True)
    wait_until(lambda: (tmp_path / "pid").read_text().endswith(" "))
    pids = [int(pid) for pid in (tmp_path / "pid").read_text().split()]
    wait_until(lambda: not alive(pids))


def test_what_came_out_wrong_before_an_interruption_is_told(monkeypatch, capsys, tmp_path):
    row = {"rank": 1, "operation": "all-reduce", "size": 1024, "index": 5, "found": 1.0, "expected": 2.0}

    def interrupted(session, *_):
        session.facts = session.facts.with_facts({"collectives.wrong": Fact([row], "PyTorch")})
        raise KeyboardInterrupt

    monkeypatch.setattr(collectives, "start_torchrun", interrupted)
    assert main(["collectives", "--backend", "gloo", "--ranks", "2", "--json", "--results", str(tmp_path)]) == 130
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [one["id"] for one in found] == ["collective-wrong", "interrupted"]
