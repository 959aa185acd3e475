"""compare through the real command line, on a real H100's record and edited copies of it."""

import copy
import json
import re
from pathlib import Path

import pytest
from edits import compared, fact, scaled, sentence, with_changes

from gpusmoke.commands.compare import percent
from gpusmoke.record import read

DATA = Path(__file__).parents[1] / "data"


def products(record):
    return [row for row in record["measurements"] if row["regime"] == "settled" and row["quantity"] == "matmul"]


def test_a_record_beside_itself_has_not_changed(kit, valid, edited):
    record, code = compared(kit, valid, edited("a.json"), "a.json")
    assert code == 0
    assert [(one["severity"], one["id"]) for one in record["findings"]] == [("ok", "no-change")]
    count = len(products(json.loads((kit.cwd / "a.json").read_text())))
    title = record["findings"][0]["title"]
    assert title.startswith(f"all {count} settled products: no change: +0.0 % (tolerance 1.5 %, spread of the rounds ")
    assert {row["verdict"] for row in record["facts"]["compare.rows"]["value"]} == {"no-change"}


@pytest.mark.parametrize(("newer", "count"), [("again", 11), ("quick", 2)])
def test_real_runs_one_after_the_other_have_not_changed(kit, valid, newer, count):
    record, code = compared(kit, valid, str(DATA / "h100-bench.json"), str(DATA / f"h100-bench-{newer}.json"))
    (found,) = record["findings"]
    assert (code, found["id"]) == (0, "no-change")
    assert found["title"].startswith(f"all {count} settled products: no change: ")


def test_slower_by_ten_per_cent_is_a_problem_and_the_other_way_round_a_note(kit, valid, edited):
    old, new = edited("old.json"), edited("new.json", scaled(0.9))
    record, code = compared(kit, valid, old, new)
    (found,) = record["findings"]
    assert (code, found["id"], found["severity"]) == (1, "slower", "problem")
    assert "10.0 % slower than before (tolerance 1.5 %" in found["title"]
    assert "bf16 8192x8192x8192 NT settled: 682.1 to 613.9 TFLOP/s (-10.0 %), SM clock 1365 to 1365 MHz" in "".join(
        found["evidence"]
    )
    record, code = compared(kit, valid, new, old)
    (found,) = record["findings"]
    assert (code, found["id"], found["severity"]) == (0, "faster", "note")
    assert "11.1 % faster than before" in found["title"]


def test_the_files_are_named_with_their_machines(kit, valid, edited):
    record, _ = compared(kit, valid, edited("old.json"), edited("new.json", fact("torch.version", "2.11.1+cu130")))
    assert record["command"] == "compare"
    a, b = (record["facts"][f"compare.{name}"]["value"] for name in "ab")
    assert a == {
        "path": "old.json",
        "command": "bench",
        "started": "2026-11-26T09:06:24Z",
        "gpu": "NVIDIA H100 80GB HBM3",
        "driver": "580.159.04",
        "torch": "2.11.0+cu130",
    }
    assert (b["path"], b["torch"]) == ("new.json", "2.11.1+cu130")


def test_the_tolerance_is_the_users_to_choose(kit, valid, edited):
    old, new = edited("old.json"), edited("new.json", scaled(0.9))
    assert compared(kit, valid, old, new, "--tolerance", "12")[1] == 0
    for text in ("0", "50", "-1", "much"):
        assert "--tolerance" in sentence(kit("compare", old, new, "--tolerance", text))
    assert (percent("0.5"), percent("49.5")) == (0.5, 49.5)


def test_rounds_that_vary_more_than_the_change_are_no_proof(kit, valid, edited):
    def unsteady(document):
        for row in products(document):
            row["samples"] = [row["value"] * (0.9 if i % 4 < 2 else 1.0) for i in range(len(row["samples"]))]

    record, code = compared(kit, valid, edited("old.json", unsteady), edited("new.json", scaled(0.97)))
    assert code == 0
    assert {one["id"] for one in record["findings"]} <= {"within-spread", "no-change"}


def test_one_format_that_got_slower_is_not_lost_among_the_others(kit, valid, edited):
    old = edited("old.json")
    new = edited("new.json", scaled(0.9, lambda row: (row["dtype"], row["regime"]) == ("fp8", "settled")))
    record, code = compared(kit, valid, old, new, "--tolerance", "1.6")
    assert code == 1
    titles = {one["id"]: one["title"] for one in record["findings"]}
    assert titles["slower"].startswith("fp8 8192x8192x8192 NT settled: 10.0 % slower")
    assert "no change" in titles["no-change"]


def test_bursts_are_judged_by_their_own_tolerance(kit, valid, edited):
    old = edited("old.json")
    bursts = [scaled(share, lambda row: row["regime"] == "burst") for share in (0.96, 0.9)]
    assert compared(kit, valid, old, edited("less.json", bursts[0]))[1] == 0
    record, code = compared(kit, valid, old, edited("new.json", bursts[1]))
    assert code == 1
    assert re.search(
        r"burst \(and \d+ more\): 10.0 % slower than before \(tolerance 5 %", record["findings"][1]["title"]
    )


def test_copies_are_judged_too(kit, valid, edited):
    half = scaled(0.5, lambda row: row["quantity"] == "memory-copy")
    record, code = compared(kit, valid, edited("old.json"), edited("new.json", half))
    assert code == 1
    assert record["findings"][1]["title"].startswith("memory-copy 2.1 GB: 50.0 % slower")


