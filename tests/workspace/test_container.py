"""container/Dockerfile, built and run for real by buildah, with stand-ins for Pixi and for the base images."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("buildah") is None, reason="needs buildah: apt-get install buildah"),
    pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, to build images in a chroot"),
]

ROOT = Path(__file__).parents[2]
PIXI = Path(__file__).parent / "stand_ins/container/pixi"
SOURCES = ("container/Dockerfile", ".dockerignore", "LICENSE", "pixi.toml", "pixi.lock")
# All that a base image holds here; the two named in the Dockerfile differ by Pixi.
PROGRAMS = ("bash", "cat", "chmod", "cp", "find", "mkdir", "sh", "sleep")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Images:
    """A builder of images, and a copy of this repository to build from; everything lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repository = folder, folder / "repository"
        (folder / "tmp").mkdir()
        for name in SOURCES:
            (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.repository / name)
        shutil.copytree(ROOT / "src", self.repository / "src")
        (self.repository / "src/__pycache__").mkdir(exist_ok=True)
        (self.repository / "src/__pycache__/stale.pyc").touch()
        self.dockerfile = self.repository / "container/Dockerfile"
        for image in re.findall(r"^FROM (\S+)", self.dockerfile.read_text(), re.MULTILINE):
            self.base(image)

    def buildah(self, *arguments: str) -> subprocess.CompletedProcess:
        """Without the settings, images and registries of this machine."""
        storage = [f"--{name}={self.folder / name}" for name in ("root", "runroot")]
        return subprocess.run(
            ["buildah", *storage, "--storage-driver=vfs", *arguments],
            cwd=self.folder,
            env={"PATH": PATH, "HOME": str(self.folder), "TMPDIR": str(self.folder / "tmp")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def done(self, *arguments: str) -> str:
        """What it printed; it has to succeed."""
        done = self.buildah(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def base(self, image: str) -> None:
        """An image of that name with this machine's PROGRAMS, and with Pixi where the name says so."""
        context = self.folder / "base"
        for program in PROGRAMS:
            path = shutil.which(program, path="/bin")
            libraries = re.findall(r"(/\S+) \(0x", subprocess.check_output(["ldd", path], text=True))
            for file in (path, *libraries):
                copy = context / "files" / file.removeprefix("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)
        pixi = context / "files/usr/local/bin/pixi"
        pixi.parent.mkdir(parents=True)
        if "pixi" in image:
            shutil.copy(PIXI, pixi)
        (context / "Dockerfile").write_text(f"FROM scratch\nCOPY files /\nENV PATH={PATH}\n")
        self.done("bud", "-t", image, str(context))
        shutil.rmtree(context)

    def build(self, *arguments: str, image: str = "image") -> subprocess.CompletedProcess:
        """As `docker build` in the repository, offline."""
        command = ["bud", "--isolation=chroot", "--pull-never", "-f", str(self.dockerfile), "-t", image]
        return self.buildah(*command, *arguments, str(self.repository))

    def config(self, image: str) -> dict:
        """What the image says of itself."""
        return json.loads(self.done("inspect", "--type=image", image))["OCIv1"]

    def run(self, image: str, *command: str, options: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess:
        """As `docker run`: the entry point with the command, or with the image's own."""
        config = self.config(image)["config"]
        settings = [f"--env={name}={value}" for name, value in env.items()]
        container = self.done("from", "--pull-never", image)
        command = [*config["Entrypoint"], *(command or config["Cmd"])]
        done = self.buildah("run", "--isolation=chroot", *settings, *options, container, "--", *command)
        self.done("rm", container)
        return done


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return Images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def images(builder):
    """With the Dockerfile as it is in this repository."""
    shutil.copy(ROOT / "container/Dockerfile", builder.dockerfile)
    return builder


@pytest.fixture(scope="module")
def image(builder):
    """The one for the CPU."""
    shutil.copy(ROOT / "container/Dockerfile", builder.dockerfile)
    done = builder.build("--build-arg=ENVIRONMENT=cpu", image="cpu")
    assert done.returncode == 0, done.stderr
    return "cpu"


def edited(images, old, new):
    text = images.dockerfile.read_text()
    assert old in text
    images.dockerfile.write_text(text.replace(old, new))


def smoke_of(environment):
    """What the stand-in Python says where the image's own command runs it as it should."""
    python = f"/app/.pixi/envs/{environment}/bin/python"
    return [python, "-P -m gpusmoke smoke", "user 1000", "/work", "/app/src", "override none"]


@pytest.mark.parametrize(("arguments", "environment"), [((), "cuda13"), (["--build-arg=ENVIRONMENT=cuda12"], "cuda12")])
def test_the_argument_picks_the_environment_and_smoke_runs_in_it_as_a_user_who_may_write_records(
    images, arguments, environment
):
    assert images.build(*arguments).returncode == 0
    done = images.run("image")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == smoke_of(environment)


def test_so_it_does_in_the_one_for_the_cpu(images, image):
    done = images.run(image)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == smoke_of("cpu")


def test_what_it_says_shows_another_dockerfile(images):
    edited(images, "USER 1000:1000\n", "ENV CONDA_OVERRIDE_CUDA=13.0\n")
    edited(images, '"smoke"]', '"check"]')
    edited(images, "src /app/src\n", "src /app/src\nENV PYTHONPATH=/x\n")
    assert images.build("--build-arg=ENVIRONMENT=cpu").returncode == 0
    done = images.run("image")
    assert done.returncode == 0, done.stderr
    python, *_, kit, override = smoke_of("cpu")
    assert (kit, override) == ("/app/src", "override none")
    assert done.stdout.splitlines() == [python, "-P -m gpusmoke check", "user 0", "/work", kit, "override 13.0"]


def test_an_environment_that_was_moved_does_not_run(images):
    edited(images, "$ENVIRONMENT /app/.pixi/envs/$ENVIRONMENT", "$ENVIRONMENT /moved")
    assert images.build("--build-arg=ENVIRONMENT=cpu").returncode == 0
    assert images.run("image").returncode == 127


@pytest.mark.parametrize("code", [0, 1, 130])
def test_a_command_of_ones_own_runs_in_the_environment_and_its_exit_code_goes_through(images, image, code):
    done = images.run(image, "python", "my train.py", "--fast", EXIT=str(code))
    assert done.returncode == code
    assert done.stdout.splitlines()[:2] == ["/app/.pixi/envs/cpu/bin/python", "my train.py --fast"]


def test_any_other_user_may_write_records_too(images, image):
    done = images.run(image, options=("--user=4321",))
    assert (done.returncode, done.stderr) == (0, "")
    assert "user 4321" in done.stdout


def test_nothing_of_the_build_is_left_but_the_environment_and_the_kit(images, image):
    files = set(images.run(image, "find", "/app", "-type", "f").stdout.splitlines())
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src"]
    kit = {f"/app/{name}" for name in subprocess.check_output(command, cwd=ROOT, text=True, timeout=60).splitlines()}
    assert len(kit) > 50
    environment = {f"/app/.pixi/envs/cpu/bin/{name}" for name in ("interpreter", "python")}
    assert files == kit | environment | {"/app/activate", "/app/LICENSE"}
    assert images.run(image, "pixi").returncode == 127


def test_neither_settings_nor_history_tell_of_a_driver(images, image):
    config = images.config(image)
    assert len(config["history"]) > 3
    assert "CONDA_OVERRIDE" not in json.dumps(config)
    assert config["config"]["User"] == "1000:1000", "a number, for Kubernetes"
    labels = {name.rpartition(".")[2] for name in config["config"]["Labels"] if "org.opencontainers" in name}
    assert labels == {"title", "description", "licenses"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("export CONDA_OVERRIDE_CUDA=13.0", "true", "missing virtual packages: __cuda >= 13.0"),
        ("export CONDA_OVERRIDE_CUDA=13.0 \\\n    && ", "CONDA_OVERRIDE_CUDA=13.0 ", "missing virtual packages"),
        ("=13.0", "=12", "missing virtual packages: __cuda >= 13.0"),
        ("install --locked", "install", "not --locked"),
        ("shell-hook --locked", "shell-hook", "not --locked"),
        (" LICENSE ./", " ./", "'LICENSE' does not exist"),
        ("ENVIRONMENT=cuda13", "ENVIRONMENT=cuda14", "unknown environment 'cuda14'"),
        ("AS build\nARG ENVIRONMENT", "AS build", "no environment is named"),
    ],
)
def test_a_build_that_could_not_be_trusted_fails(images, old, new, told):
    edited(images, old, new)
    done = images.build()
    assert done.returncode != 0
    assert told in done.stderr


def test_the_kit_in_it_is_whole(images, image, tmp_path):
    """Its files, taken out again, are run by this Python."""
    container = images.done("from", "--pull-never", image)
    shutil.copytree(Path(images.done("mount", container)) / "app/src", tmp_path / "src")
    images.done("rm", container)
    command = [sys.executable, "-P", "-m", "gpusmoke", "doctor", "--list"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(tmp_path / "src")}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "no-driver" in done.stdout
