"""audit --driver --gpu through the real command line: which environments run on a machine that isn't here?"""

import pytest

CUDA12_PLATFORM = '  { name = "linux-64-cuda12", platform = "linux-64", cuda = "12.0" },\n'


def ids(found):
    return [kind for _, kind, _ in found]


def test_a_driver_of_2024_runs_the_cuda_12_environments(workspace):
    found, code = workspace.found("--driver", "560.35", "--gpu", "8.6")
    assert code == 0
    linux = [(severity, kind, title) for severity, kind, title in found if " linux-64-" in title]
    assert linux == [
        ("ok", "runs-there", "default and cuda12 run there, as linux-64-cuda12: PyTorch 2.12.1 for CUDA 12.9."),
        (
            "note",
            "driver-too-old-there",
            "cuda13 can't run there: linux-64-cuda13 needs driver 580.65.06, and 560.35 is older.",
        ),
    ]


def test_a_v100_with_an_older_driver_runs_cuda_12_and_not_13(workspace):
    found, code = workspace.found("--driver", "535", "--gpu", "7.0", "--subdir", "linux-64")
    assert (code, ids(found)) == (0, ["runs-there", "driver-too-old-there"])


def test_a_v100_with_a_new_driver_makes_pixi_pick_a_build_that_it_cannot_run(workspace):
    record, code = workspace.audit("--driver", "580", "--gpu", "7.0", "--subdir", "linux-64")
    found = {one["id"]: one for one in record["findings"]}
    assert code == 0
    assert found["picks-wrong-build"]["severity"] == "warning"
    assert found["picks-wrong-build"]["title"].startswith("default can't run there")
    assert found["picks-wrong-build"]["advice"] == ["pixi run -e cuda12 smoke # there: bound to linux-64-cuda12"]
    assert found["runs-there"]["title"].startswith("cuda12 runs there, as linux-64-cuda12")
    assert found["gpu-not-in-build"]["title"].startswith("cuda13 can't run there")


def test_where_no_environment_is_bound_to_the_build_that_would_run_the_lines_that_do_it(workspace):
    for name in ("cuda13", "cuda12"):
        line = f'{name} = {{ features = ["{name}"], solve-group = "pytorch" }}\n'
        workspace.alter("pixi.toml", line, "")
        workspace.unlock(name)
    record, code = workspace.audit("--driver", "580", "--gpu", "7.0", "--subdir", "linux-64")
    assert code == 1
    assert [one["id"] for one in record["findings"]] == ["no-environment-bound"]
    assert record["findings"][0]["advice"][:2] == [
        'cuda12 = ["cuda12"] # in pixi.toml, in [environments]',
        'platforms = ["linux-64-cuda12"] # in [feature.cuda12]',
    ]


def test_a_driver_that_is_too_old_for_everything_gets_the_lines_and_the_driver_they_need(workspace):
    record, code = workspace.audit("--driver", "470", "--gpu", "6.1")
    assert code == 1
    last = record["findings"][-1]
    assert last["id"] == "no-driver-there"
    assert "from driver 525.60.13 on" in last["title"]
    assert '{ name = "linux-64-cuda12", platform = "linux-64", cuda = "12.0" }' in last["advice"][1]
    assert {one["id"] for one in record["findings"]} == {"driver-too-old-there", "no-driver-there"}


def test_lines_for_a_manifest_that_lacks_the_platform(workspace):
    workspace.alter("pixi.toml", CUDA12_PLATFORM, "")
    workspace.alter("pixi.toml", '"linux-64-cuda12", "win-64-cuda12"', '"win-64-cuda12"')
    workspace.cut("pixi.lock", r"      p2:\n(      - .*\n)+")
    record, code = workspace.audit("--driver", "560.35", "--gpu", "8.6", "--subdir", "linux-64")
    assert code == 1
    last = record["findings"][-1]
    assert last["id"] == "no-environment-runs-there"
    # Put where they say, they are what this repository's own manifest has for that platform.
    assert CUDA12_PLATFORM.strip() in last["advice"][0]
    assert last["advice"][1].startswith('cuda-version = "12.9.*" # in [target.linux-64-cuda12.dependencies]')
    assert last["advice"][2].startswith('pytorch = { version = ">=2.10,<3", build = "cuda129*" }')


@pytest.mark.parametrize(("card", "subdir"), [("3.5", "linux-64"), ("8.7", "linux-64"), ("11.0", "linux-aarch64")])
def test_a_card_that_no_build_on_file_is_known_to_run_on(workspace, card, subdir):
    found, code = workspace.found("--gpu", card, "--subdir", subdir)
    assert code == 1
    assert ids(found)[-1] == "no-build-for-gpu"
    assert ("fit-unknown" in ids(found)) == (card == "8.7")


def test_a_card_newer_than_every_build_needs_the_driver_of_the_toolkit(workspace):
    found, _ = workspace.found("--gpu", "13.0", "--driver", "570.26", "--subdir", "linux-64")
    assert "linux-64-cuda12 needs driver 575.51.03, and 570.26 is older" in found[0][2]
    assert ids(workspace.found("--gpu", "13.0", "--driver", "575.51.03", "--subdir", "linux-64")[0])[0] == "runs-there"


def test_a_lock_that_slipped_to_the_cpu_leaves_the_gpu_unused(workspace):
    workspace.lock_instead("pytorch cuda130", "pytorch cpu")
    found, _ = workspace.found("--driver", "580", "--subdir", "linux-64")
    assert ids(found) == ["cpu-build-there", "runs-there"]
