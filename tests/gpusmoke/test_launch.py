"""Loading and launching on a driver that notes what it is asked; on a GPU the starter package's own tests show it."""

import ctypes
from pathlib import Path

import pytest

from gpusmoke import launch

SOURCE = Path("kernel.cu")


class Driver:
    """Answers as libcuda does, with `codes` by call; notes the calls, and what a launch's arguments point to."""

    def __init__(self, **codes):
        self.codes, self.calls, self.arguments = codes, [], []

    def __getattr__(self, name):
        def answer(*arguments):
            self.calls.append(name)
            if name == "cuGetErrorName":
                arguments[1]._obj.value = b"CUDA_ERROR_NO_BINARY_FOR_GPU" if arguments[0] == 209 else None
            elif name == "cuGetErrorString":
                arguments[1]._obj.value = b"no kernel image is available" if arguments[0] == 209 else None
            elif name == "cuLibraryLoadData":
                arguments[0]._obj.value = 0xA
            elif name == "cuLibraryGetKernel":
                arguments[0]._obj.value = 0xB
                self.arguments.append((arguments[1].value, arguments[2]))
            elif name == "cuLaunchKernel":
                values = [ctypes.cast(arguments[9][i], ctypes.POINTER(ctypes.c_int))[0] for i in range(2)]
                self.arguments.append(([one if isinstance(one, int) else one.value for one in arguments[:9]], values))
            return self.codes.get(name, 0)

        return answer


@pytest.fixture
def driver(monkeypatch, tmp_path):
    """`driver(**codes)`: the stand-in, where all that is loaded is forgotten; every source is built already."""

    def make(**codes):
        one = Driver(**codes)
        (tmp_path / "kernel.cubin").write_bytes(b"\x7fELF")
        monkeypatch.setattr(launch, "driver", lambda: one)
        monkeypatch.setattr(launch, "cubin", lambda source, architecture: tmp_path / "kernel.cubin")
        launch.loaded.cache_clear()
        launch.kernel.cache_clear()
        return one

    yield make
    launch.loaded.cache_clear()
    launch.kernel.cache_clear()


def test_a_library_is_loaded_once_and_each_kernel_found_once(driver):
    one = driver()
    found = [launch.kernel(SOURCE, "sm_90", name) for name in ("add", "add", "multiply")]
    assert [kernel.value for kernel in found] == [0xB] * 3
    assert one.calls == ["cuLibraryLoadData", "cuLibraryGetKernel", "cuLibraryGetKernel"]
    assert one.arguments == [(0xA, b"add"), (0xA, b"multiply")]


def test_a_launch_hands_on_grid_block_stream_and_where_its_arguments_are(driver):
    one = driver()
    launch.launch(ctypes.c_void_p(0xB), (7, 6, 5), (32, 2, 1), 0xC, [ctypes.c_int(11), ctypes.c_int(12)], shared=99)
    assert one.arguments == [([0xB, 7, 6, 5, 32, 2, 1, 99, 0xC], [11, 12])]


def test_what_the_driver_refuses_is_told_with_its_name_number_and_text(driver):
    driver(cuLibraryLoadData=209)
    with pytest.raises(
        launch.LaunchError, match=r"^cuLibraryLoadData: CUDA_ERROR_NO_BINARY_FOR_GPU \(209\): no kernel"
    ):
        launch.kernel(SOURCE, "sm_90", "add")


def test_a_code_that_the_driver_itself_does_not_know_is_told_by_its_number(driver):
    driver(cuLaunchKernel=8123)
    with pytest.raises(launch.LaunchError, match=r"^cuLaunchKernel: unknown error \(8123\): no text$") as raised:
        launch.launch(ctypes.c_void_p(0xB), (1, 1, 1), (1, 1, 1), 0, [ctypes.c_int(1), ctypes.c_int(2)])
    assert raised.value.code == 8123
