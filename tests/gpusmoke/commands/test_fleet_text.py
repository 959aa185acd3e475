"""How what fleet found reads: on a terminal, as Markdown, and stored and shown again."""

import functools
import json
import re

import pytest
from fleet_command import judged, one_gpu_each
from fleets import Fleet, on_the_cpu, one_gpu_less, problem, setting

from gpusmoke.presentation.fleet import broken


@pytest.fixture
def small(kit):
    """`small(count, {place: change})`: records of nodes with one GPU each, in results/ where `kit` runs."""
    return functools.partial(one_gpu_each, kit)


def test_a_healthy_fleet_is_healthy(kit, small):
    small(5)
    done = kit("fleet", "results", "--expect", "node[00001-00005]")
    assert (done.returncode, done.stderr) == (0, "")
    assert "healthy      5 of 5 nodes are healthy; GPUs in all: 5 NVIDIA A10." in done.stdout
    assert done.stdout.endswith("Healthy.\n")


def test_the_table_is_readable_with_very_many_faults(kit, small):
    texts = {at: problem("wrong-result", 0, f"The product is wrong by {at}.") for at in range(60)}
    small(62, texts)
    text = kit("fleet", "results").stdout
    assert text.count("BROKEN  ") == 50
    assert "… and 10 more lines about 10 nodes: 10 BROKEN (--all shows them)" in text
    assert "node00061" not in text
    everything = kit("fleet", "results", "--all").stdout
    assert everything.count("BROKEN  ") == 60
    assert "healthy      node00061: 1 NVIDIA A10" in everything


def test_the_same_of_many_nodes_is_one_line(kit, small):
    small(60, dict.fromkeys(range(0, 60, 2), problem("wrong-result", 0, "The product is wrong.")))
    done = kit("fleet", "results")
    assert done.stdout.count("BROKEN") == 1
    assert "(30 nodes)" in json.loads(kit("fleet", "results", "--json").stdout)["findings"][0]["title"]
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if "try:" not in line and "see:" not in line)


def test_the_text_fits_a_terminal_of_80_columns_and_tells_once_what_to_type(kit):
    Fleet(64).write(kit.cwd / "results")
    done = kit("fleet", "results", "--expect", "node[00001-00064]")
    lines = done.stdout.splitlines()
    assert [line for line in lines if len(line) > 80 and "try:" not in line and "see:" not in line] == []
    assert lines.count("slower-than-fleet:") == 1
    assert lines[-2].startswith("21 problems found: node-broken, node-missing, ")


def test_names_in_several_lines_are_whole_where_they_can_be():
    names = ",".join(f"rack{letter}-node" for letter in "abcdefghijkl")
    lines = broken(names, 30)
    assert "".join(lines) == names
    assert all(len(line) <= 30 and line.endswith(",") for line in lines[:-1])
    assert broken("n" * 70, 30) == ["n" * 30, "n" * 30, "n" * 10]


def test_one_is_told_as_one(kit, small):
    small(2, {0: on_the_cpu})
    text = re.sub(r"\s+", " ", kit("fleet", "results").stdout)
    assert "as it was on 1 other node. " in text
    assert " 1 of 2 nodes is healthy; " in text
    assert " 2 nodes with a record, 1 GPU gpusmoke " in text


def test_names_that_are_too_long_for_a_table_of_80_columns_have_lines_of_their_own(kit, small):
    def by_a_kernel(document):
        for row in document["measurements"]:
            row["backend"] = "nvcc-hopper"

    small(3, dict.fromkeys(range(3), by_a_kernel))
    lines = kit("fleet", "results").stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    at = lines.index("bf16 8192x8192x8192 NT settled nvcc-hopper")
    assert lines[at + 1].split()[0] == "3"
    assert lines[at + 1].index("TFLOP/s") == lines[at - 2].index("unit")


def test_what_a_record_says_is_text_on_the_terminal(kit, small):
    wicked = {
        0: setting("request.node", "\x1b[31mred\x1b[0m"),
        1: setting("request.node", "n\nhealthy      all"),
        2: setting("request.node", "\ud800\x9b2J"),
        3: problem("wrong-result", 0, "It is \x1b]0;title\x07 wrong."),
        4: setting("nvml.driver_version", "\x1b[2J\u202e5"),
    }
    small(5, wicked)
    shown = kit("fleet", "results", "--all").stdout
    assert set(re.findall("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", shown)) == {"\n"}
    assert "healthy      \ufffd[31mred\ufffd[0m: 1 NVIDIA A10" in shown
    assert "healthy      n\ufffdhealthy      all: 1 NVIDIA A10" in shown
    assert kit("fleet", "results", "--html", "fleet.html").returncode == 1
    markdown = kit("fleet", "results", "--markdown").stdout
    assert "\x1b" not in markdown
    (kit.cwd / "results/fleet.json").write_text(kit("fleet", "results", "--json").stdout)
    assert "\x1b" not in kit("report", "results/node00004.json").stdout + kit("report", "results/fleet.json").stdout


def test_markdown_has_the_table_and_the_rates(kit, small):
    small(4, {0: problem("wrong-result", 0, "The product | is `wrong`.")})
    text = kit("fleet", "results", "--markdown").stdout
    assert text.startswith("### fleet: 1 problem found: node-broken.\n\n| | nodes | what |\n|---|---|---|\n")
    assert "| BROKEN | node00001 GPU 0 | wrong-result: The product \\| is \\`wrong\\`. |" in text
    assert "**NVIDIA A10**" in text
    assert re.search(r"^\| bf16 8192x8192x8192 NT settled \| 4 \| ", text, re.MULTILINE)


def test_what_is_not_compared_is_not_called_the_same(kit, small):
    def newer(document):
        for row in document["measurements"]:
            row["method"] = 2

    def smaller(document):
        document["facts"]["cuda.devices"]["value"][0]["multiprocessors"] = 60

    small(9, dict.fromkeys(range(3), newer) | dict.fromkeys(range(6, 9), smaller))
    record, _ = judged(kit, "results")
    rows = [row["what"] for row in record["facts"]["fleet.rates"]["value"] if row["what"].startswith("bf16 8192")]
    settled = "bf16 8192x8192x8192 NT settled, "
    marks = {"72 multiprocessors, method 1", "72 multiprocessors, method 2", "60 multiprocessors, method 1"}
    assert {row.removeprefix(settled) for row in rows if "settled" in row} == marks
    small(6, dict.fromkeys(range(3), newer), "others")
    assert f"{settled}method 2" in kit("fleet", "others").stdout
    small(6, {}, "same")
    assert "method" not in kit("fleet", "same").stdout


def test_a_stored_fleet_is_shown_again_as_it_was(kit, small):
    small(4, {0: one_gpu_less})
    done = kit("fleet", "results", "--json")
    (kit.cwd / "fleet.json").write_text(done.stdout)
    again, first = kit("report", "fleet.json").stdout, kit("fleet", "results").stdout
    assert re.sub(r"(?m)^gpusmoke .*", "", again) == re.sub(r"(?m)^gpusmoke .*", "", first)
    assert kit("report", "fleet.json", "--markdown").stdout.startswith("### fleet: ")
