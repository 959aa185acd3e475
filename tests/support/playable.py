"""Where a test can play a GPU to the kit's children: on Linux, and where PyTorch sees none of its own."""

import pytest

STAND_IN_GPU = [
    pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux"),
    pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine's GPUs would be taken for it"),
]
