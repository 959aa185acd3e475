"""scripts/slurm, submitted to a real Slurm whose nodes are processes of this machine, with stand-ins for their GPUs."""

import json
import re
import shlex
import subprocess

import pytest
import slurm

pytest.importorskip("torch")
pytestmark = slurm.MARKS

UNFIT = "node configuration is not available|Invalid node name specified"
PAGE = slurm.ROOT / "docs/clusters.md"
NCCL = slurm.ROOT / "scripts/slurm/nccl.sbatch"
SMOKE = slurm.ROOT / "scripts/slurm/smoke.sbatch"
HEALTHY = "import standin_gpu; standin_gpu.play_quickly()"
# As long as it is imported, so long is the node at work.
WAITING = "import time; time.sleep(600)"
# The job's torchrun on another node, by the port that nccl.sbatch gives it.
STORE_LISTENS = "until grep -q :$(printf %04X $((20000 + SLURM_JOB_ID))).*:0000.0A /proc/net/tcp*; do sleep 0.1; done"


def records(folder):
    return {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}


def problems(record):
    return {one["id"] for one in record["findings"] if one["severity"] == "problem"}


def working(cluster, count):
    """Wait until that many nodes are at work."""
    slurm.wait_for(lambda: len(cluster.processes(slurm.CHILD)) == count, cluster.logs)


def shown(program):
    """The lines of the page and of the scripts' heads that begin with a program of Slurm, without what is a comment."""
    page = PAGE.read_text(encoding="utf-8")
    heads = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SMOKE.parent.iterdir()))
    lines = re.findall(rf"(?m)^({program} .*)$|`({program} [^`]+)`", page)
    lines += re.findall(rf"(?m)^#     (?:\w+=\S+ )?({program} .*)()$", heads)
    return [re.split(r"  +#?", first or second)[0] for first, second in lines]


