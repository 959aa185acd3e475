"""A real Slurm on this machine: slurmctld, and a slurmd for each of its nodes, with GPUs that are only counted.

Everything lies in one folder, and runs as the user who runs the tests. On a node `pixi` and `nvidia-smi` are
stand-ins (tests/gpusmoke/clusters/stand_ins): files of `nodes` say what a node has.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAND_INS = ROOT / "tests/gpusmoke/clusters/stand_ins"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "squeue")
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEADLINE_SECONDS = 100  # where other tests take the processors
PORTS = range(10000, 20000)  # below those of nccl.sbatch, and those that connections are given
NO_TORCH = "sys.modules['torch'] = None"  # what such a process begins with, where PyTorch is to be missing
CHILD = "gpusmoke.workers.child"  # as long as a node is at work, it has such processes
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT")

# Timers as short as Slurm takes them, but the one for records to be kept in, which takes a busy machine seconds. A
# requeued job waits until the credential of its first life has expired. WaitTime is what some sites have: so long after
# the first task of a step has ended, Slurm ends the others.
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MailProg=/bin/true
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,nohold_on_prolog_fail
BatchStartTimeout=200
MessageTimeout=60
SlurmdTimeout=6
WaitTime=1
KillWait=20
ReturnToService=2
HealthCheckProgram={folder}/health
HealthCheckInterval=1
HealthCheckNodeState=IDLE,CYCLE
Prolog={folder}/prolog
PrologFlags=Alloc,DeferBatch
PartitionName=all Nodes=ALL Default=YES MaxTime=60
"""
GPUS = {"gpu1": 1, "gpu2": 2, "gpu3": 1, "gpu4": 1}
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=64000 Gres=gpu:{gpus}\n"


def missing() -> list[str]:
    """The programs of Slurm that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=SYSTEM) is None]


# For the tests that have a cluster.
MARKS = [
    pytest.mark.long,
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="Slurm's daemons run on Linux"),
    pytest.mark.skipif(bool(missing()), reason="needs Slurm: apt-get install slurmctld slurmd slurm-client munge"),
    pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="meant for a machine without a GPU"),
]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, now or while a daemon is not up: none that the system would give to others."""
    ports: list[int] = []
    while len(ports) < count:
        port = secrets.choice(PORTS)
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            ports += [port] if port not in ports else []
    return ports


def wait_for(what: Callable[[], object], why: Callable[[], str] = lambda: "") -> None:
    """Wait until `what` is true; AssertionError with `why` where it takes too long."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < deadline, why()
        time.sleep(0.1)


def variables(process: int) -> dict[str, str]:
    """What a process was started with; nothing where it is gone, or another user's."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{process}/environ").read_text(errors="replace")
        return dict(one.split("=", 1) for one in text.split("\0") if "=" in one)
    return {}


