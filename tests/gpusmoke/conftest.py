"""Drives the real program through machines that are not there: a stand-in driver, a file tree, a clean environment,
and a copy of this repository's manifest and lock.

    def test_fabric_manager_down(driver, fake_root, kit):
        env = driver({"cuInit": 802}) | {"GPUSMOKE_ROOT": str(fake_root)}
        assert kit("doctor", "--json", env=env).returncode == 1

What a state can say stands in faults/standin.h.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import jsonschema
import pytest
from workspaces import Workspace

HERE = Path(__file__).parent
FAULTS = HERE / "faults"
ROOT = HERE.parents[1]
SOURCES = ROOT / "src"

LIBRARIES = {
    "libcuda.so.1": ("state.c", "cuda.c", "cuda_kernel.c"),
    "libnvidia-ml.so.1": ("state.c", "nvml.c", "nvml_device.c"),
}
# Hidden, so that the two libraries' own functions don't meet in one process.
FLAGS = ("-std=gnu11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")
ZIG = (sys.executable, "-m", "ziglang", "cc")

BUILD_DEADLINE_SECONDS = 180.0  # zig compiles its own libraries first when its cache is cold
KIT_DEADLINE_SECONDS = 60.0

# What of this machine would reach the program under test.
MACHINE_VARIABLES = (
    "CI",
    "COLUMNS",
    "CONDA_",
    "CUDA_",
    "FORCE_COLOR",
    "GITHUB_",
    "GPUSMOKE_",
    "KUBERNETES_",
    "LD_LIBRARY_PATH",
    "NVIDIA_",
    "PIXI_",
    "PYTHONDONTWRITEBYTECODE",  # it starts many hundred times: to compile it each time takes longer than most tests
    "PYTORCH_",
)

KERNEL_MODULE = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (root@builder)
GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2)
"""
MODULES = """\
nvidia_uvm 2236416 0 - Live 0x0000000000000000 (OE)
nvidia 14012416 1 nvidia_uvm, Live 0x0000000000000000 (OE)
"""
KERNEL = "Linux version 6.8.0-60-generic (buildd@builder) (gcc 13.3.0) #63-Ubuntu SMP PREEMPT_DYNAMIC\n"

SCHEMA = json.loads((SOURCES / "gpusmoke/data/record.schema.json").read_text())

State = str | Mapping[str, object] | None


def c_compiler() -> tuple[str, ...] | None:
    """The C compiler that this machine has, else PyPI's."""
    found = shutil.which(os.environ.get("CC", "cc"))
    if found:
        return (found,)
    return ZIG if importlib.util.find_spec("ziglang") else None