def test_slurm_takes_every_option_that_is_shown(nodes):
    """These nodes have other names, and no eight GPUs: Slurm says so once it has understood what it is asked for."""
    lines = [*shown("sbatch"), *shown("srun")]
    assert len(lines) >= 8
    for line in lines:
        assert "--mem" in line, "a share of the node's memory for one processor is too little for PyTorch"
        assert not re.search(r"[^']\bgpu\[", line), "zsh takes it for a pattern of files"
        program, *words = shlex.split(line)
        done = subprocess.run(
            [program, "--test-only", *words],
            env=nodes.environ,
            cwd=slurm.ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0 or re.search(UNFIT, done.stderr), (line, done.stderr)


def test_the_settings_that_are_shown_are_those_that_were_tried(nodes):
    blocks = re.findall(r"```ini\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    tried = dict(line.split("=", 1) for line in slurm.CONFIG.split())
    health, prolog = (dict(re.findall(r"^(\w+)=(.*)$", block, re.MULTILINE)) for block in blocks)
    assert health.keys() == {name for name in tried if name.startswith("HealthCheck")}
    assert health["HealthCheckNodeState"] == tried["HealthCheckNodeState"]
    assert prolog.pop("Prolog") == health["HealthCheckProgram"]
    assert prolog.pop("SchedulerParameters") in tried["SchedulerParameters"].split(",")
    assert prolog.items() <= tried.items()


def test_each_node_gets_its_environment_and_leaves_its_record_and_the_job_fails_where_one_is_broken(
    nodes, machine, valid
):
    nodes.node_is("gpu1", cuda="13.0", before=machine("", HEALTHY))
    nodes.node_is("gpu2", cuda="12.8", before=machine("cuInit = 802", slurm.NO_TORCH))
    nodes.node_is("gpu3", before=machine(None, slurm.NO_TORCH))
    nodes.node_is("gpu4", cuda="14.1", before=["echo 'not installed, and no network' >&2", "exit 1"])
    # What a node has not, it does not get: --exclusive gives all that is there.
    job = nodes.submit("--nodes=4", "--exclusive", "--mem=0", str(SMOKE), "--seconds", "1")
    state, code = nodes.ended(job)
    assert (state, code) == ("FAILED", "1:0"), nodes.output(job)
    found = records(nodes.results(job))
    assert found.keys() == {"gpu1.json", "gpu2.json", "gpu3.json"}
    for name, record in found.items():
        valid(record)
        assert record["facts"]["request.node"] == {"value": name.removesuffix(".json"), "source": "command line"}
    assert {name: nodes.environments(name)[0] for name in slurm.GPUS} == {
        "gpu1": "cuda13",
        "gpu2": "cuda12",
        "gpu3": "doctor",
        "gpu4": "cuda13",
    }
    healthy = found["gpu1.json"]
    assert (problems(healthy), healthy["verdict"]) == (set(), "healthy"), (nodes.results(job) / "gpu1.log").read_text()
    assert {row["gpu"] for row in healthy["measurements"]} == {0}
    assert [found[f"gpu{n}.json"]["facts"]["env.CUDA_VISIBLE_DEVICES"]["value"] for n in (1, 2)] == ["0", "0,1"]
    assert "fabric-manager" in " ".join(problems(found["gpu2.json"]))
    assert problems(found["gpu3.json"]) >= {"gpu-required"}
    assert "not installed, and no network" in (nodes.results(job) / "gpu4.log").read_text()
    report = nodes.output(job)
    assert re.findall(r"^(BROKEN|MISSING) +(\S+)", report, re.MULTILINE) == [
        ("BROKEN", "gpu2"),
        ("BROKEN", "gpu3"),
        ("MISSING", "gpu4"),
    ]
    assert re.search(r"^healthy +1 of 4 nodes", report, re.MULTILINE)
    assert "fabric-manager-down" in report


def test_what_a_cancelled_job_had_is_kept_and_no_attempt_writes_over_another(nodes, machine):
    for name in ("gpu1", "gpu2"):
        nodes.node_is(name, cuda="13.0", before=machine("", WAITING))
    job = nodes.submit("--nodelist=gpu[1-2]", "--gpus-per-node=1", str(SMOKE))
    working(nodes, 2)
    for name in ("gpu1", "gpu2"):
        nodes.node_is(name, cuda="13.0", before=machine("", slurm.NO_TORCH))
    nodes.ask("scontrol", "requeue", job)
    first = nodes.results(job) / "gpu1.json"
    slurm.wait_for(lambda: first.exists() and first.read_text(), nodes.logs)
    before = first.read_text()
    assert json.loads(before)["complete"] is False
    assert nodes.ended(job) == ("FAILED", "1:0")
    found = records(nodes.results(job))
    assert first.read_text() == before
    logs = "\n".join(path.read_text() for path in sorted(nodes.results(job).glob("*.log")))
    assert sorted(found) == ["gpu1-2.json", "gpu1.json", "gpu2-2.json", "gpu2.json"], logs
    for name in ("gpu1", "gpu2"):
        assert problems(found[f"{name}.json"]) == {"interrupted"}
        assert "torch-missing" in problems(found[f"{name}-2.json"])
        assert found[f"{name}-2.json"]["facts"]["request.node"]["value"] == name
    assert re.search(r"^BROKEN +gpu\[1-2\] +gpu-required", nodes.output(job), re.MULTILINE), "of the second attempt"


def test_a_cancelled_job_leaves_what_its_nodes_had(nodes, machine):
    nodes.node_is("gpu2", cuda="13.0", before=machine("devices = 2", WAITING))
    job = nodes.submit("--nodelist=gpu2", "--gpus-per-node=2", "--mem-per-gpu=8G", str(SMOKE))
    working(nodes, 2)
    assert nodes.about("job", job)["TRES"].startswith("cpu=4,mem=16G,")
    nodes.ask("scancel", job)
    assert nodes.ended(job)[0] == "CANCELLED"
    record = nodes.results(job) / "gpu2.json"
    slurm.wait_for(lambda: record.exists() and record.read_text(), nodes.logs)
    assert problems(json.loads(record.read_text())) == {"interrupted"}


def test_a_minute_before_its_end_the_job_takes_what_there_is(nodes, machine):
    """Slurm counts in minutes; so its signal is sent by hand."""
    nodes.node_is("gpu1", cuda="13.0", before=machine("", WAITING))
    job = nodes.submit("--nodelist=gpu1", "--gpus-per-node=1", str(SMOKE))
    working(nodes, 1)
    nodes.ask("scancel", "--batch", "--signal=USR1", job)
    assert nodes.ended(job)[0] == "FAILED"
    assert problems(records(nodes.results(job))["gpu1.json"]) == {"interrupted"}
    assert "a minute left" in nodes.output(job)
    assert "interrupted" in nodes.output(job)


def test_the_signal_may_come_before_anything_has_begun(nodes, instead):
    """As it does where --time is a minute."""
    path = instead("scontrol", 'scancel --batch --signal=USR1 "$SLURM_JOB_ID"; sleep 1; exec /usr/bin/scontrol "$@"')
    job = nodes.submit("--nodelist=gpu1", "--gpus-per-node=1", str(SMOKE), PATH=path)
    assert nodes.ended(job) == ("FAILED", "2:0")
    assert "nothing has begun: give it more" in nodes.output(job)


def test_an_image_is_shown_the_records_wherever_the_job_runs(nodes, instead):
    path = instead("apptainer", 'echo "$PWD shows $4 to ${*:9}" >>"$NODES/image"')
    job = nodes.submit(
        "--nodelist=gpu1", "--gpus-per-node=1", "--chdir=/", str(SMOKE), PATH=path, GPUSMOKE_IMAGE="check.sif"
    )
    nodes.ended(job)
    results = nodes.results(job)
    smoke, fleet = (nodes.nodes / "image").read_text().splitlines()
    assert smoke == f"/ shows {results} to smoke --require-gpu --results {results} --node gpu1"
    assert fleet == f"{results} shows {results} to fleet {results} --expect gpu1"


def test_a_node_that_dies_does_not_end_the_others(nodes, machine):
    for name in ("gpu1", "gpu2"):
        nodes.node_is(name, cuda="13.0", before=machine("", WAITING))
    job = nodes.submit("--nodelist=gpu[1-2]", "--gpus-per-node=1", str(SMOKE))
    working(nodes, 2)
    nodes.crash("gpu2")
    # Slurm itself finds out after half a minute, and does the same.
    nodes.ask("scontrol", "update", "nodename=gpu2", "state=down", "reason=died")
    assert nodes.about("job", job)["JobState"] == "RUNNING"
    nodes.ask("scancel", "--signal=TERM", job)
    assert nodes.ended(job)[0] == "FAILED"
    assert set(records(nodes.results(job))) == {"gpu1.json"}
    assert re.search(r"^MISSING +gpu2 ", nodes.output(job), re.MULTILINE)


def test_ranks_of_two_nodes_meet_and_the_first_one_leaves_a_record(nodes, machine, valid):
    for name in ("gpu1", "gpu2"):
        nodes.node_is(name, cuda="13.0", before=machine(None, cards=False))
    options = ["--backend", "gloo", "--op", "all-reduce", "-b", "1K", "-e", "1K", "-n", "1", "-w", "0"]
    job = nodes.submit("--nodelist=gpu[1-2]", str(NCCL), *options, GPUSMOKE_RANKS="1")
    state = nodes.ended(job)
    assert state == ("COMPLETED", "0:0"), "\n".join(path.read_text() for path in nodes.results(job).glob("*.log"))
    ((name, record),) = records(nodes.results(job)).items()
    valid(record)
    assert name.startswith("collectives-")
    assert record["verdict"] == "healthy"
    assert record["measurements"][0]["ranks"] == 2
    assert (nodes.results(job) / "gpu2.log").exists()


def test_names_of_nodes_that_do_not_fit_into_a_pipe_end_no_job(nodes, instead):
    hostnames = (
        '[[ $2 != hostnames ]] || { echo gpu1 && exec seq -f "another-%.0f" 100000; }; exec /usr/bin/scontrol "$@"'
    )
    instead("scontrol", hostnames)
    path = instead("srun", 'printf "%s\\n" "$@"')
    job = nodes.submit("--nodelist=gpu1", str(NCCL), PATH=path)
    assert nodes.ended(job)[0] == "COMPLETED", nodes.output(job)
    assert f"--rdzv-endpoint=127.0.0.1:{20000 + int(job)}" in nodes.output(job)


def test_ranks_live_on_where_a_node_dies_and_say_which_one_is_lost(nodes, machine):
    nodes.node_is("gpu1", cuda="13.0", before=machine(None, cards=False))
    # The first one there has torchrun's store, with which all would end; here all nodes are one machine.
    nodes.node_is("gpu2", cuda="13.0", before=[*machine(None, cards=False), STORE_LISTENS])
    options = ["--backend", "gloo", "--op", "all-reduce", "-b", "1K", "-e", "1K", "-n", "10000", "--timeout", "10"]
    job = nodes.submit("--nodelist=gpu[1-2]", str(NCCL), *options, GPUSMOKE_RANKS="1")
    working(nodes, 2)
    nodes.crash("gpu2")
    nodes.ask("scontrol", "update", "nodename=gpu2", "state=down", "reason=died")
    log = nodes.results(job) / "gpu1.log"
    slurm.wait_for(lambda: "rank 1" in log.read_text(), log.read_text)
