"""What only PyTorch shows, through `check`: a real PyTorch on a stand-in GPU, in an environment made for it.

A case gives what the children do at their start (`play` brings the GPU), what is laid into the environment, what the
stand-in driver answers, which of the variables below are set, and what the nvcc is that --nvcc asks for.
"""

import importlib.metadata
import json
import subprocess

import pytest
from playable import STAND_IN_GPU

pytest.importorskip("torch")
pytestmark = STAND_IN_GPU

STAND_IN = "pytorch"
PLAY = "import standin_gpu; torch = standin_gpu.play({})"
UNUSED = "import torch; torch.version.cuda = {!r}; torch.cuda.is_available = bool"
OLD_CUDNN = "cuDNN version incompatibility: PyTorch was compiled against (9, 10, 2) but found runtime version (8, 9, 7)"
RUNTIME = "int cudaRuntimeGetVersion(int *version) { *version = 12090; return 0; }\n"
SHADOWED = {"laid": {"lib/libcudart.so.13": ""}, "env": {"LD_PRELOAD": "{preloaded}"}}
CONDA = "conda-meta/pytorch-{version}-cuda130_mkl_py314_h1_0.json"
SECOND = {"{site}/torch-1.13.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: torch\nVersion: 1.13.1\n"}
# An nvcc that writes what looks like machine code. It serves the shell alone: there is no other program on PATH.
BUILDS = """\
case $* in
*--version*) echo release 13.3, V13.3.73;;
*) while [ "$1" != -o ]; do shift; done; printf '\\177ELF' > "$2";;
esac"""


def gpu(*more, **properties):
    """A GPU with such properties, and code beside it."""
    return "\n".join([PLAY.format(", ".join(f"{key}={value!r}" for key, value in properties.items())), *more])


def cuda_errors(*texts):
    """What makes each step, of which the products are the last two, end with an error of CUDA, in PyTorch's words."""
    return f"""texts = {list(texts)!r}
def fail(*_, **__): raise RuntimeError('CUDA error: ' + texts.pop(0) + '\\nCompile with `TORCH_USE_CUDA_DSA`')
torch.mm = fail
if len(texts) == 3: torch.Tensor.clone = fail"""


# What each machine is found to have, with the beginning of the first advice; and what it is made of.
MACHINES = [
    ({"gpu-unused": "pixi run doctor"}, UNUSED.format("13.0"), {}),
    ({"cpu-build": "pixi install"}, UNUSED.format(None), {}),
    ({"driver-too-old": "pixi run smoke"}, UNUSED.format("13.0"), {"state": {"cuDriverGetVersion.value": 12040}}),
    (
        {"torch-missing": "pixi run check", "shadowed-libraries-break": "unset LD_LIBRARY_PATH"},
        "sys.modules['torch'] = None",
        SHADOWED,
    ),
    (
        {
            "arch-not-in-build": "pixi run audit --gpu 9.0",
            "ecc-uncorrectable": "nvidia-smi -q -d ECC",
            "ptx-too-new": "nvcc --version",
            "kernel-for-other-gpus": "env | grep NVCC_",
        },
        gpu(
            cuda_errors(
                "no kernel image is available for execution on the device",
                "uncorrectable ECC error encountered",
                "the provided PTX was compiled with an unsupported toolchain.",
            )
        ),
        {"state": {"cuLibraryLoadData": 209}, "nvcc": BUILDS},
    ),
    (
        {
            "jit-compiler-missing": "ldconfig -p",
            "invalid-kernel-image": "nvcc -gencode",
            "invalid-ptx": "nvcc -gencode",
            "kernel-refused": "pixi run doctor",
        },
        gpu(
            cuda_errors(
                "PTX JIT compiler library not found", "device kernel image is invalid", "a PTX JIT compilation failed"
            )
        ),
        {"state": {"cuLibraryLoadData": 222}, "nvcc": BUILDS},
    ),
    (
        {
            "arch-not-in-build": "pixi run audit --gpu 9.0",
            "two-torches": "pixi list torch",
            "cudart-mismatch": "unset LD_LIBRARY_PATH",
            "cudnn-mismatch": "unset LD_LIBRARY_PATH",
            "device-busy": "nvidia-smi -q -d COMPUTE",
            "step-failed": "pixi run doctor",
        },
        gpu(
            f"def version(): raise RuntimeError({OLD_CUDNN!r})",
            "torch.backends.cudnn.version = version",
            cuda_errors("CUDA-capable device(s) is/are busy or unavailable", "words that no driver knows"),
            architectures=["sm_75", "sm_80"],
        ),
        {"laid": SECOND, "env": SHADOWED["env"]},
    ),
    # Warnings alone: exit 0.
    (
        {"architectures-differ": "pixi run audit", "pcie-link-slow": "nvidia-smi -q | grep"},
        gpu(architectures=["sm_90", "sm_100"]),
        {"laid": {CONDA: "{}"}, "state": {"pcie_width": 8}},
    ),
    (
        {"shadowed-libraries": "unset LD_LIBRARY_PATH", "pcie-link-slow": "nvidia-smi -q | grep"},
        gpu(cuda="12.9"),
        SHADOWED | {"state": {"pcie_generation": 3}},
    ),
]
# One GPU fails, and the others report.
ON_ONE_GPU = {
    "worker-crashed": "import os; os._exit(3)",
    "wrong-result": "mm = torch.mm; torch.mm = lambda a, b, out: mm(a, b, out=out)[17, 5].add_(0.5)",
    "out-of-memory": "torch.ones = lambda *size, device: exec(\"raise torch.OutOfMemoryError('no')\")",
}
FIRST = {"worker-crashed": "sudo dmesg", "wrong-result": "pixi run check", "out-of-memory": "nvidia-smi --query"}
NAMED = {kind for expected, _, _ in MACHINES for kind in expected} | set(ON_ONE_GPU)


