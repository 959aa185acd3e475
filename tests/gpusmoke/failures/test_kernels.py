"""Where the kernels have nothing to run on."""

import pytest

pytestmark = pytest.mark.skipif("__import__('os').path.exists('/dev/nvidiactl')", reason="there is a GPU here")

STAND_IN = "driver"
NAMED = ["kernels-need-gpu"]


def test_without_a_gpu_there_is_nothing_to_show_and_that_is_a_failure(kit, tmp_path):
    done = kit("kernels", "--seconds", "1", env={"GPUSMOKE_ROOT": str(tmp_path / "bare")}, timeout=120)
    assert done.returncode == 1
    assert done.stdout.startswith("PROBLEM  PyTorch uses no GPU here, and the kernels have nothing to run on.")
    assert "1 problem found: kernels-need-gpu." in done.stdout
