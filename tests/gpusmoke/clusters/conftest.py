"""Clusters whose nodes are processes of this machine, and what is the matter with each."""

import os
import sys
from pathlib import Path

import pytest
import slurm

HERE = Path(__file__).parent
IN_CHILD = "import sys\nif 'gpusmoke.workers.child' in sys.orig_argv:\n"
SEARCH = [str(HERE.parent / "faults"), str(HERE.parents[2] / "src")]
SEARCH += [one for one in sys.path if "site-packages" in one]


@pytest.fixture
def machine(driver, fake_root, tmp_path):
    """`machine(state, child, cards)`: the lines by which a node's shell has that driver, and its children run that."""

    def lines(state="", child="pass", cards=True):
        folder = tmp_path / f"children-{len(list(tmp_path.glob('children-*')))}"
        folder.mkdir()
        folder.joinpath("sitecustomize.py").write_text(IN_CHILD + "".join(f"    {x}\n" for x in child.split("\n")))
        told = {name: value for name, value in driver(state).items() if name in ("LD_LIBRARY_PATH", "GPUSMOKE_STANDIN")}
        told |= {"PYTHONPATH": os.pathsep.join([str(folder), *SEARCH])}
        told |= {"GPUSMOKE_ROOT": str(fake_root if cards else folder)}
        return [f"export {name}='{value}'" for name, value in told.items()]

    return lines


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = slurm.Slurm(tmp_path_factory.mktemp("slurm"), slurm.GPUS)
    yield cluster
    cluster.stop()


@pytest.fixture
def instead(cluster, tmp_path):
    """`instead(program, line)`: the PATH on which that program, like those before, is that line of a shell."""

    def on_path(program, line):
        folder = tmp_path / "instead"
        folder.mkdir(exist_ok=True)
        (folder / program).write_text(f"#!/bin/bash\n{line}\n")
        (folder / program).chmod(0o755)
        return f"{folder}:{cluster.environ['PATH']}"

    return on_path


@pytest.fixture
def nodes(cluster):
    """The cluster with all of its nodes idle, and without a driver."""
    cluster.ask("scancel", "--partition=all")
    for name in ("health", "prolog"):
        cluster.hook(name)
    slurm.wait_for(lambda: not cluster.processes("health-check") and not cluster.processes(slurm.CHILD))
    for name in slurm.GPUS:
        cluster.node_is(name)
        if "DRAIN" in cluster.about("node", name)["State"]:
            cluster.ask("scontrol", "update", f"nodename={name}", "state=resume")
            cluster.crash(name)  # Slurm waits for a word from it
        cluster.boot(name)
    slurm.wait_for(
        lambda: cluster.states() == ["idle"] * len(slurm.GPUS), lambda: f"{cluster.states()}\n{cluster.logs()}"
    )
    return cluster
