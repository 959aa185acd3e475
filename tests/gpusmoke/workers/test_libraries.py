"""Which libraries and which PyTorch a process has, seen in folders made for it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpusmoke.workers.libraries import LIBRARY, own_copies, torch_installations

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="reads /proc/self/maps")


def install(folder, version):
    info = folder / f"torch-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    (folder / "torch").mkdir()
    return str(folder)


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment of its own, with one PyTorch and nothing else on the path."""
    site = tmp_path / "env/lib/python3/site-packages"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "env"))
    monkeypatch.setattr(sys, "path", [install(site, "2.12.1")])
    return tmp_path / "env"


def test_one_pytorch_is_one_however_often_its_folder_is_listed(environment, monkeypatch):
    link = environment / "link"
    link.symlink_to(sys.path[0])
    monkeypatch.setattr(sys, "path", [sys.path[0], str(link)])
    assert [line.split(" in ")[0] for line in torch_installations()] == ["torch 2.12.1"]


def test_a_second_pytorch_is_seen(environment, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [install(tmp_path / "user/site-packages", "2.13.0"), *sys.path])
    assert sorted(line.split(" in ")[0] for line in torch_installations()) == ["torch 2.12.1", "torch 2.13.0"]


def test_one_behind_it_in_another_environment_is_never_reached(environment, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path, install(tmp_path / "system/site-packages", "2.6.0")])
    assert len(torch_installations()) == 1


def test_pixis_record_and_its_pytorch_are_one_and_another_version_is_two(environment):
    meta = environment / "conda-meta"
    meta.mkdir()
    (meta / "pytorch-2.12.1-cuda130_mkl_py314_h1_0.json").write_text("{}")
    (meta / "pytorch-gpu-2.12.1-cuda129_mkl_h1_0.json").write_text("{}")
    assert len(torch_installations()) == 1
    (meta / "pytorch-2.12.1-cuda130_mkl_py314_h1_0.json").rename(meta / "pytorch-2.11.0-cuda130_mkl_py314_h1_0.json")
    assert len(torch_installations()) == 2


def test_a_library_from_elsewhere_is_shadowing_only_where_the_environment_has_its_own(environment, tmp_path):
    own = environment / "lib/libcublas.so.13"
    own.write_text("")
    wheel = Path(sys.path[0]) / "nvidia/cu13/lib/libcudart.so.13"
    wheel.parent.mkdir(parents=True)
    wheel.write_text("")
    loaded = [
        "/usr/local/cuda/lib64/libcublas.so.13",
        "/usr/local/cuda/lib64/libcudart.so.13",
        str(wheel),  # loaded as well, which does not undo the other
        "/usr/lib/libnccl.so.2",  # the environment has none
        "/usr/lib/libcuda.so.580",  # always the driver's
        str(environment / "lib/libcufft.so.12"),
    ]
    assert own_copies(loaded) == {
        "/usr/local/cuda/lib64/libcublas.so.13": str(own),
        "/usr/local/cuda/lib64/libcudart.so.13": str(wheel),
    }


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("libcudart.so.13", True),
        ("libcuda.so.580.159.04", True),
        ("libcudnn.so.9", True),
        ("libcudadebugger.so.1", False),
    ],
)
def test_the_libraries_that_count(name, counts):
    assert (LIBRARY.search(f"/somewhere/{name}") is not None) == counts


def test_what_is_loaded_is_told_by_its_real_path(driver, libraries):
    program = "import ctypes, json; ctypes.CDLL('libcuda.so.1')\n"
    program += "from gpusmoke.workers.libraries import mapped, cudart_version\n"
    program += "print(json.dumps([mapped(), cudart_version(mapped())]))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], env=driver(), capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout) == [[str(libraries / "libcuda.so.1")], None]


def test_the_version_of_the_loaded_runtime_is_its_own_word(tmp_path, kit):
    source = tmp_path / "cudart.c"
    source.write_text("int cudaRuntimeGetVersion(int *v) { *v = 12090; return 0; }\n")
    compiler = [shutil.which("cc")] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc"]
    library = tmp_path / "libcudart.so.12"
    subprocess.run([*compiler, "-shared", "-fPIC", "-o", library, source], check=True, timeout=180)
    program = f"import ctypes; ctypes.CDLL({str(library)!r})\nfrom gpusmoke.workers.libraries import library_facts\n"
    program += "import json; print(json.dumps(library_facts()))"
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=kit.environment(), capture_output=True, text=True, timeout=60)
    facts = json.loads(done.stdout)
    assert facts["cudart"] == "12.9"
    assert facts["loaded"] == [os.path.realpath(library)]
