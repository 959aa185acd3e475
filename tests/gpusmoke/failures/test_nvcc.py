"""What keeps a kernel from being built: environments that lack a compiler, and sources that no compiler takes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpusmoke import nvcc
from gpusmoke.findings import catalogue

STAND_IN = "compiler"
NAMED = {
    "nvcc-missing",
    "host-compiler-missing",
    "host-compiler-unfit",
    "nvcc-lacks-architecture",
    "kernel-not-compiled",
}
SOURCE = 'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2; }\n'
BUILD = """
import sys
from pathlib import Path
from gpusmoke import nvcc
nvcc.SYSTEM = Path("no such folder")
try:
    print(nvcc.cubin(Path(sys.argv[1]), sys.argv[2]))
except nvcc.NvccError as error:
    print(error.finding.id, error, sep="\\n")
    sys.exit(1)
"""


def has_nvcc():
    try:
        return bool(nvcc.find_nvcc())
    except nvcc.NvccError:
        return False


needs_nvcc = pytest.mark.skipif(
    not has_nvcc(), reason="there is no nvcc here: it comes with CUDA environments on Linux"
)


@pytest.fixture
def build(tmp_path):
    """`build(source, architecture, python, **variables)`: whether it was built, and what the program said."""
    (tmp_path / "empty").mkdir()

    def run(source=SOURCE, architecture="sm_90", python=sys.executable, **variables):
        path = tmp_path / "kernel.cu"
        path.write_text(source)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NVCC", "CUDA", "CXX"))}
        env = kept | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(Path(nvcc.__file__).parents[1])}
        command = [python, "-P", "-c", BUILD, str(path), architecture]
        done = subprocess.run(command, env=env | variables, capture_output=True, text=True, timeout=200)
        assert done.stderr == ""
        return done.returncode == 0, done.stdout.splitlines()

    return run


def told(lines, kind):
    """The finding's id, its sentence, and its first advice, as they stand in the error."""
    assert lines[0] == kind
    assert lines[1].endswith(f"[{kind}]")
    advice = [line for line in lines if line.startswith("try: ")]
    assert len(advice) == len(catalogue()[kind]["advice"])
    return lines[1], advice[0].removeprefix("try: ")


def test_no_nvcc(build, tmp_path):
    bare = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    if not bare.exists() or (bare.parent / "nvcc").exists():  # Pixi's Python has it beside it
        bare = tmp_path / "bare" / "python"
        bare.parent.mkdir()
        bare.symlink_to(Path(sys.executable).resolve())
    built, lines = build(python=str(bare), PATH=str(tmp_path / "empty"))
    title, advice = told(lines, "nvcc-missing")
    assert not built
    assert "no nvcc" in title
    assert advice.startswith("pixi run -e cuda13")
    assert any(str(tmp_path / "empty") in line for line in lines[2:])


@needs_nvcc
def test_no_host_compiler(build, tmp_path):
    if on_path := shutil.which("nvcc"):  # which has to stay there, without the compiler beside it
        script = tmp_path / "empty/nvcc"
        script.write_text(f'#!/bin/sh\nexec "{on_path}" "$@"\n')
        script.chmod(0o755)
    built, lines = build(PATH=str(tmp_path / "empty"))
    title, advice = told(lines, "host-compiler-missing")
    assert not built
    assert "C++ compiler" in title
    assert advice.startswith("pixi run -e cuda13")


@needs_nvcc
@pytest.mark.skipif("sys.platform == 'win32'", reason="the compiler of tomorrow is a shell script")
@pytest.mark.parametrize(
    ("compiler", "words"),
    [
        ('exec g++ -U__GNUC__ -D__GNUC__=99 "$@"', "that is here: unsupported GNU version! gcc versions later than "),
        ("exit 1", "that is here: nvcc fatal   : Failed to preprocess host compiler properties."),
    ],
)
def test_a_host_compiler_that_nvcc_does_not_take(build, tmp_path, compiler, words):
    script = tmp_path / "a-compiler"
    script.write_text(f"#!/bin/sh\n{compiler}\n")
    script.chmod(0o755)
    built, lines = build(CXX=str(script))
    title, advice = told(lines, "host-compiler-unfit")
    assert not built
    assert words in title
    assert "-allow-unsupported-compiler" not in title
    assert advice.startswith("pixi run -e cuda13 check --nvcc")


@needs_nvcc
def test_a_gpu_that_this_nvcc_does_not_know(build):
    built, lines = build(architecture="sm_35")
    title, advice = told(lines, "nvcc-lacks-architecture")
    assert not built
    assert "can't compile for sm_35" in title
    assert advice.startswith("pixi run -e cuda13")


@needs_nvcc
def test_a_source_that_is_wrong_is_told_in_the_compilers_first_error(build, tmp_path):
    built, lines = build(source="\n__global__ void f() { int x = y; z(); }\n")
    title, advice = told(lines, "kernel-not-compiled")
    assert not built
    assert title.startswith("kernel.cu does not compile for sm_90: ")
    assert 'kernel.cu(2): error: identifier "y" is undefined' in title
    assert Path(advice.split()[0]).name == "nvcc"
    assert list((tmp_path / "cache").rglob("*.cubin")) == []
    again = subprocess.run(["bash", "-c", advice], capture_output=True, text=True, timeout=200)
    assert again.returncode != 0
    assert 'identifier "y" is undefined' in again.stderr


