"""scripts/on-node: the environment that a node gets, and what runs there where there is no Pixi."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STAND_INS = ROOT / "tests/gpusmoke/clusters/stand_ins"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script, for clusters with Linux")
TOOLS = ("awk", "bash", "cat", "dirname", "env", "mkdir", "sed", "sort", "timeout", "uname")


class Node:
    """A node with bash and little more; a `pixi` there says what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "bin"
        self.path.mkdir()
        for tool in TOOLS:
            (self.path / tool).symlink_to(shutil.which(tool))
        (self.path / "nvidia-smi").symlink_to(STAND_INS / "nvidia-smi")

    def has(self, name: str, body: str) -> None:
        program = self.path / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!/usr/bin/env bash\n{body}\n")
        program.chmod(0o755)

    def driver(self, line: str | None) -> None:
        """What nvidia-smi prints, where it works."""
        self.has("nvidia-smi", "exit 9" if line is None else f"echo '{line}'")

    def run(self, *arguments: str, script: Path = ROOT / "scripts/on-node", **environ: str):
        return subprocess.run(
            [self.path / "bash", script, *arguments],
            cwd=self.folder,
            env={"PATH": str(self.path)} | environ,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    # Pixi asks nvidia-smi for the driver's CUDA and for the GPUs' architecture, unless told both.
    asks = "${CONDA_OVERRIDE_CUDA-asked} ${CONDA_OVERRIDE_CUDA_ARCH-asked}"
    node.has("pixi", f'printf "%s\\n" "$6" "${{*:7}}" "safe path $PYTHONSAFEPATH" "CUDA {asks}"')
    return node


def header(version):
    return f"| NVIDIA-SMI 5.1     Driver Version: 580.159.04     {version}     |"


@pytest.mark.parametrize(
    ("line", "machine", "environment"),
    [
        (header("CUDA Version: 13.0"), "x86_64", "cuda13"),
        (header("CUDA Version: 13.2"), "x86_64", "cuda13"),
        (header("CUDA Version: 14.0"), "x86_64", "cuda13"),
        (header("CUDA UMD Version: 13.1"), "x86_64", "cuda13"),  # as newer tools have it
        (header("CUDA Version: 12.0"), "x86_64", "cuda12"),
        (header("CUDA Version: 12.9"), "x86_64", "cuda12"),
        (header("CUDA Version: 13.0"), "aarch64", "cuda12"),  # the lock has no newer one there
        (header("CUDA Version: 11.8"), "x86_64", "doctor"),
        (header("CUDA Version: N/A"), "x86_64", "doctor"),
        ("Failed to initialize NVML: Driver/library version mismatch", "x86_64", "doctor"),
        (None, "x86_64", "doctor"),
    ],
)
def test_a_node_gets_the_newest_environment_that_its_driver_runs(node, line, machine, environment):
    node.driver(line)
    node.has("uname", f"echo {machine}")
    done = node.run("smoke", "--require-gpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        environment,
        "python -m gpusmoke smoke --require-gpu",
        "safe path 1",
        "CUDA asked asked",
    ]
    assert done.stderr == f"scripts/on-node: environment {environment}\n"


@pytest.mark.long
def test_a_driver_that_hangs_is_not_waited_for_neither_here_nor_by_pixi(node):
    node.has("nvidia-smi", f"trap '' TERM; {shutil.which('setsid')} {shutil.which('sleep')} 50")
    done = node.run("smoke")
    assert done.stdout.splitlines() == ["doctor", "python -m gpusmoke smoke", "safe path 1", "CUDA  "]


@pytest.mark.parametrize("command", ["check", "bench", "smoke", "soak", "kernels", "collectives"])
def test_what_needs_pytorch_gets_an_environment_that_has_it(node, command):
    node.driver(header("CUDA Version: 13.0"))
    assert node.run(command).stdout.startswith("cuda13\n")


def test_one_may_be_named_and_what_needs_no_pytorch_gets_the_small_one(node):
    node.driver(header("CUDA Version: 13.0"))
    assert node.run("smoke", GPUSMOKE_ENVIRONMENT="cuda12").stdout.startswith("cuda12\n")
    assert node.run("fleet", "results", GPUSMOKE_ENVIRONMENT="cuda12").stdout.startswith("doctor\n")
    done = node.run("torchrun", "--nnodes=2", "-m", "gpusmoke", "collectives")
    assert done.stdout.splitlines()[:2] == [
        "cuda13",
        "python -m torch.distributed.run --nnodes=2 -m gpusmoke collectives",
    ]


def test_the_record_and_the_log_are_named_after_the_node(node):
    for name in ({"SLURMD_NODENAME": "gpu07"}, {"SLURMD_NODENAME": "gpu08", "GPUSMOKE_NODE": "gpu07"}):
        done = node.run("smoke", GPUSMOKE_RECORD="results/4711", **name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    logs = {path.name: path.read_text() for path in (node.folder / "results/4711").iterdir()}
    asked = "python -m gpusmoke smoke --results results/4711 --node"
    assert f"{asked} gpu07\n" in logs["gpu07.log"]
    assert logs["gpu07.log"].count(asked) == 2, "a second attempt goes on below the first"
    done = node.run("torchrun", GPUSMOKE_RECORD="results/4711", GPUSMOKE_NODE="gpu07")
    assert "torch.distributed.run\n" in (node.folder / "results/4711/gpu07.log").read_text()


def test_an_image_is_run_by_apptainer_with_the_folder_of_records(node):
    node.has("apptainer", 'printf "%s\\n" "$*"')
    done = node.run("smoke", "--quick", GPUSMOKE_IMAGE="/shared/gpu check.sif")
    assert done.stdout == f"run --nv --bind {node.folder} /shared/gpu check.sif python -m gpusmoke smoke --quick\n"
    node.path.joinpath("apptainer").rename(node.path / "singularity")
    assert node.run("smoke", GPUSMOKE_IMAGE="x.sif").returncode == 0
    node.path.joinpath("singularity").unlink()
    done = node.run("smoke", GPUSMOKE_IMAGE="x.sif")
    assert (done.returncode, done.stderr) == (
        2,
        "scripts/on-node: GPUSMOKE_IMAGE is set, and there is no apptainer on PATH\n",
    )


def test_without_pixi_it_is_scripts_run_and_torchrun_wants_its_environment(node):
    clone = node.folder / "clone"
    (clone / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/on-node", clone / "scripts")
    (clone / "scripts/run").write_text('#!/usr/bin/env bash\nprintf "%s\\n" "run $*"\n')
    (clone / "scripts/run").chmod(0o755)
    script = clone / "scripts/on-node"
    assert node.run("smoke", "--quick", script=script, GPUSMOKE_NO_PIXI="1").stdout == "run smoke --quick\n"
    node.path.joinpath("pixi").unlink()
    assert node.run("smoke", script=script).stdout == "run smoke\n"
    done = node.run("torchrun", script=script)
    assert (done.returncode, "./scripts/run check makes it" in done.stderr) == (2, True)
    (clone / ".nox/gpu/bin").mkdir(parents=True)
    python = clone / ".nox/gpu/bin/python"
    python.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$*" "$PYTHONPATH" "$PYTHONSAFEPATH"\n')
    python.chmod(0o755)
    done = node.run("torchrun", "--nnodes=2", script=script)
    assert done.stdout.splitlines() == ["-m torch.distributed.run --nnodes=2", f"{clone}/src", "1"]


def test_no_command_is_wrong_usage(node):
    assert node.run().returncode == 2
