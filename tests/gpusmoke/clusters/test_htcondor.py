"""scripts/htcondor/smoke.sub, read by HTCondor's own bindings: the jobs that it makes, and machines that they match."""

import os
import re
import subprocess
from pathlib import Path

import pytest

os.environ.setdefault("CONDOR_CONFIG", os.devnull)
htcondor = pytest.importorskip("htcondor", reason="needs HTCondor's bindings: pip install htcondor")
classad = pytest.importorskip("classad")
if not hasattr(htcondor.Submit, "jobs"):
    pytest.skip("needs bindings that make jobs of a submit file: pip install 'htcondor<25'", allow_module_level=True)

ROOT = Path(__file__).parents[3]
SUBMIT = ROOT / "scripts/htcondor/smoke.sub"
NODES = "gpu01.example.org, 8\ngpu02.example.org, 2\n"
IMAGE = "docker://ghcr.io/me/mine@sha256:aa"
CLUSTER = 7


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """`jobs(NAME=VALUE, …)`: the jobs of condor_submit with these words before the file, in a clone's root."""
    (tmp_path / "nodes.txt").write_text(NODES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    text = SUBMIT.read_text(encoding="utf-8")

    def made(old="", new="", **words):
        assert old in text
        lines = [f"{name} = {value}\n" for name, value in words.items()]
        submit = htcondor.Submit("".join(lines) + text.replace(old, new))
        return list(submit.jobs(itemdata=submit.itemdata(), clusterid=CLUSTER, owner="me"))

    return made


def machine(name="gpu01.example.org", gpus=8, driver=13.0, capability=9.0):
    """What a machine says of itself, with GPUs that are free."""
    properties = f"[ Capability = {capability}; DriverVersion = {driver} ]"
    ids = [f"GPUs_GPU_{number}" for number in range(gpus)]
    told = {"Machine": f'"{name}"', "Arch": '"X86_64"', "OpSys": '"LINUX"', "Disk": 10**9, "Memory": 10**6, "Cpus": 64}
    told |= {
        "Requirements": "true",
        "HasFileTransfer": "true",
        "HasContainer": "true",
        "HasDockerURL": "true",
        "GPUs_DriverVersion": driver,
    }
    told |= {"AvailableGPUs": "{" + ",".join(ids) + "}"} | dict.fromkeys(ids, properties)
    return classad.ClassAd("[" + "; ".join(f"{name} = {value}" for name, value in told.items()) + "]")


def fits(job, machine):
    """Whether the job's requirements are met."""
    return job.symmetricMatch(machine)


def test_each_node_of_the_list_gets_a_job_with_all_its_gpus_and_a_name_for_its_record(jobs):
    first, second = jobs()
    assert [job["RequestGPUs"] for job in (first, second)] == [8, 2]
    assert [job.eval("RequestCpus") for job in (first, second)] == [16, 4]
    assert [job.eval("RequestMemory") for job in (first, second)] == [65536, 16384]
    for job, name in ((first, "gpu01.example.org"), (second, "gpu02.example.org")):
        assert f"GPUSMOKE_NODE={name}" in job["Environment"]
        assert f"GPUSMOKE_RECORD=results/{CLUSTER}" in job["Environment"]
        assert job["TransferOutput"] == "results"
        assert (job["ShouldTransferFiles"], job["WhenToTransferOutput"]) == ("YES", "ON_EXIT")
        assert job["Args"] == "smoke --require-gpu"


def test_without_an_image_the_shared_clone_is_run_where_it_is(jobs, tmp_path):
    job, _ = jobs()
    assert job["Cmd"] == f"{tmp_path}/scripts/on-node"
    assert job["TransferExecutable"] is False
    assert f"PATH={os.environ['PATH']}" in job["Environment"]
    assert "WantContainer" not in job


def test_with_an_image_it_runs_in_the_container_universe_with_nothing_of_the_host(jobs):
    job, _ = jobs(IMAGE=IMAGE, OPTIONS="--seconds 60")
    assert (job["WantContainer"], job["ContainerImage"]) == (True, IMAGE)
    assert job.get("TransferExecutable", True) is True
    assert job["Args"] == "smoke --require-gpu --seconds 60"
    assert "PATH=" not in job["Environment"]
    assert fits(job, machine())


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        ({"name": "gpu03.example.org"}, {}),
        ({"driver": 11.8}, {}),
        ({"driver": 12.8}, {"CUDA": "13.0"}),
        ({"capability": 7.0}, {}),
        ({"capability": 8.9}, {"CAPABILITY": "9.0"}),
        ({"gpus": 4}, {}),
    ],
)
def test_a_machine_that_lacks_something_is_not_matched(jobs, lacks, words):
    job, _ = jobs(**words)
    assert fits(job, machine())
    assert not fits(job, machine(**lacks))


def test_the_list_of_nodes_and_the_words_that_are_shown_are_those_of_the_file():
    head, page = (path.read_text(encoding="utf-8") for path in (SUBMIT, ROOT / "docs/clusters.md"))
    listing = r"condor_status -constraint '(.+)' -af:, (\w+) (\w+) > nodes.txt"
    (shown,) = re.findall(listing, page)
    assert re.findall(listing, head) == [shown]
    constraint = classad.ExprTree(shown[0])
    there = {"PartitionableSlot": True, "TotalGPUs": 8}
    assert constraint.eval(classad.ClassAd(there)) is True
    assert constraint.eval(classad.ClassAd(there | {"TotalGPUs": 0})) is False
    for name in re.findall(r"\b([A-Z]+)=", "\n".join(re.findall(r"^condor_submit .*", page, re.MULTILINE))):
        assert f"$({name}" in head, name


def test_requirements_that_are_set_twice_are_the_second_ones(jobs):
    """Why they stand in one line."""
    job, _ = jobs("request_disk", "Requirements = (TARGET.Cpus > 1)\nrequest_disk")
    assert fits(job, machine(driver=11.8))


def test_what_a_job_would_run_leaves_its_log_where_its_files_come_back_from(jobs, tmp_path):
    """On a machine without Pixi, Python and all else: the log says so, and HTCondor has a folder to bring back."""
    job, _ = jobs()
    environ = dict(one.split("=", 1) for one in job["Environment"].split(" ") if one.startswith("GPUSMOKE"))
    done = subprocess.run(
        ["/bin/bash", ROOT / "scripts/on-node", *job["Args"].split()],
        cwd=tmp_path,
        env=environ | {"PATH": "/usr/bin:/bin", "GPUSMOKE_IMAGE": "none.sif"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
    assert "no apptainer on PATH" in (tmp_path / f"results/{CLUSTER}/gpu01.example.org.log").read_text()
