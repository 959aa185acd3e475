"""`bench --search` on the CPU."""

import json

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="meant for a machine without a GPU")


def test_a_search_names_the_fastest_of_what_it_measured(kit, tmp_path, valid):
    done = kit(
        "bench",
        "--search",
        "--dtype",
        "fp32",
        "--seconds",
        "1",
        "--json",
        env={"GPUSMOKE_ROOT": str(tmp_path / "bare")},
        timeout=120,
    )
    record = json.loads(done.stdout)
    valid(record)
    assert done.returncode == 0
    best = record["facts"]["bench.0.search"]["value"]
    rows = {tuple(row["shape"]): row for row in record["measurements"]}
    assert rows[tuple(best["shape"])]["value"] == best["value"]
    assert best["value"] >= 0.99 * max(row["value"] for row in rows.values())
    assert {row["regime"] for row in rows.values()} == {"settled"}
    size = "x".join(map(str, best["shape"]))
    assert [one["title"] for one in record["findings"] if one["id"] == "fastest-shape"] == [
        f"The fastest shape that was found is {size} NT: {best['value']} TFLOP/s settled."
    ]