@pytest.fixture
def check(kit, driver, fake_root, children, environment, compiler, tmp_path):
    """Run `check --json` on such a machine, with --nvcc where there is one."""

    def run(code, laid=(), state=(), env=(), nvcc=None):
        site = next((environment / "lib").glob("python*/site-packages"))
        for name, content in dict(laid).items():
            path = environment / name.format(site=site, version=importlib.metadata.version("torch"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        preloaded = tmp_path / "elsewhere/libcudart.so.13"
        preloaded.parent.mkdir()
        preloaded.with_name("cudart.c").write_text(RUNTIME)
        subprocess.run([*compiler, "-shared", "-fPIC", "-o", preloaded, preloaded.with_name("cudart.c")], check=True)
        machine = driver(dict(state) or "") | children(code) | {"GPUSMOKE_ROOT": str(fake_root)}
        machine |= {name: value.format(preloaded=preloaded) for name, value in dict(env).items()}
        if nvcc:
            kit.program("nvcc", nvcc)
            kit.program("a-compiler", "")
            machine |= {"CXX": "a-compiler", "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return kit("check", "--json", *(["--nvcc"] if nvcc else []), env=machine, timeout=180)

    return run


@pytest.mark.parametrize(("expected", "code", "made_of"), MACHINES, ids=[" ".join(one[0]) for one in MACHINES])
def test_each_failure_is_named_with_its_cure(check, named, expected, code, made_of):
    done = check(code, **made_of)
    for kind, advice in expected.items():
        assert named(done, kind, advice)["evidence"]


def test_a_gpu_that_is_well_gives_no_alarm(check):
    done = check(gpu())
    found = {one["id"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0
    assert {one["severity"] for one in found.values()} <= {"ok", "note"}
    assert found["gpu-works"]["gpu"] == 0


def test_gpus_that_fail_do_not_keep_another_from_reporting(check, named):
    faults = [f"if sys.orig_argv[-1] == '{n}': {fault}" for n, fault in enumerate(ON_ONE_GPU.values(), 1)]
    without_compiler = "if sys.orig_argv[-1] == '2': import os; os.environ['CXX'] = ''"
    # The first ends before it has imported PyTorch, which takes seconds.
    code = "\n".join([faults[0], gpu(*faults[1:], without_compiler, count=4)])
    done = check(code, state={"devices": 4}, nvcc=BUILDS)
    for ordinal, kind in enumerate(ON_ONE_GPU, 1):
        assert named(done, kind, FIRST[kind])["gpu"] == ordinal
    found = json.loads(done.stdout)["findings"]
    assert [one["gpu"] for one in found if one["id"] == "gpu-works"] == [0]
    assert named(done, "host-compiler-missing", "pixi run -e cuda13")["gpu"] == 2
    (works,) = [one for one in found if one["id"] == "nvcc-works"]
    assert works["gpu"] == 0
    assert works["title"].startswith("nvcc 13.3.73 (PATH) with ")
    assert "for sm_90, the driver took it" in works["title"]
    assert {one["gpu"] for one in found if one["severity"] == "problem"} == {1, 2, 3}