@needs_nvcc
def test_a_kernel_is_built_once_for_each_content_and_architecture(build, tmp_path):
    (built, [first]), (_, [again]) = build(), build()
    assert built
    assert first == again
    assert Path(first).read_bytes()[:4] == b"\x7fELF"
    assert Path(first).is_relative_to(tmp_path / "cache")
    written = Path(first).stat().st_mtime_ns
    (tmp_path / "used.cuh").write_text("#define TWO 2\n")
    others = {first, build(architecture="sm_80")[1][0], build(source=SOURCE + "\n")[1][0]}
    (tmp_path / "used.cuh").write_text("#define TWO 3\n")
    others |= {build()[1][0], build(NVCC_APPEND_FLAGS="-arch=sm_80")[1][0]}  # which makes other code of it
    assert len(others) == 5
    assert Path(first).stat().st_mtime_ns == written


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """`stand_in(script)`: an nvcc that is found before all others, and does this; and a C++ compiler."""
    monkeypatch.setattr(nvcc, "find_nvcc", lambda: tmp_path / "nvcc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    nvcc.version.cache_clear()

    def make(script):
        (tmp_path / "nvcc").write_text(
            f"#!/bin/sh\ncase $1 in --list*) echo sm_90;; --version) echo V1.2;; *) {script};; esac\n"
        )
        (tmp_path / "nvcc").chmod(0o755)
        (tmp_path / "g++").write_text("")
        (tmp_path / "g++").chmod(0o755)
        (tmp_path / "kernel.cu").write_text(SOURCE)
        return tmp_path / "kernel.cu"

    return make


@pytest.mark.skipif("sys.platform == 'win32'", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("sleep 60", "nvcc did not end within 0.5 s"),
        ("exit 3", "nvcc ended with 3"),
        ("echo all is lost >&2; exit 1", "all is lost"),
        ("printf 'a warning\\nnvcc fatal: no licence\\n' >&2; exit 1", "nvcc fatal: no licence"),
    ],
)
def test_a_compiler_that_hangs_or_dies_is_told(stand_in, tmp_path, monkeypatch, script, words):
    monkeypatch.setattr(nvcc, "DEADLINE_SECONDS", 0.5)
    with pytest.raises(nvcc.NvccError) as raised:
        nvcc.cubin(stand_in(script), "sm_90")
    assert raised.value.finding.id == "kernel-not-compiled"
    assert raised.value.finding.title.endswith(words)
    assert list((tmp_path / "cache").rglob("*")) == [tmp_path / "cache/gpusmoke", tmp_path / "cache/gpusmoke/kernels"]


@pytest.mark.skipif("sys.platform == 'win32'", reason="the stand-in is a shell script")
def test_another_compiler_builds_anew(stand_in, tmp_path):
    source = stand_in('for last; do :; done; while [ $1 != -o ]; do shift; done; echo "code of $last" > $2')
    first = nvcc.cubin(source, "sm_90")
    assert first.read_text() == f"code of {source}\n"
    (tmp_path / "nvcc").write_text((tmp_path / "nvcc").read_text().replace("V1.2", "V1.3"))
    nvcc.version.cache_clear()
    assert nvcc.cubin(source, "sm_90") != first


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CXX": "mine"}, ["-ccbin", "mine"]),
        ({}, ["-ccbin", "g++"]),
        ({"NVCC_CCBIN": "theirs"}, []),
        ({"NVCC_PREPEND_FLAGS": "-ccbin=theirs"}, []),
    ],
)
@pytest.mark.skipif("sys.platform == 'win32'", reason="nvcc finds Visual Studio's compiler itself")
def test_the_host_compiler_is_the_one_that_the_environment_names(tmp_path, monkeypatch, variables, expected):
    for name in ("mine", "g++"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    for name in ("CXX", "NVCC_CCBIN", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [Path(one).name for one in nvcc.host_compiler(tmp_path / "nvcc")] == expected


@pytest.mark.skipif("sys.platform == 'win32'", reason="the stand-ins are shell scripts")
def test_the_first_nvcc_of_all_places_is_taken_and_whose_it_is_is_known(tmp_path, monkeypatch):
    order = {
        "prefix/bin": "this environment",
        "site/nvidia/cu13/bin": "PyPI wheel",
        "site/nvidia/cu12/bin": "PyPI wheel",
        "path": "PATH",
        "home/bin": "CUDA_HOME",
        "other/bin": "CUDA_PATH",
        "system": "system",
    }
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(nvcc.sysconfig, "get_path", lambda _: str(tmp_path / "site"))
    monkeypatch.setattr(nvcc, "SYSTEM", tmp_path / "system")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "path"), str(tmp_path / "system")]))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "other"))
    for name in order:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "nvcc").write_text("")
        (tmp_path / name / "nvcc").chmod(0o755)
    assert nvcc.places()[tmp_path / "system"] == "PATH"  # it is there, too
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    for name, whose in order.items():
        found = nvcc.find_nvcc()
        assert (found, nvcc.places()[found.parent]) == (tmp_path / name / "nvcc", whose)
        found.unlink()
    with pytest.raises(nvcc.NvccError) as raised:
        nvcc.find_nvcc()
    assert str(tmp_path / "other/bin") in raised.value.finding.evidence[0]