def build(compiler: tuple[str, ...], folder: Path) -> Path:
    """Compile both libraries into the folder."""
    for library, sources in LIBRARIES.items():
        command = [*compiler, *FLAGS, "-o", str(folder / library), *(str(FAULTS / source) for source in sources)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_DEADLINE_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def build_driver() -> Callable[[tuple[str, ...], Path], Path]:
    """The function that compiles the stand-in driver, for the test of the compilers."""
    return build


@pytest.fixture(scope="session")
def compiler() -> tuple[str, ...]:
    """The command of a C compiler."""
    found = c_compiler()
    if found is None:
        pytest.skip("needs a C compiler: cc, or `pip install ziglang`")
    return found


@pytest.fixture(scope="session")
def libraries(compiler: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the stand-in driver's two libraries."""
    if sys.platform != "linux":
        pytest.skip("the stand-in driver is built for Linux")
    return build(compiler, tmp_path_factory.mktemp("driver"))


def closed(schema: object) -> object:
    """The schema with no room for fields that it does not name: readers pass over them, but we write none."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(one) for name, one in schema.items()}
    return {"additionalProperties": False, **inner} if "required" in inner or inner.get("type") == "object" else inner


@pytest.fixture
def valid() -> Callable[[object], None]:
    """`valid(record)`: jsonschema's word that it follows the published schema, and holds nothing beside it."""
    return jsonschema.Draft202012Validator(closed(SCHEMA)).validate


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """The only folder on the program's PATH, empty: a test that needs a nvidia-smi or a pixi puts one there."""
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


class Kit:
    """The real command line, away from what this machine has."""

    def __init__(self, tools: Path, cwd: Path) -> None:
        self.tools, self.cwd, self.python = tools, cwd, sys.executable

    def environment(self, changes: Mapping[str, str] | None = None) -> dict[str, str]:
        """This process's environment without what tells about this machine's GPUs, Pixi or CI, and the changes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(MACHINE_VARIABLES)}
        own = {"PATH": str(self.tools), "PYTHONPATH": str(SOURCES), "NO_COLOR": "1"}
        return kept | own | dict(changes or {})

    def program(self, name: str, body: str) -> None:
        """Put a shell script on the program's PATH; it finds nothing there itself."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def install(self, environment: str, cuda: str | None, workspace: Path | None = None) -> Path:
        """Lay down what tells that Pixi installed an environment for linux-64 and that CUDA; returns its conda-meta."""
        meta = (workspace or self.cwd) / ".pixi/envs" / environment / "conda-meta"
        meta.mkdir(parents=True)
        packages = [{"name": "__cuda", "version": cuda, "build_string": "0"}] if cuda else []
        resolved = {"subdir": "linux-64", "virtual_packages": packages}
        (meta / "pixi").write_text(json.dumps({"environment_name": environment, "resolved_platform": resolved}))
        return meta

    def __call__(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = KIT_DEADLINE_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m gpusmoke ARGS`; `env` changes the clean environment."""
        process = subprocess.Popen(
            [self.python, "-m", "gpusmoke", *args],
            cwd=cwd or self.cwd,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # Its children, too: they hold the pipes and may outlive it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def kit(tools: Path, tmp_path: Path) -> Kit:
    """`kit("doctor", "--json", env={...})`: run the program in an empty folder and a clean environment."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    return Kit(tools, cwd)


@pytest.fixture
def driver(libraries: Path, kit: Kit, tmp_path: Path) -> Callable[[State], dict[str, str]]:
    """`driver(state)`: the environment in which programs meet a driver in that state; None is a broken installation.

    Without a state it is healthy. A mistake in the state fails the test here, before the program can make a finding
    of the crash.
    """
    made = 0

    def environment(state: State = "") -> dict[str, str]:
        nonlocal made
        made += 1
        if state is None:
            folder = tmp_path / f"no-driver-{made}"
            folder.mkdir()
            for library in LIBRARIES:
                (folder / library).write_text("not a library\n")
            return kit.environment({"LD_LIBRARY_PATH": str(folder)})
        lines = state if isinstance(state, str) else "".join(f"{key} = {value}\n" for key, value in state.items())
        file = tmp_path / f"state-{made}.txt"
        file.write_text(lines)
        env = kit.environment({"LD_LIBRARY_PATH": str(libraries), "GPUSMOKE_STANDIN": str(file)})
        load = [sys.executable, "-I", "-S", "-c", "import ctypes; ctypes.CDLL('libcuda.so.1')"]
        loaded = subprocess.run(load, env=env, capture_output=True, text=True, timeout=30, check=False)
        if loaded.returncode != 0:
            raise ValueError(loaded.stderr.strip())
        return env

    return environment


@pytest.fixture
def fake_root(tmp_path: Path) -> Path:
    """The file tree of a Linux machine with one working GPU, for GPUSMOKE_ROOT; tests add and remove files."""
    root = tmp_path / "root"
    files = {
        "dev/nvidia0": "",
        "dev/nvidiactl": "",
        "dev/nvidia-uvm": "",
        "proc/driver/nvidia/version": KERNEL_MODULE,
        "proc/modules": MODULES,
        "proc/version": KERNEL,
        "sys/bus/pci/devices/0000:00:05.0/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:00:05.0/class": "0x030200\n",
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture
def workspace(kit: Kit, valid: Callable[[object], None]) -> Workspace:
    """A `Workspace`, in the folder where `kit` runs."""
    return Workspace(kit, valid)


@pytest.fixture
def edited(kit: Kit) -> Callable[..., str]:
    """`edited(name, change)`: write a real H100's record, after `change(document)`, where `kit` runs.

    Returns the name.
    """

    def write(name: str, change: Callable[[dict[str, object]], object] = lambda _: None) -> str:
        document = json.loads((HERE / "data/h100-bench.json").read_text())
        change(document)
        (kit.cwd / name).write_text(json.dumps(document))
        return name

    return write
