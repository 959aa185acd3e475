"""`kernels`: what it says of a real H100's run, and of runs that went otherwise."""

import copy
import json
import math
from pathlib import Path

import pytest

from gpusmoke.cli import main
from gpusmoke.facts import Fact, Facts
from gpusmoke.findings.kernels import beside_cublas, failures, judge
from gpusmoke.nvcc import NvccError

RECORD = Path(__file__).parents[1] / "kernels/h100-kernels.json"


@pytest.fixture(scope="module")
def record():
    return json.loads(RECORD.read_text())


def facts_of(record, **changes):
    facts = {name: Fact(one["value"], one["source"], one.get("reason")) for name, one in record["facts"].items()}
    row = facts["bench.0.kernels"].value | changes
    return Facts(facts | {"bench.0.kernels": Fact(row, "nvcc")})


def judged(record, **changes):
    return {one.id: one for one in judge(facts_of(record, **changes), record["measurements"])}


def test_the_record_of_a_real_run_is_valid_and_healthy(record, valid):
    valid(record)
    assert record["verdict"] == "healthy"
    found = judged(record)
    assert {one.severity for one in found.values()} <= {"ok", "note"}
    assert "matmul_hopper (sm_90a), matmul_mma (sm_90), matmul_simt (sm_90)" in found["kernels-built"].title
    assert found["kernels-right"].title.startswith("All 300 random products are right")


def test_each_kernel_stands_beside_cublas_and_says_what_part_of_it_it_is(capsys):
    assert main(["report", str(RECORD)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    titles = next(line for line in lines if line[:2] == ["dtype", "MxNxK"])
    assert titles == ["dtype", "MxNxK", "by", "burst", "settled", "±%", "%clock", "right"]
    rows = [line for line in lines if line[1:2] == ["8192x8192x8192"]]
    assert [(line[0], line[2]) for line in rows] == [
        ("bf16", "cublas"),
        ("bf16", "nvcc-hopper"),
        ("bf16", "nvcc-mma"),
        ("fp16", "cublas"),
        ("fp16", "nvcc-hopper"),
        ("fp16", "nvcc-mma"),
        ("fp32", "cublas"),
        ("fp32", "nvcc-simt"),
    ]
    assert rows[0][3:5] == ["773", "677.1"]
    assert rows[1][3:7] == ["791.8", "(1.02x)", "684.5", "(1.01x)"]


def test_shares_are_geometric_means_over_the_same_products(record):
    rows = copy.deepcopy(record["measurements"])
    for row in rows:  # twice as fast in one of the two products, half as fast in the other
        if row["backend"] == "nvcc-hopper" and row["dtype"] == "bf16":
            usual = next(
                other["value"]
                for other in rows
                if other["backend"] == "cublas"
                and [other[key] for key in ("dtype", "shape", "regime")]
                == [row[key] for key in ("dtype", "shape", "regime")]
            )
            factor = {("burst", 8192): 2, ("burst", 4096): 0.5, ("settled", 8192): 2, ("settled", 4096): 1}
            row["value"] = usual * factor[row["regime"], row["shape"][0]]
    titles = [one.title for one in beside_cublas(rows) if one.id == "beside-cublas"]
    told = f"nvcc-hopper in bf16: 1.00 x burst, {math.sqrt(2):.2f} x settled of cuBLAS's rate"
    assert f"{told}, geometric mean of 2 products." in titles
    alone = [row for row in rows if row["backend"] != "cublas"]
    assert list(beside_cublas(alone)) == []


def test_a_wrong_product_is_told_with_its_shape(record):
    wrong = {"family": "mma", "dtype": "fp16", "shape": [65, 1, 17], "layout": "TN", "passed": False}
    found = judged(record, wrong=[wrong | {"error": 3.5, "bound": 0.5, "repeats_equal": True, "method": "elementwise"}])
    assert found["wrong-result"].title.startswith("matmul_mma of fp16 65x1x17 TN came out wrong: largest error 3.5")
    assert "kernels-right" not in found


def test_a_kernel_that_can_not_be_built_is_told_with_nvccs_own_cure(record):
    error = NvccError("host-compiler-missing", ["looked for g++"], nvcc="/opt/nvcc")
    found = judged(record, **error.told(), built=[])
    assert found["host-compiler-missing"].gpu == 0
    assert "sudo apt install g++" in found["host-compiler-missing"].advice
    assert "kernels-built" not in found


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dtype", "fp8"], "argument --dtype: unknown number format 'fp8'; choose from bf16, fp16, fp32"),
        (["--shape", "0"], "argument --shape: '0' is not a size"),
        (["--seconds", "-1"], "argument --seconds: "),
    ],
)
def test_bad_input_is_one_sentence(options, sentence, capsys):
    assert main(["kernels", *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"gpusmoke: {sentence}")
    assert len(said.splitlines()) == 1


def test_of_an_interrupted_run_what_was_wrong_is_told_and_no_more(record):
    case = {"family": "mma", "dtype": "bf16", "shape": [1, 2, 3], "layout": "NT", "passed": False}
    assert failures(facts_of(record), record["measurements"]) == []
    rows = copy.deepcopy(record["measurements"])
    rows[0]["verified"]["passed"] = False
    found = failures(facts_of(record, wrong=[case]), rows)
    assert [one.id for one in found] == ["wrong-result", "wrong-result"]
    assert "matmul_mma of bf16 1x2x3 NT" in found[0].title