def test_another_card_of_the_same_model_is_told(kit, valid, edited):
    def another(document):
        document["facts"]["cuda.devices"]["value"][0]["uuid"] = "GPU-another"

    record, code = compared(kit, valid, edited("old.json"), edited("new.json", another))
    assert code == 0
    assert [one["id"] for one in record["findings"]] == ["another-card", "no-change"]


def second_gpu(document, swap=False):
    """The record of a machine with two GPUs, the second at half the rate; or with their numbers exchanged."""
    devices = document["facts"]["cuda.devices"]["value"]
    devices.append(devices[0] | {"uuid": "GPU-second", "ordinal": 1})
    document["facts"]["bench.1"] = copy.deepcopy(document["facts"]["bench.0"])
    slow = copy.deepcopy(document["measurements"])
    for row in slow:
        row |= {"gpu": 1, "value": row["value"] / 2, "samples": [rate / 2 for rate in row["samples"]]}
    document["measurements"] += slow
    if swap:
        for row in [*devices, *document["measurements"]]:
            name = "ordinal" if "ordinal" in row else "gpu"
            row[name] = 1 - row[name]


def test_gpus_are_matched_by_uuid_whatever_their_numbers(kit, valid, edited):
    old = edited("old.json", second_gpu)
    record, code = compared(kit, valid, old, edited("new.json", lambda document: second_gpu(document, swap=True)))
    assert code == 0
    assert [(one["gpu"], one["id"]) for one in record["findings"]] == [(0, "no-change"), (1, "no-change")]
    text = kit("compare", old, "new.json").stdout
    assert "\nGPU 0\n" in text
    assert "\nGPU 1\n" in text


def test_a_gpu_without_counterpart_is_told(kit, valid, edited):
    record, code = compared(kit, valid, edited("old.json", second_gpu), edited("new.json"))
    assert code == 0
    assert [one["id"] for one in record["findings"]] == ["gpu-not-compared", "no-change"]
    assert record["findings"][0]["title"].startswith("GPU 1 of the older record has no counterpart")


def test_the_text_fits_a_terminal_of_80_columns(kit, edited):
    def wide(document):
        for row in document["measurements"]:
            row["shape"] = [12288, 18432, 16384] if row["shape"] == [1024, 8448, 16384] else row["shape"]

    old = edited("old.json", wide)
    new = edited("new.json", with_changes(wide, scaled(0.9)))
    done = kit("compare", old, new)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    long = [line for line in lines if len(line) > 80]
    assert [line for line in long if "try: " not in line and "see: " not in line] == []  # those are to be copied
    assert lines[0] == "A: 2026-11-26T09:06:24Z, NVIDIA H100 80GB HBM3, driver 580.159.04, torch"
    assert lines[1] == "2.11.0+cu130, old.json"
    assert any(
        re.fullmatch(r"bf16 8192x8192x8192 NT settled +682.1 +613.9 +-10.0 % +[\d.]+ % +SLOWER", x) for x in lines
    )
    assert any(re.fullmatch(r"all 5 settled bf16 products +-10.0 % +[\d.]+ % +SLOWER", x) for x in lines)
    assert any(re.fullmatch(r"all 11 settled products +-10.0 % +[\d.]+ % +SLOWER", x) for x in lines)
    assert lines[-1] == "1 problem found: slower."


def test_markdown_has_the_table_and_what_was_found(kit, edited):
    old, new = edited("old.json"), edited("new.json", scaled(0.9))
    done = kit("compare", old, new, "--markdown")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "### compare: 1 problem found: slower."
    (row,) = [line for line in lines if line.startswith("| bf16 8192x8192x8192 NT settled |")]
    assert row.count("|") == 8
    assert "- **PROBLEM** GPU 0: all " in done.stdout
    assert "json" in sentence(kit("compare", old, new, "--markdown", "--json"))


def test_a_comparison_that_was_stored_is_shown_again(kit, edited):
    done = kit("compare", edited("old.json"), edited("new.json", scaled(0.9)), "--json")
    (kit.cwd / "compared.json").write_text(done.stdout)
    again = kit("report", "compared.json")
    assert again.returncode == 0
    assert "bf16 8192x8192x8192 NT settled   682.1" in again.stdout
    assert read(kit.cwd / "compared.json").to_json() == json.loads(done.stdout)


def test_a_slower_gpu_is_an_annotation_in_ci(kit, edited):
    done = kit("compare", edited("a.json"), edited("b.json", scaled(0.9)), env={"GITHUB_ACTIONS": "true"})
    assert done.stderr.startswith("::error title=compare%3A slower::GPU 0: all ")


def test_cpu_records_are_compared_without_a_gpu(kit, valid, edited):
    def on_cpu(document):
        document["facts"]["bench.0"]["value"] |= {"device": "cpu", "name": "CPU", "threads": 4}
        for row in document["measurements"]:
            row |= {"gpu": None, "device": "CPU", "backend": "cpu", "telemetry": {"reason": "not a GPU"}}

    record, code = compared(kit, valid, edited("a.json", on_cpu), edited("b.json", with_changes(on_cpu, scaled(0.9))))
    assert code == 1
    assert record["findings"][0]["gpu"] is None
    assert record["findings"][0]["title"].endswith("which might explain it, were not sampled in both.")
    # Bursts of a CPU are no measure of it.
    assert not any("burst" in row["name"] for row in record["facts"]["compare.rows"]["value"])
    more = fact("bench.0", {"device": "cpu", "name": "CPU", "threads": 8})
    said = sentence(kit("compare", "a.json", edited("c.json", with_changes(on_cpu, more))))
    assert "the number of CPU threads differs: 4 and 8" in said
