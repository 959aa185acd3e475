"""audit's rules on hand-made facts: what the command line can't easily reach, and whatever facts there may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings import catalogue, changes, elsewhere, lock

JUDGES = (lock.judge, elsewhere.judge, changes.judge)


def solve(**values):
    row = {
        "platform": "linux-64-cuda12",
        "subdir": "linux-64",
        "declared": "12.0",
        "environments": ["default"],
        "pytorch": {"version": "2.12.1", "build": "cuda129_mkl_h1_0", "channel": "conda-forge"},
        "cuda": {"cuda-version": "12.9", "libcublas": "12.9.2.10"},
        "bytes": 4_000_000_000,
        "digest": "a",
    }
    return row | values


def facts(*rows, **more):
    allowed = {}
    for row in rows:
        for name in row["environments"]:
            allowed.setdefault(name, []).append(row["platform"])
    platforms = [{"name": row["platform"], "subdir": row["subdir"], "cuda": row["declared"]} for row in rows]
    values = {"lock.solves": list(rows), "pixi.environments": allowed, "pixi.platforms": platforms}
    values |= {name.replace("__", "."): value for name, value in more.items()}
    return Facts({name: Fact(value, "a test") for name, value in values.items()})


def pytorch(build, channel="conda-forge"):
    return {"version": "2.12.1", "build": build, "channel": channel}


def ids(found):
    return [one.id for one in found]


def test_a_sound_row():
    assert ids(lock.judge(facts(solve()))) == ["lock-sound"]


@pytest.mark.parametrize(
    "row",
    [
        solve(cuda={"cuda-version": "12.9", "nvidia-cudnn-cu12": "9.13.0", "nvidia-nccl-cu12": "2.27"}),
        solve(cuda={"cuda-version": "12.8", "libnvjitlink": "12.9.86"}),
        solve(pytorch=None, cuda={}),
        solve(pytorch=None, cuda={"cuda-version": "12.9"}, declared=None),
        solve(declared=None, pytorch=pytorch("cpu_mkl_h1_0"), cuda={"cuda-version": "12.9", "cuda-nvcc": "12.9.86"}),
        solve(declared="12.9"),
    ],
)
def test_what_is_not_taken_for_a_mixture_or_a_slip(row):
    assert ids(lock.judge(facts(row))) == ["lock-sound"]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (solve(pytorch=pytorch("cpu_mkl_h1_0"), cuda={}), "cpu-build-on-cuda-platform"),
        (solve(pytorch=pytorch("cpu", "PyPI"), cuda={}), "cpu-build-on-cuda-platform"),
        (solve(cuda={"cuda-version": "12.9", "nvidia-cudnn-cu13": "9.13.0"}), "cuda-majors-mixed"),
        (solve(pytorch=pytorch("cu130", "PyPI"), cuda={"nvidia-cublas": "12.9.1"}), "cuda-majors-mixed"),
        (solve(declared="13.0"), "declared-cuda-differs"),
        (solve(declared="11.8"), "declared-cuda-differs"),
        (solve(pytorch=None, declared="13.0"), "declared-cuda-differs"),
        (solve(declared=None), "declared-cuda-differs"),
    ],
)
def test_what_is_a_problem(row, kind):
    assert ids(lock.judge(facts(row)))[0] == kind


@pytest.mark.parametrize(("build", "declared"), [("cuda118_py311h1_0", "11.8"), ("cuda127_py311h1_0", "12.0")])
def test_a_build_that_is_not_on_file_is_sound_all_the_same(build, declared):
    row = solve(pytorch=pytorch(build), declared=declared, cuda={})
    assert ids(lock.judge(facts(row))) == ["lock-sound", "build-not-on-file"]


def test_a_wheel_that_does_not_name_its_cuda_may_or_may_not_run():
    row = solve(pytorch=pytorch("", "PyPI"), cuda={})
    found = elsewhere.judge(facts(row, request__driver="580", request__gpu="8.6"))
    assert ids(found) == ["fit-unknown", "no-environment-runs-there"]
    assert "nothing is on file about a build without a CUDA in its name on compute capability 8.6" in found[0].title


@pytest.mark.parametrize(
    ("driver", "gpu", "words"),
    [
        ("580.65.06", None, "driver 580.65.06"),
        (None, "9.0", "compute capability 9.0"),
        ("580.65.06", "9.0", "driver 580.65.06 and compute capability 9.0"),
    ],
)
def test_a_machine_is_told_by_what_is_known_of_it(driver, gpu, words):
    assert str(elsewhere.Machine(driver, gpu)) == words


@pytest.mark.parametrize(
    ("driver", "lowest", "meets"),
    [("580.65.06", "580.65.06", True), ("575.1", "580.65.06", False), (None, None, True), ("580.65.06", None, False)],
)
def test_a_driver_that_is_not_told_is_no_obstacle_and_one_that_is_meets_nothing_unknown(driver, lowest, meets):
    assert elsewhere.Machine(driver, None).meets(lowest) is meets


def test_a_driver_alone_is_an_answer_too():
    found = elsewhere.judge(facts(solve(), request__driver="535"))
    assert ids(found) == ["runs-there"]
    assert ids(elsewhere.judge(facts(solve(), request__driver="520"))) == ["driver-too-old-there", "no-driver-there"]


def test_pixi_looks_at_what_is_declared_even_where_the_build_would_run():
    row = solve(declared="12.8")
    assert ids(elsewhere.judge(facts(row, request__driver="560")))[0] == "driver-too-old-there"
    assert ids(elsewhere.judge(facts(row, request__driver="570")))[0] == "runs-there"


def test_a_lock_without_a_cuda_platform_gets_the_newest_build_that_runs():
    row = solve(platform="linux-64", declared=None, pytorch=pytorch("cpu_mkl_h1_0"), cuda={})
    (found,) = elsewhere.judge(facts(row, request__driver="580", request__gpu="9.0"))
    assert found.id == "no-environment-runs-there"
    assert 'cuda-version = "13.3.*" # in [target.linux-64-cuda13.dependencies]' in found.advice
    (found,) = elsewhere.judge(facts(row, request__driver="580", request__gpu="7.0"))
    assert 'pytorch = { version = ">=2.10,<3", build = "cuda129*" } # there too' in found.advice


def test_a_changed_declaration_alone_is_a_change():
    found = changes.judge(facts(solve(declared="12.4"), lock__before=[solve()]))
    assert ids(found) == ["lock-changed", "driver-floor-raised"]
    assert found[0].title == "linux-64-cuda12 (default): declared cuda 12.0 -> 12.4."


def test_a_gain_is_no_loss():
    old = solve(pytorch=pytorch("cuda130_mkl_h1_0"), declared="13.0", digest="b")
    assert ids(changes.judge(facts(solve(), lock__before=[old]))) == ["lock-changed", "gpus-dropped"]
    assert ids(changes.judge(facts(old, lock__before=[solve()])))[1:] == ["driver-floor-raised", "gpus-dropped"]
    titles = [one.title for one in changes.judge(facts(solve(), lock__before=[old]))]
    assert titles[1].endswith("of compute capability 11.0.")


words = st.sampled_from(
    [
        "default",
        "linux-64",
        "win-64",
        "linux-64-cuda12",
        "12.0",
        "13.0",
        "cuda130_h1",
        "cpu_h",
        "conda-forge",
        "12.x",
        "²",
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=8)
names = st.sampled_from([*solve(), "architectures", "driver", "name", "cuda", "version", "build", "channel"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | words, inner, max_size=4),
    max_leaves=12,
)
rows = st.lists(
    st.builds(lambda changes: solve(**changes), st.dictionaries(names, values, max_size=4)) | values, max_size=4
)
everything = st.fixed_dictionaries(
    {},
    optional={
        "lock.solves": rows | values,
        "lock.before": rows | values,
        "pixi.environments": values,
        "pixi.platforms": st.lists(values, max_size=3) | values,
        "request.driver": values,
        "request.gpu": values,
        "request.subdir": values,
    },
)


@given(everything)
def test_no_facts_whatever_make_a_rule_raise(values):
    read = Facts({name: Fact(value, "a test") for name, value in values.items()})
    for judge in JUDGES:
        assert {one.id for one in judge(read)} <= set(catalogue())
