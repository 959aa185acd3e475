"""scripts/compile_kernels.py with stand-in compilers: the real ones are installed, and run, by .ci/run alone."""

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path):
    """The program as a module, on a repository of its own with two kernels; its compilers are to be replaced."""
    loader = importlib.machinery.SourceFileLoader("compile_kernels", str(ROOT / "scripts/compile_kernels.py"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    module.ROOT = tmp_path
    for name in ("a/one.cu", "b/two.cu"):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True)
        path.write_text("code")
    return module


def compiler(name, architectures, wrong=None, empty=None):
    def compile_to(source, architecture, target, flags):
        if wrong == (source.name, architecture):
            raise RuntimeError("x is undefined")
        target.write_text("" if empty == (source.name, architecture) else " ".join(flags))

    return lambda: (name, architectures, compile_to)


def run(script, monkeypatch, thirteen, twelve, *arguments):
    monkeypatch.setattr(script, "cuda13", thirteen)
    monkeypatch.setattr(script, "cuda12", twelve)
    monkeypatch.setattr("sys.argv", ["compile_kernels.py", *arguments])
    return script.main()


def test_every_kernel_is_compiled_by_both_for_all_they_know(script, monkeypatch, capsys, tmp_path):
    thirteen, twelve = compiler("nvcc 13", ["sm_75", "sm_90"]), compiler("NVRTC 12.9", ["sm_50"])
    assert run(script, monkeypatch, thirteen, twelve, "--to", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out.splitlines() == [
        "src/a/one.cu: nvcc 13: sm_75 sm_90",
        "src/b/two.cu: nvcc 13: sm_75 sm_90",
        "src/a/one.cu: NVRTC 12.9: sm_50",
        "src/b/two.cu: NVRTC 12.9: sm_50",
    ]
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["-std=c++17 -lineinfo"] * 6


def test_only_what_is_kept_or_for_hopper_is_optimised_as_for_users(script, monkeypatch):
    used, made = {}, compiler("nvcc 13", ["sm_75", "sm_90"])

    def noting():
        name, architectures, compile_to = made()

        def noted(source, architecture, target, flags):
            used[source.name, architecture] = flags
            compile_to(source, architecture, target, flags)

        return name, architectures, noted

    assert run(script, monkeypatch, noting, compiler("NVRTC 12.9", ["sm_50"])) == 0
    quick = {key for key, flags in used.items() if any("Ofast-compile" in flag for flag in flags)}
    assert quick == {("one.cu", "sm_75"), ("two.cu", "sm_75")}
    assert used.keys() - quick == {("one.cu", "sm_90"), ("two.cu", "sm_90")}


@pytest.mark.parametrize("how", ["wrong", "empty"])
def test_one_that_fails_for_one_architecture_fails_all(script, monkeypatch, capsys, how):
    thirteen = compiler("nvcc 13", ["sm_75", "sm_90"], **{how: ("one.cu", "sm_90")})
    assert run(script, monkeypatch, thirteen, compiler("NVRTC 12.9", ["sm_50"])) == 1
    words = {"wrong": "src/a/one.cu does not compile by nvcc 13 for sm_90:\nx is undefined", "empty": "is empty"}
    assert words[how] in capsys.readouterr().out


def test_no_architecture_and_no_kernel_is_a_failure(script, monkeypatch, capsys, tmp_path):
    known = compiler("nvcc 13", ["sm_75"])
    assert run(script, monkeypatch, known, compiler("NVRTC 12.9", [])) == 1
    for path in tmp_path.rglob("*.cu"):
        path.unlink()
    assert run(script, monkeypatch, known, known) == 1
    assert "there is no .cu" in capsys.readouterr().err


def test_what_not_all_gpus_have_is_compiled_for_those_that_do(script, monkeypatch, capsys, tmp_path):
    for name in ("matmul_mma.cu", "matmul_hopper.cu"):
        (tmp_path / "src/a" / name).write_text("code")
    thirteen, twelve = compiler("nvcc 13", ["sm_75", "sm_80", "sm_121"]), compiler("NVRTC 12.9", ["sm_50"])
    assert run(script, monkeypatch, thirteen, twelve) == 1  # no architecture of the second one is for matmul_mma
    said = capsys.readouterr().out.splitlines()
    assert "src/a/matmul_hopper.cu: nvcc 13: sm_90a" in said
    assert "src/a/matmul_mma.cu: nvcc 13: sm_80 sm_121" in said
    assert "src/a/one.cu: nvcc 13: sm_75 sm_80 sm_121" in said
