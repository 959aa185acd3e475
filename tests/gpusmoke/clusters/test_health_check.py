"""scripts/slurm/health-check on a real Slurm: when it drains a node, and when it leaves one alone."""

import json
import re
import subprocess
import tomllib

import pytest
import slurm

pytest.importorskip("torch")
pytestmark = slurm.MARKS

HEALTH_CHECK = slurm.ROOT / "scripts/slurm/health-check"
FINDINGS = slurm.ROOT / "src/gpusmoke/data/findings"


@pytest.fixture
def check(nodes):
    """`check(node, NAME=VALUE, …)`: what one check of that node by hand says on stderr; it never fails."""

    def checked(node, **environ):
        done = subprocess.run(
            [HEALTH_CHECK],
            env=nodes.environ | {"SLURMD_NODENAME": node} | environ,
            cwd=nodes.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return done.stderr

    return checked


def test_an_idle_node_whose_gpu_is_broken_is_drained_and_the_reason_says_why(nodes, machine):
    broken = machine("cuInit = 802", slurm.NO_TORCH)
    nodes.node_is("gpu1", cuda="13.0", before=broken)
    nodes.node_is("gpu2", cuda="13.0", before=broken, busy="4711")
    nodes.node_is("gpu3", before=["echo 'no such file server' >&2", "exit 2"])
    nodes.node_is("gpu4", cuda="13.0", before=broken)
    job = nodes.submit("--nodelist=gpu4", "--wrap", "sleep 600")
    slurm.wait_for(lambda: nodes.about("job", job)["JobState"] == "RUNNING", nodes.logs)
    nodes.hook("health", HEALTH_CHECK)
    slurm.wait_for(lambda: nodes.states()[0] == "drained", nodes.logs)
    assert nodes.reason("gpu1").startswith("gpusmoke: fabric-manager-down [")
    slurm.wait_for(lambda: nodes.environments("gpu3"), nodes.logs)
    # Pixi's own exit code is 1 where it refuses an environment, and a run that was ended from outside has a record.
    for otherwise in (["exit 1"], ["echo '{}' >$GPUSMOKE_HEALTH/gpu3.json", "exit 130"]):
        nodes.node_is("gpu3", before=otherwise)
        slurm.wait_for(lambda: len(nodes.environments("gpu3")) > 1, nodes.logs)
    nodes.ask("scancel", job)
    assert [state.rstrip("*+") for state in nodes.states()][1:3] == ["idle", "idle"]
    assert nodes.environments("gpu2") == nodes.environments("gpu4") == []
    seen = nodes.environments("gpu1")
    assert set(seen) == {"cuda13"}
    assert len(seen) <= 2, "since then it is drained; a second check may have been on its way"
    record = json.loads((nodes.folder / "checked/gpu1.json").read_text())
    assert 30 <= record["facts"]["request.check_deadline"]["value"] <= 35


def test_a_driver_that_hangs_is_drained_within_the_minute_that_slurm_gives(nodes):
    nodes.node_is("gpu1", cuda="13.0", hangs="yes")
    nodes.hook("health", HEALTH_CHECK)
    slurm.wait_for(lambda: nodes.states()[0] == "drained", nodes.logs)
    assert nodes.reason("gpu1").startswith("gpusmoke: nvidia-smi did not answer within 20 s [")
    assert nodes.environments("gpu1") == []


def test_what_is_wrong_with_the_environment_that_nodes_share_drains_none(nodes, machine, check):
    nodes.node_is("gpu1", cuda="13.0", before=machine("", slurm.NO_TORCH))
    assert "health-check: gpu-required torch-missing (" in check("gpu1")
    assert nodes.states()[0] == "idle"
    assert (nodes.folder / "checked/gpu1.json").exists()


def test_a_gpu_that_slurm_counts_and_nobody_finds_drains(nodes, machine, check):
    nodes.node_is("gpu1", before=machine(None, slurm.NO_TORCH, cards=False))
    assert check("gpu1") == ""
    assert nodes.reason("gpu1").startswith("gpusmoke: no-gpu [")


def test_smoke_has_what_a_slow_driver_leaves_of_the_minute(nodes, machine, check, instead):
    nodes.node_is("gpu1", cuda="13.0", before=machine("", slurm.NO_TORCH))
    check("gpu1", PATH=instead("nvidia-smi", f'sleep 3; exec {slurm.STAND_INS}/nvidia-smi "$@"'))
    record = json.loads((nodes.folder / "checked/gpu1.json").read_text())
    assert record["facts"]["request.check_deadline"]["value"] <= 35 - 3 * 3


def test_where_slurm_does_not_tell_whether_there_are_jobs_there_may_be_some(nodes, machine, check, instead):
    nodes.node_is("gpu1", cuda="13.0", before=machine("cuInit = 802", slurm.NO_TORCH))
    check(
        "gpu1", PATH=instead("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    )
    assert nodes.environments("gpu1") == []
    assert nodes.states()[0] == "idle"


def test_the_ids_that_the_script_names_are_known():
    known = {name for file in FINDINGS.glob("*.toml") for name in tomllib.loads(file.read_text(encoding="utf-8"))}
    (rule,) = re.findall(r"(?s)^of_the_node\(\) {\n(.*?)^}", HEALTH_CHECK.read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r"[a-z]+(?:-[a-z]+)+(?:-\.\*)?", rule))
    assert len(named) > 10
    assert [name for name in named if not any(re.fullmatch(name, one) for one in known)] == []


def test_as_a_prolog_it_keeps_a_job_from_a_broken_gpu_and_another_node_gets_the_job(nodes, machine):
    nodes.node_is("gpu2", cuda="13.0", before=machine("cuInit = 802", slurm.NO_TORCH))
    nodes.node_is("gpu4", cuda="13.0", before=machine("", slurm.NO_TORCH))
    nodes.hook("prolog", HEALTH_CHECK)
    job = nodes.submit("--exclude=gpu1,gpu3", "--gpus-per-node=1", "--wrap", "echo on $SLURMD_NODENAME")
    assert nodes.ended(job)[0] == "COMPLETED"
    assert nodes.output(job) == "on gpu4\n", "what is wrong there is the environment alone"
    assert "drain" in nodes.states()[1]
    assert nodes.reason("gpu2").startswith("gpusmoke: fabric-manager-down [")
    record = json.loads((nodes.folder / "checked/gpu2.json").read_text())
    assert record["facts"]["env.CUDA_VISIBLE_DEVICES"]["value"] == "0"
    free = nodes.submit("--nodelist=gpu1", "--wrap", f"touch {nodes.folder}/ran")
    assert nodes.ended(free)[0] == "COMPLETED"
    assert (nodes.folder / "ran").exists()
