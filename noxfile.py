"""What the tasks run: `nox --no-venv` in Pixi's environments, else in .nox, with the packages of pyproject.toml."""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "scripts"))
import from_pypi  # noqa: E402 - from the folder that has just been made known
from from_pypi import say, stop  # noqa: E402

PIXI = "--no-venv" in sys.argv
# What the torch of pyproject.toml was built for.
BUILD_CUDA = "13.0"

# Four at once, on two cores as well: three left a third of them idle, since many tests wait for programs. Each has
# PyTorch in its memory. A test may take a hundred times as long as another, so who is done takes over what waits.
PARALLEL = ["--numprocesses=4", "--dist=worksteal"]

# The tool's own words are all that should be seen.
logging.getLogger("nox").setLevel(logging.WARNING)

# The sessions share environments, which nox's own can't.
session = functools.partial(nox.session, venv_backend="none")


@session
def doctor(session: nox.Session) -> None:
    """Say what is wrong with GPU or driver."""
    kit(session, "tools")


@session
def audit(session: nox.Session) -> None:
    """Say what the lock holds."""
    kit(session, "tools")


@session
def compare(session: nox.Session) -> None:
    """Say whether a record is slower than an older one."""
    kit(session, "tools")


@session
def fleet(session: nox.Session) -> None:
    """Say which of many machines is broken, slow, missing or odd."""
    kit(session, drawing(session))


@session
def report(session: nox.Session) -> None:
    """Show a record for people."""
    kit(session, drawing(session))


@session
def check(session: nox.Session) -> None:
    """Run a verified kernel on every GPU."""
    kit(session, "gpu")


@session
def bench(session: nox.Session) -> None:
    """Measure matmul speed."""
    kit(session, "gpu")


@session
def soak(session: nox.Session) -> None:
    """Load every GPU, and compare every result."""
    kit(session, "gpu")


@session
def smoke(session: nox.Session) -> None:
    """Prove this machine; before PyTorch is downloaded, doctor says whether the driver can run it."""
    if not PIXI and not from_pypi.is_ready("gpu") and not wants_help(session):
        ask_doctor(session)
    kit(session, "gpu")


@session
def kernels(session: nox.Session) -> None:
    """Build the kit's own CUDA kernels, verify them, and measure them beside cuBLAS."""
    kit(session, "gpu")


@session
def collectives(session: nox.Session) -> None:
    """Measure how fast GPUs exchange data, and verify every result."""
    kit(session, "gpu")


@session
def test(session: nox.Session) -> None:
    """Run the tests, in the repository's root; arguments go to pytest (-n0: one after the other, for --pdb)."""
    folder = Path(os.environ.get("INIT_CWD", ROOT) if PIXI else session.invoked_from)
    arguments = session.posargs
    if folder != ROOT:  # paths keep their meaning
        arguments = [str(folder / a) if (folder / a.split("::")[0]).exists() else a for a in arguments]
    become(session, environment("gpu"), "-m", "pytest", *PARALLEL, *arguments)


@session
def compile(session: nox.Session) -> None:  # noqa: A001 - a session has its function's name
    """Compile every kernel with the compilers of both CUDA lines, for all their architectures."""
    become(session, environment("compile"), "scripts/compile_kernels.py", *session.posargs)


@session
def lint(session: nox.Session) -> None:
    """Run every linter, also after one has failed."""
    tools = str(environment("lint").parent)
    path = os.pathsep.join([tools, os.environ["PATH"]])
    files = repository_files()
    toml = [name for name in files if name.endswith(".toml")]
    workflows = [name for name in files if name.startswith(".github/workflows/")]
    actions = [name for name in files if re.fullmatch(r"\.github/(actions/.*/action|dependabot)\.yml", name)]
    dockerfiles = [name for name in files if Path(name).name == "Dockerfile"]
    checks = [
        (["ruff", "check"], ["."]),
        (["ruff", "format", "--check"], ["."]),
        (["typos", "--force-exclude"], files),
        (["taplo", "lint"], toml),
        (["taplo", "format", "--check", "--diff"], toml),
        (["shellcheck"], [name for name in files if is_shell_script(ROOT / name)]),
        (["zizmor", "--offline", "--persona", "pedantic"], workflows + actions),
        (["actionlint"], workflows),
    ]
    if dockerfiles:  # a project may do without
        checks.append((["hadolint"], dockerfiles))
    pypi, conda = ("actionlint", "PyPI", "pixi run lint"), ("hadolint", "conda-forge", "./scripts/run lint")
    absent, index, command = conda if PIXI else pypi
    if not shutil.which(absent, path=path) and any(check == [absent] for check, _ in checks):
        session.warn(f"{absent}: NOT RUN, since {index} has no package that holds it; `{command}` runs it")
        checks = [(check, paths) for check, paths in checks if check != [absent]]
    failed = [" ".join(command) for command, paths in checks if not passes(command, paths, path)]
    if failed:
        session.error(f"{len(failed)} of {len(checks)} linters failed: {', '.join(failed)}")
    print(f"lint: all {len(checks)} passed")


