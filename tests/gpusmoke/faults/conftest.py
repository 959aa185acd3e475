"""Programs that ask the stand-in libraries directly: `cuda` through ctypes, `nvml` through nvidia-ml-py."""

import json
import subprocess
import sys

import pytest

CUDA = """
import ctypes, json
cuda = ctypes.CDLL("libcuda.so.1")
def number(call, *args):
    value = ctypes.c_int(-1)
    return [getattr(cuda, call)(ctypes.byref(value), *args), value.value]
def string(call, *args):
    value = ctypes.create_string_buffer(96)
    return [getattr(cuda, call)(value, 96, *args), value.value.decode()]
def raw(call, kind, *args):
    value = kind()
    return [getattr(cuda, call)(ctypes.byref(value), *args), bytes(value).hex()]
def explained(code):
    text = ctypes.c_char_p()
    answers = []
    for call in (cuda.cuGetErrorName, cuda.cuGetErrorString):
        answers += [call(code, ctypes.byref(text)), text.value and text.value.decode()]
    return answers
def visible():
    init = cuda.cuInit(0)
    return [init, [string("cuDeviceGetPCIBusId", i)[1] for i in range(max(0, number("cuDeviceGetCount")[1]))]]
"""

NVML = """
import json
import pynvml as nvml
def ask(call, *args):
    try:
        answer = getattr(nvml, call)(*args)
    except nvml.NVMLError as error:
        return {"code": error.value, "text": str(error)}
    if hasattr(answer, "_fields_"):
        answer = {name: getattr(answer, name) for name, _ in answer._fields_}
        return {name: v.decode() if isinstance(v, bytes) else v for name, v in answer.items()}
    if isinstance(answer, list) and answer and hasattr(answer[0], "pid"):
        return [[process.pid, process.usedGpuMemory] for process in answer]
    return list(answer) if isinstance(answer, tuple) else answer
def name_of(index):
    handle = ask("nvmlDeviceGetHandleByIndex", index)
    return handle if isinstance(handle, dict) else ask("nvmlDeviceGetName", handle)
started = ask("nvmlInit")
gpu = ask("nvmlDeviceGetHandleByIndex", 0)
"""


def answer(env, prelude, expression):
    """The value of an expression in a process of its own that has the stand-in for a driver."""
    done = subprocess.run(
        [sys.executable, "-c", f"{prelude}\nprint(json.dumps({expression}))"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def cuda():
    """`cuda(env, expression)`: its value where `cuda` is the library, with the helpers above."""
    return lambda env, expression: answer(env, CUDA, expression)


@pytest.fixture
def nvml():
    """`nvml(env, expression)`: its value where `nvml` is pynvml and `gpu` the handle of the first device."""
    return lambda env, expression: answer(env, NVML, expression)
