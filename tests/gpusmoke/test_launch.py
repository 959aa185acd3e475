"""Loading and launching on a driver that notes what it is asked; on a GPU the starter package's own tests show it."""

import ctypes
from pathlib import Path

import pytest

from gpusmoke import launch

SOURCE = Path("kernel.cu")
INT = ctypes.POINTER(ctypes.c_int)
FUNCTION = ctypes.c_void_p(0xB)
TWO = [ctypes.c_int(11), ctypes.c_int(12)]


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
            elif name == "cuCtxGetDevice":
                arguments[0]._obj.value = 3
            elif name == "cuKernelSetAttribute":
                self.arguments.append((*arguments[:2], arguments[2].value, arguments[3].value))
            elif name == "cuLaunchKernelEx":
                config, values = arguments[0]._obj, (ctypes.cast(arguments[2][i], INT)[0] for i in range(2))
                given = (*config.grid, *config.block, config.shared_bytes, config.stream)
                attributes = [
                    (config.attributes[i].id, config.attributes[i].value) for i in range(config.attribute_count)
                ]
                self.arguments.append((arguments[1].value, given, attributes, [*values]))
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
    launch.Launch(FUNCTION, (7, 6, 5), (32, 2, 1), TWO, shared=99)(0xC)
    assert one.arguments == [(0xB, (7, 6, 5, 32, 2, 1, 99, 0xC), [(6, 0)], [11, 12])]


def test_a_launch_may_be_enqueued_again_on_another_stream_and_overlap_with_what_is_ahead(driver):
    one = driver()
    made = launch.Launch(FUNCTION, (1, 1, 1), (32, 1, 1), TWO, overlap=True)
    made(0xC), made(0xD)
    # 6: CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
    assert one.arguments == [(0xB, (1, 1, 1, 32, 1, 1, 0, s), [(6, 1)], [11, 12]) for s in (0xC, 0xD)]


def test_more_than_48_kb_of_shared_memory_are_asked_for_once(driver):
    one = driver()
    made = launch.Launch(FUNCTION, (1, 1, 1), (32, 1, 1), TWO, shared=(48 << 10) + 1)
    made(0xC), made(0xC)
    # 8: CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    assert one.arguments[0] == (8, 49153, 0xB, 3)
    assert one.calls == ["cuCtxGetDevice", "cuKernelSetAttribute", "cuLaunchKernelEx", "cuLaunchKernelEx"]


def test_what_the_driver_refuses_is_told_with_its_name_number_and_text(driver):
    driver(cuLibraryLoadData=209)
    with pytest.raises(
        launch.LaunchError, match=r"^cuLibraryLoadData: CUDA_ERROR_NO_BINARY_FOR_GPU \(209\): no kernel"
    ):
        launch.kernel(SOURCE, "sm_90", "add")


def test_a_code_that_the_driver_itself_does_not_know_is_told_by_its_number(driver):
    driver(cuLaunchKernelEx=8123)
    with pytest.raises(launch.LaunchError, match=r"^cuLaunchKernelEx: unknown error \(8123\): no text$") as raised:
        launch.Launch(FUNCTION, (1, 1, 1), (1, 1, 1), TWO)(0)
    assert raised.value.code == 8123