@session
def rename(session: nox.Session) -> None:
    """Give the repository the name of a project."""
    become(session, environment("tools"), "scripts/rename", *session.posargs)


def environment(name: str) -> Path:
    """The Python of an environment; Pixi's already hold everything."""
    return Path(sys.executable) if PIXI else from_pypi.environment(name)


def kit(session: nox.Session, name: str) -> None:
    """Run a command of the kit where the user stands, so that paths keep their meaning. Help never needs PyTorch."""
    python = environment("tools" if wants_help(session) else name)
    become(session, python, "-m", "gpusmoke", session.name, *session.posargs, folder=session.invoked_from)


def drawing(session: nox.Session) -> str:
    """The environment of a command that only needs what draws a page where one is asked for."""
    return "report" if any(flag.split("=")[0] == "--html" for flag in session.posargs) else "tools"


def wants_help(session: nox.Session) -> bool:
    """Whether the user only asks for the options."""
    return not {"-h", "--help"}.isdisjoint(session.posargs)


def ask_doctor(session: nox.Session) -> None:
    """Stop where the download can't help; doctor's answer is the answer then."""
    command = [environment("tools"), "-P", "-m", "gpusmoke", "doctor", "--build-cuda", BUILD_CUDA]
    command += [flag for flag in session.posargs if flag == "--json"]
    answer = subprocess.run(command, env=kit_environ(), cwd=session.invoked_from, stdout=subprocess.PIPE, timeout=120)
    if answer.returncode:
        sys.stdout.buffer.write(answer.stdout)
        sys.exit(answer.returncode)
    say(f"doctor has nothing against a CUDA {BUILD_CUDA} build of PyTorch here")


def kit_environ() -> dict[str, str]:
    """The kit is used from src/ and, outside Pixi too, has to know which repository it is about."""
    kept = {name: value for name, value in os.environ.items() if PIXI or name != "CONDA_PREFIX"}
    return kept | {"PYTHONPATH": str(ROOT / "src"), "PIXI_PROJECT_ROOT": str(ROOT)}


def become(session: nox.Session, python: Path, *arguments: str, folder: str | Path = ROOT) -> None:
    """Give way to the tool, so that exit code, output and signals are its own: nox would turn every failure into 1."""
    if len(session._runner.manifest) > 1:
        stop(f"name one session at a time: {session.name} takes the place of nox, which then runs no other")
    os.chdir(folder)
    command = [str(python), "-P", *arguments]
    if os.name == "nt":  # its exec does not wait
        sys.exit(subprocess.run(command, env=kit_environ()).returncode)
    os.execve(python, command, kit_environ())  # noqa: S606 - no shell is wanted


# ── Linting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def repository_files() -> list[str]:
    """What git tracks or would track: environments and results are none of a linter's business."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if listing.returncode:
        stop("lint asks git which files are yours, but this is no git repository: git init")
    return [name for name in listing.stdout.split("\0") if (ROOT / name).is_file()]


def is_shell_script(file: Path) -> bool:
    """Whether the first line names a shell that shellcheck knows."""
    with file.open("rb") as text:
        return re.match(rb"#!.*\b(sh|bash)\b", text.readline()) is not None


def passes(command: list[str], paths: list[str], path: str) -> bool:
    """Run a linter; one that is missing, or has no file to look at, fails."""
    name = " ".join(command)
    if not paths:
        print(f"lint: {name}: FAILED, there is no file for it", flush=True)
        return False
    try:
        done = subprocess.run(
            [*command, *paths], cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300
        )
    except FileNotFoundError:
        print(f"lint: {name}: FAILED, {command[0]} is not on PATH", flush=True)
        return False
    print(
        f"lint: {name}: ok" if done.returncode == 0 else f"lint: {name}: FAILED\n{done.stdout}{done.stderr}", flush=True
    )
    return done.returncode == 0