class Slurm:
    """The cluster. `gpus` is how many each node has, by name."""

    def __init__(self, folder: Path, gpus: dict[str, int]) -> None:
        self.folder, self.gpus = folder, gpus
        self.nodes, self.submit_from = folder / "nodes", folder / "home"
        for name in ("munge", "state", "dev", "nodes", "home", *gpus):
            (folder / name).mkdir()
        (folder / "munge").chmod(0o755)
        (folder / "munge/key").write_bytes(os.urandom(128))
        (folder / "munge/key").chmod(0o600)
        for number in range(max(gpus.values())):  # Slurm wants devices, and numbers them by their names
            (folder / f"dev/nvidia{number}").symlink_to("/dev/null")
        self.environ = {
            "PATH": f"{STAND_INS}:{SYSTEM}",
            "HOME": str(self.submit_from),
            "SLURM_CONF": str(folder / "slurm.conf"),
            "NODES": str(self.nodes),
            "REAL_PYTHON": sys.executable,
            "NO_COLOR": "1",
            "OMP_NUM_THREADS": "1",
            "GPUSMOKE_HEALTH": str(folder / "checked"),
        }
        for name in ("health", "prolog"):
            self.hook(name)
        self._started: list[subprocess.Popen[bytes]] = []
        self._configure()
        names = {option: str(folder / "munge" / option) for option in ("socket", "pid", "log", "seed")}
        munge = [f"--{'socket' if name == 'socket' else f'{name}-file'}={path}" for name, path in names.items()]
        self._start("munged", "--foreground", "--force", f"--key-file={folder / 'munge/key'}", *munge)
        wait_for((folder / "munge/socket").exists)
        self._start("slurmctld", "-D", "-c")
        for name in gpus:
            self.boot(name)
        wait_for(lambda: set(self.states()) == {"idle"}, self.logs)

    def _configure(self) -> None:
        import pwd  # Windows has none, and looks for tests in the files that need this one

        host, user = socket.gethostname().split(".")[0], pwd.getpwuid(os.geteuid()).pw_name
        ports = free_ports(1 + len(self.gpus))
        text = CONFIG.format(folder=self.folder, host=host, user=user, ports=ports)
        for port, (name, gpus) in zip(ports[1:], self.gpus.items(), strict=True):
            text += NODE.format(name=name, host=host, port=port, gpus=gpus)
        (self.folder / "slurm.conf").write_text(text)
        devices = {name: f"{self.folder}/dev/nvidia[0-{gpus - 1}]" for name, gpus in self.gpus.items()}
        lines = [f"NodeName={name} Name=gpu File={file}\n" for name, file in devices.items()]
        (self.folder / "gres.conf").write_text("".join(lines))

    def _start(self, program: str, *arguments: str) -> None:
        self._started.append(
            subprocess.Popen(
                [shutil.which(program, path=SYSTEM) or program, *arguments],
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def boot(self, node: str) -> None:
        """Start the node's slurmd, where it does not run."""
        if self.processes("slurmd", node):
            return
        self._start("slurmd", "-D", "-N", node)

    def crash(self, node: str) -> None:
        """Kill all that runs on the node, and its slurmd."""
        theirs = [one for one in self.processes() if variables(one).get("SLURMD_NODENAME") == node]
        for process in [*self.processes("slurmd", node), *theirs]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_for(lambda: not self.processes("slurmd", node))  # else boot may still see it

    def ask(self, *command: str) -> str:
        """What one of Slurm's programs prints."""
        done = subprocess.run(
            command, env=self.environ, cwd=self.submit_from, capture_output=True, text=True, timeout=DEADLINE_SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def states(self) -> list[str]:
        """Each node's state."""
        return self.ask("sinfo", "--noheader", "--Node", "--format=%T").split()

    def about(self, kind: str, name: str) -> dict[str, str]:
        """What `scontrol show` tells of a job or a node."""
        words = self.ask("scontrol", "--oneliner", "show", kind, name).split(" ")
        return dict(word.split("=", 1) for word in words if "=" in word)

    def reason(self, node: str) -> str:
        """Why the node takes no jobs."""
        return self.ask("scontrol", "show", "node", node).partition(" Reason=")[2].split("\n")[0]

    def processes(self, *words: str) -> list[int]:
        """Processes of this cluster whose command lines hold all of the words."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            process = int(folder.name)
            if variables(process).get("SLURM_CONF") == self.environ["SLURM_CONF"]:
                with contextlib.suppress(OSError):  # it is gone by now
                    command = (folder / "cmdline").read_text(errors="replace").split("\0")
                    found += [process] if all(any(word in part for part in command) for word in words) else []
        return found

    def node_is(
        self,
        name: str,
        *,
        cuda: str | None = None,
        before: Sequence[str] = (),
        busy: str | None = None,
        hangs: str | None = None,
    ) -> None:
        """What the driver of a node runs, the lines of a shell before the kit starts there, and who has its GPU.

        `hangs`, where nvidia-smi never answers.
        """
        contents = {"": "\n".join(before) or None, ".cuda": cuda, ".busy": busy, ".hangs": hangs, ".environment": None}
        for suffix, content in contents.items():
            path = self.nodes / f"{name}{suffix}"
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_text(f"{content}\n")

    def environments(self, name: str) -> list[str]:
        """The environments of pixi.toml that were asked for on a node."""
        path = self.nodes / f"{name}.environment"
        return path.read_text().split() if path.exists() else []

    def hook(self, name: str, program: Path | None = None) -> None:
        """What Slurm runs as "health" on idle nodes, or as "prolog" before jobs, from now on."""
        file = self.folder / f"{name}.new"
        lines = [f"export {variable}='{value}'" for variable, value in self.environ.items()] if program else []
        file.write_text("\n".join(["#!/bin/bash", *lines, f"exec {program}" if program else "exit 0", ""]))
        file.chmod(0o755)
        file.rename(self.folder / name)

    def submit(self, *arguments: str, **environ: str) -> str:
        """`sbatch ARGUMENTS`; returns the job's number."""
        done = subprocess.run(
            ["sbatch", "--parsable", *arguments],
            env=self.environ | environ,
            cwd=self.submit_from,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ended(self, job: str) -> tuple[str, str]:
        """Wait for the job; its state and exit code, as Slurm tells them."""
        wait_for(lambda: self.about("job", job)["JobState"] in ENDED, lambda: self.output(job) + self.logs())
        about = self.about("job", job)
        return about["JobState"], about["ExitCode"]

    def output(self, job: str) -> str:
        """What the job itself printed."""
        path = self.submit_from / f"slurm-{job}.out"
        return path.read_text() if path.exists() else ""

    def results(self, job: str) -> Path:
        """Where records and logs of the job are."""
        return self.submit_from / "results" / job

    def logs(self) -> str:
        """The ends of all daemons' logs."""
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        """End everything that belongs to the cluster."""
        for process in self._started[::-1]:
            process.kill()
            process.wait()
        for left in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
