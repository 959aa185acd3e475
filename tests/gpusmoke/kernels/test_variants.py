"""What benchmarks take away from the kernels, or plant in them, still has its place there."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from gpusmoke.kernels.matmul import HERE

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def benchmarks():
    """The modules ladder, sanitize and variants."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        import ladder
        import sanitize
        import variants

        yield ladder, sanitize, variants


def changed(folder):
    """The files of a variant that are not those of the kit."""
    return {path.name for path in folder.iterdir() if path.read_bytes() != (HERE / path.name).read_bytes()}


def test_every_rung_of_the_ladder_is_the_kernel_with_something_else(benchmarks, tmp_path):
    ladder, _, variants = benchmarks
    for number, rung in enumerate(ladder.RUNGS):
        folder = variants.variant(tmp_path / str(number), rung.edits)
        assert changed(folder) == {name for name, *_ in rung.edits}, rung.name


def test_every_fault_is_planted_in_its_kernel(benchmarks, tmp_path):
    _, sanitize, variants = benchmarks
    for number, (_, family, old, new) in enumerate(sanitize.FAULTS):
        name = f"matmul_{family}.cu"
        assert changed(variants.variant(tmp_path / str(number), [(name, old, new)])) == {name}


def test_what_is_not_there_any_more_is_told(benchmarks, tmp_path):
    _, _, variants = benchmarks
    with pytest.raises(ValueError, match=r"matmul_mma\.cu does not hold 'no such line'"):
        variants.variant(tmp_path / "copy", [("matmul_mma.cu", "no such line", "")])
