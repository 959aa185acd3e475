"""What container/Dockerfile says, and the Apptainer definition and the devcontainer say again, is the same."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "container/Dockerfile").read_text(encoding="utf-8")
DEFINITION = (ROOT / "container/apptainer.def").read_text(encoding="utf-8")


def without_comments(text):
    """The lines that do something, joined where one goes on in the next, with one way to name the argument."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r" \\\n\s*", " ", "\n".join(lines))
    return re.sub(r'"?\$ENVIRONMENT"?|\{\{ ENVIRONMENT \}\}', "ENVIRONMENT", text)


def pixi_commands(text):
    """How Pixi is called."""
    return re.findall(r"pixi (?:install|shell-hook) [^&\n]*[^&\s]", text)


def of_dockerfile(text):
    """What both files say, read from the one."""
    text = without_comments(text)
    images = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    default = re.findall(r"^ARG (\w+)=(\w+)$", text, re.MULTILINE)
    copied = [line.split() for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE)]
    (command,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    return {
        "images": images,
        "arguments": default * len(images),
        "override": re.findall(r"CONDA_OVERRIDE_CUDA=(\S+)", text),
        "pixi": pixi_commands(text),
        "from the host": {name for names in copied if "--from=build" not in names for name in names[:-1]},
        "from the build": {name for names in copied if "--from=build" in names for name in names[1:-1]},
        "command": json.loads(command),
    }


def stages(text):
    """Each stage of a definition: its header, and the text of its sections by their first lines."""
    for stage in re.split(r"^(?=Bootstrap:)", without_comments(text), flags=re.MULTILINE)[1:]:
        header, *sections = re.split(r"^%", stage, flags=re.MULTILINE)
        yield (
            dict(line.split(": ") for line in header.split("\n") if line),
            {name: body for name, _, body in (section.partition("\n") for section in sections)},
        )


def of_definition(text):
    """The same, read from the other."""
    headers, (build, final) = zip(*stages(text), strict=True)
    files = [line.split() for one in (build, final) for line in one["files"].splitlines() if line]
    kept = [line.split() for line in final["files from build"].splitlines() if line]
    assert all(source == target for source, target in kept), "to the same path"
    assert all(target == f"/app/{source}" for source, target in files)
    return {
        "images": [header["From"] for header in headers],
        "arguments": [pair for one in (build, final) for pair in re.findall(r"(\w+)=(\w+)", one.get("arguments", ""))],
        "override": re.findall(r"CONDA_OVERRIDE_CUDA=(\S+)", text),
        "pixi": pixi_commands(build["post"]),
        "from the host": {source for source, _ in files},
        "from the build": {source for source, _ in kept},
        "command": re.findall(r"^ +set -- (.*)$", final["runscript"], re.MULTILINE)[0].split(),
    }


def differences(text):
    dockerfile, definition = of_dockerfile(DOCKERFILE), of_definition(text)
    return {name for name in dockerfile if dockerfile[name] != definition[name]}


def test_the_definition_says_what_the_dockerfile_says():
    assert all(of_dockerfile(DOCKERFILE).values())
    assert differences(DEFINITION) == set()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("ubuntu:24.04", "ubuntu:22.04", "images"),
        ("ENVIRONMENT=cuda13", "ENVIRONMENT=cuda12", "arguments"),
        ("Stage: final\n\n# Each stage has arguments of its own.\n%arguments\n    ENVIRONMENT=cuda13", "", "arguments"),
        ("export CONDA_OVERRIDE_CUDA=13.0", "true", "override"),
        ("%environment\n", "%environment\n    export CONDA_OVERRIDE_CUDA=13.0\n", "override"),
        ("install --locked", "install", "pixi"),
        ("    LICENSE /app/LICENSE\n", "", "from the host"),
        ("    /app/activate /app/activate\n", "", "from the build"),
        ("gpusmoke smoke", "gpusmoke check", "command"),
    ],
)
def test_a_definition_that_says_something_else_is_told(old, new, what):
    assert old in DEFINITION
    assert differences(DEFINITION.replace(old, new)) == {what}


def test_the_override_covers_both_of_pixis_steps_and_no_other_section():
    (_, build), (_, final) = stages(DEFINITION)
    before, _, after = build["post"].partition("export CONDA_OVERRIDE_CUDA=")
    assert pixi_commands(before) == []
    assert len(pixi_commands(after)) == 2
    assert "OVERRIDE" not in "".join(final.values())


def test_every_command_goes_through_the_environment_which_itself_runs_none():
    (_, final) = list(stages(DEFINITION))[-1]
    assert [line.split()[0] for line in final["environment"].splitlines() if line] == [".", "export"]
    assert ". /app/activate" in final["environment"]
    assert final["runscript"].rstrip().endswith('exec "$@"')


def devcontainer():
    text = (ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    return json.loads(re.sub(r"^\s*//.*\n", "", text, flags=re.MULTILINE))


def test_the_devcontainer_takes_a_gpu_where_there_is_one_and_keeps_its_environments_in_a_volume():
    settings = devcontainer()
    assert settings["hostRequirements"] == {"gpu": "optional"}
    (mount,) = settings["mounts"]
    assert dict(part.split("=") for part in mount.split(","))["type"] == "volume"
    assert "target=${containerWorkspaceFolder}/.pixi," in mount
    assert "CONDA_OVERRIDE" not in json.dumps(settings)


def test_images_and_workflows_use_one_pixi():
    build, final = of_dockerfile(DOCKERFILE)["images"]
    assert devcontainer()["image"] == build
    files = (ROOT / ".github").rglob("*.yml")
    versions = {
        version for file in files for version in re.findall(r"(?:pixi-version|default): v([\d.]+)", file.read_text())
    }
    assert versions == {build.partition(":")[2]}
    assert re.search(r":[\d.]+$", final), "no moving tag"
