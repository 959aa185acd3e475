"""The rules about fleets: products of one format, which take turns in the same seconds."""

from pathlib import Path

from runs_of_nodes import WHAT, gpu, healthy, only, run, told

from gpusmoke.fleet.runs import what
from gpusmoke.record import read

DATA = Path(__file__).parents[1] / "data"


def products(*rates, uuid=None):
    """A GPU with that rate in each product of one format; None of one that was not measured."""
    whats = (WHAT._replace(key=f"bf16 {at}", name=f"bf16 {at}", turns="bf16") for at in range(len(rates)))
    made = [gpu(rate=rate, what=what).rates[0] for rate, what in zip(rates, whats, strict=True) if rate is not None]
    return gpu(uuid=uuid)._replace(rates=tuple(made))


def test_one_product_among_others_that_took_turns_with_it_accuses_nobody():
    """As on four H100s that were well, of which one had a clock that was 5.5 % lower in one of two products."""
    others = healthy(5, products(100.0, 100.0))
    assert told([*others, run("a", products(94.3, 99.0))]) == []
    assert told([*others, run("a", products(94.3, 95.5))]) == [("slower-than-fleet", ("a",))]
    assert told([*healthy(5, products(100.0, 100.0, 100.0)), run("a", products(60.0, 130.0, 130.0))]) == []
    # Another format, and copies, have seconds of their own.
    both = gpu(rate=90.0)._replace(rates=(*gpu(rate=90.0).rates, *products(100.0, 130.0).rates))
    alone = gpu()._replace(rates=(*gpu().rates, *products(100.0, 100.0).rates))
    assert told([*healthy(5, alone), run("a", both)]) == [("slower-than-fleet", ("a",))]


def test_what_another_run_measured_while_the_gpu_was_well_hides_nothing():
    """bench has five products of bf16, and smoke two of them."""
    bench = run("a", products(*[100.0] * 5, uuid="GPU-a"), command="bench", started="2026-11-20T10:00:00Z")
    smoke = run("a", products(92.0, 92.0, uuid="GPU-a"))
    line = only([*healthy(5, products(*[100.0] * 5)), bench, smoke], "slower-than-fleet")
    assert len(line.finding.evidence) == 2
    # Nor does it accuse: what is left of that older run is judged with all that it measured.
    three, older = healthy(5, products(100.0, 100.0, 100.0)), products(100.0, 100.0, 92.0, uuid="GPU-a")
    smoke = run("a", products(94.6, 94.6, uuid="GPU-a"))
    line = only([*three, bench._replace(gpus=(older,)), smoke], "slower-than-fleet")
    assert [text.split(":")[1] for text in line.finding.evidence] == [" bf16 0", " bf16 1"]


def test_products_of_one_format_and_regime_took_turns_whatever_multiplied():
    rows = [row for row in read(DATA / "h100-bench.json").measurements if row["quantity"] == "matmul"]
    first = next(row for row in rows if row["dtype"] == "bf16" and row["regime"] == "settled")
    with_it = [row for row in rows if what(row).is_with(what(first))]
    assert with_it == [row for row in rows if (row["dtype"], row["regime"]) == ("bf16", "settled")]
    assert len(with_it) > 1
    assert what(first | {"backend": "nvcc-hopper"}).is_with(what(first))
