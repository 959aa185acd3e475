"""check --nvcc in the child: what it compiles and when, and that whatever goes wrong there becomes a fact."""

import pytest

torch = pytest.importorskip("torch")

from gpusmoke import launch, nvcc  # noqa: E402 - these need torch
from gpusmoke.kernels.simt import SOURCE  # noqa: E402
from gpusmoke.workers.check import exercise  # noqa: E402
from gpusmoke.workers.toolchain import toolchain  # noqa: E402

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="the stand-in nvcc is a shell script")

NVCC = """#!/bin/sh
case $1 in
--version) echo release 1.2, V1.2.3;;
--list-gpu-code) printf 'sm_90\\nsm_121\\nsm_110\\n';;
*) %s;;
esac
"""
WRITES = """echo "$*" >> "$0.log"; while [ "$1" != -o ]; do shift; done; printf '\\177ELF' > "$2" """
RIGHT = {"passed": True, "error": 0.1, "bound": 0.2}


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """`compiler(script)`: the only nvcc there is does this, and beside it is a C++ compiler; returns its path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("CXX", *nvcc.OWN_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(nvcc, "places", lambda: {folder: "PATH"})
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))

    def make(script=WRITES):
        for name, content in (("nvcc", NVCC % script), ("g++", "#!/bin/sh\necho g++ 1.0; echo and more\n")):
            (folder / name).write_text(content)
            (folder / name).chmod(0o755)
        nvcc.version.cache_clear()
        return folder / "nvcc"

    yield make
    nvcc.version.cache_clear()


@pytest.fixture
def told(listener):
    """`told(device, product)`: the fact."""

    def run(device="cuda:3", product=lambda _: RIGHT):
        toolchain(listener, 3, device, product)
        return listener.facts["nvcc.3"]

    return run


def kept(tmp_path):
    return [path.name.rpartition("-")[0] for path in (tmp_path / "cache").rglob("*.cubin")]


def test_on_a_gpu_a_kernel_for_it_is_built_and_multiplied_with(compiler, told, tmp_path, listener):
    path, given = compiler(), []
    row = told(product=lambda multiply: given.append(multiply.__name__) or RIGHT)
    assert given == ["multiply"]
    assert row.pop("seconds") >= 0
    assert row == {
        "nvcc": str(path),
        "version": "1.2.3",
        "origin": "PATH",
        "variables": {},
        "host_compiler": str(path.with_name("g++")),
        "host_version": "g++ 1.0",
        "architecture": "sm_90",
        "product": RIGHT,
    }
    assert kept(tmp_path) == ["matmul_simt-sm_90"]
    assert listener.steps == ["in a compilation by nvcc", "in a product by a kernel that nvcc built"]


def test_on_the_cpu_the_newest_architecture_is_compiled_for_and_nothing_launched_or_kept(compiler, told, tmp_path):
    log = compiler().with_name("nvcc.log")
    row = told("cpu", lambda _: pytest.fail("launched"))
    assert row["architecture"] == "sm_121"
    assert "product" not in row
    assert "-arch=sm_121" in log.read_text()
    assert log.read_text().endswith(f" {SOURCE}\n")
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"NVCC_PREPEND_FLAGS": " -ccbin={}/g++"}, "{}/g++"),  # conda-forge's
        ({"NVCC_APPEND_FLAGS": "-O3 -ccbin {}/g++ -G"}, "{}/g++"),
        ({"NVCC_CCBIN": "{}/g++"}, "{}/g++"),
        ({"NVCC_CCBIN": "{}/none", "CXX": "g++"}, "{}/none"),
        ({"NVCC_APPEND_FLAGS": "-O3"}, "{}/g++"),
    ],
)
def test_the_host_compiler_is_known_whoever_names_it(compiler, told, monkeypatch, variables, named):
    folder = compiler().parent
    for name, text in variables.items():
        monkeypatch.setenv(name, text.format(folder))
    row = told("cpu")
    assert row["host_compiler"] == named.format(folder)
    assert row["host_version"] == (None if "none" in named else "g++ 1.0")
    assert row["variables"] == {name: text.format(folder) for name, text in variables.items() if name != "CXX"}


@pytest.mark.parametrize("device", ["cpu", "cuda:3"])
def test_what_was_kept_proves_nothing_about_todays_compiler(compiler, told, device):
    compiler()
    assert "failure" not in told(device)
    compiler("echo 'nvcc fatal : no licence' >&2; exit 1")
    row = told(device)
    assert row["failure"] == "kernel-not-compiled"
    assert row["error"] == "nvcc fatal : no licence"
    assert row["said"] == ["nvcc fatal : no licence"]
    assert row["version"] == "1.2.3"
    assert "product" not in row


def test_an_nvcc_that_is_not_there_or_lacks_a_host_compiler(compiler, told):
    assert told()["failure"] == "nvcc-missing"
    path = compiler()
    path.with_name("g++").unlink()
    row = told()
    assert row["failure"] == "host-compiler-missing"
    assert (row["nvcc"], row["version"]) == (str(path), "1.2.3")


def test_an_nvcc_that_no_system_runs_is_told_as_such(compiler, told):
    compiler().write_bytes(b"\x7fELF of another machine")
    nvcc.version.cache_clear()
    row = told("cpu")
    assert row["failure"] == "kernel-not-compiled"
    assert "nvcc does not run: " in row["error"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("CUDA error: an error that no driver has\nand more"), None),
        (torch.OutOfMemoryError("CUDA error: an error that no driver has"), 2),
        (OSError("CUDA error: an error that no driver has"), None),
    ],
)
def test_an_error_of_the_product_is_told_with_its_number(compiler, told, error, code):
    def fail(_):
        raise error

    compiler()
    row = told(product=fail)
    assert (row["error_text"], row["error_code"]) == ("CUDA error: an error that no driver has", code)
    assert row["architecture"] == "sm_90"


def test_a_code_of_the_driver_is_kept(compiler, told, monkeypatch):
    def refuse(_):
        monkeypatch.setattr(launch, "driver", lambda: None)
        monkeypatch.setattr(launch, "explain", lambda *_: {"name": "CUDA_ERROR_INVALID_IMAGE", "text": "invalid"})
        raise launch.LaunchError("cuLibraryLoadData", 200)

    compiler()
    row = told(product=refuse)
    assert row["error_code"] == 200
    assert row["error_text"] == "cuLibraryLoadData: CUDA_ERROR_INVALID_IMAGE (200): invalid"


def test_what_can_not_be_kept_is_told(compiler, told, tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    compiler()
    assert "Not a directory" in told()["error_text"]
    assert "error_text" not in told("cpu")


def test_check_asks_for_it_last_and_only_on_request(compiler, listener):
    compiler()
    exercise(listener, 0, "cpu")
    assert "nvcc.0" not in listener.facts
    exercise(listener, 0, "cpu", nvcc=True)
    assert listener.facts["nvcc.0"]["version"] == "1.2.3"
    assert listener.steps[-1] == "in a compilation by nvcc"
