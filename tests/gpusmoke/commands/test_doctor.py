"""doctor through the real command line, on machines made of a stand-in driver, a file tree and a manifest."""

import importlib.util
import json
import os

import pytest

MANIFEST = """
[workspace]
channels = ["conda-forge"]
platforms = [
  { name = "linux-64-cuda13", platform = "linux-64", cuda = "13.0" },
  { name = "linux-64-cuda12", platform = "linux-64", cuda = { driver = "12.0", arch = "8.0" } },
  { name = "linux-64-cpu", platform = "linux-64" },
]
[environments]
cuda12 = ["cuda12"]
cpu = { features = ["cpu"] }
[feature.cuda12]
platforms = ["linux-64-cuda12"]
[feature.cpu]
platforms = ["linux-64-cpu"]
"""

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux")


@pytest.fixture
def machine(kit, driver, fake_root, tools, valid):
    """Run doctor on a machine with a workspace; returns the record, the findings by id, and the exit code."""
    (kit.cwd / "pixi.toml").write_text(MANIFEST)

    def run(state="", *args, smi=True, env=None):
        if smi:
            kit.program("nvidia-smi", "exit 0")
        if not (tools / "pixi").exists():
            kit.program("pixi", "exit 1")  # one that is there and tells nothing
        done = kit("doctor", "--json", *args, env=driver(state) | {"GPUSMOKE_ROOT": str(fake_root)} | (env or {}))
        record = json.loads(done.stdout)
        valid(record)
        assert done.stderr == ""
        return record, {found["id"]: found for found in record["findings"]}, done.returncode

    run.root = fake_root
    return run


def bare(root):
    """Take everything NVIDIA out of the file tree."""
    for path in (*(root / "dev").iterdir(), root / "proc/driver/nvidia/version", root / "proc/modules"):
        path.unlink()
    (root / "sys/bus/pci/devices/0000:00:05.0/vendor").write_text("0x8086\n")


def test_a_healthy_machine(machine):
    record, found, code = machine()
    assert code == 0
    assert record["verdict"] == "healthy"
    assert found["driver-runs"]["title"].startswith("This driver (580.159.04) runs CUDA 13 and 12 builds")
    assert found["pixi-platform"]["title"] == "`pixi run` will use linux-64-cuda13, in environment 'default'."
    assert record["facts"]["nvml.driver_version"]["value"] == "580.159.04"
    assert record["facts"]["host.kernel_module"]["value"] == "580.159.04"
    assert record["facts"]["cuda.library"]["value"].endswith("libcuda.so.1")


def test_an_older_driver_picks_the_cuda_12_platform(machine):
    _, found, code = machine({"cuDriverGetVersion.value": 12040})
    assert code == 0
    assert found["driver-runs"]["title"].startswith("This driver (580.159.04) runs CUDA 12 and 11 builds")
    assert found["pixi-platform"]["title"] == "`pixi run` will use linux-64-cuda12, in environment 'default'."


def test_a_machine_without_nvidia_hardware_is_healthy(machine):
    bare(machine.root)
    record, found, code = machine(None, smi=False)
    assert code == 0
    assert "no-gpu" in found
    assert record["facts"]["cuda.init"]["value"] is None
    assert record["facts"]["cuda.init"]["reason"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"nvmlInit_v2": 18}, "nvml-failed"),
        ({"nvmlInit_v2.crash": 1}, "nvml-failed"),
        ({"devices": 2, "device.1.cuDeviceGet": 999}, "gpu-not-answering"),
        ({"devices": 2, "device.1.cuDeviceGetName": 999}, "gpu-not-answering"),
        ({"cuDriverGetVersion.value": 11080}, "driver-too-old"),
    ],
)
def test_each_fault_is_named_with_its_cure(machine, state, expected):
    record, found, code = machine(state)
    severity = found[expected]["severity"]
    assert code == (1 if severity == "problem" else 0)
    assert found[expected]["advice"]
    assert found[expected]["evidence"]
    assert record["verdict"] == ("problem" if severity == "problem" else "healthy")


def test_a_driver_that_never_answers_is_reported_not_waited_for(machine, kit, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import gpusmoke.facts.driver as d; d.DEADLINE_SECONDS = 2.0")
    search = os.pathsep.join([str(tmp_path), kit.environment()["PYTHONPATH"]])
    _, found, code = machine({"cuInit.delay_ms": 120000}, env={"PYTHONPATH": search})
    assert code == 1
    assert "cuda-init-hung" in found


def shadow(tmp_path, kit, body):
    """An environment in which `import pynvml` gets this module."""
    (tmp_path / "pynvml").mkdir()
    (tmp_path / "pynvml/pynvml.py").write_text(body)
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "pynvml"), kit.environment()["PYTHONPATH"]])}


def test_a_python_without_nvidia_ml_py_still_gets_the_rest(machine, kit, tmp_path):
    record, found, code = machine(env=shadow(tmp_path, kit, "raise ModuleNotFoundError('No module named pynvml')"))
    assert code == 0
    assert record["facts"]["nvml.init"]["reason"] == "No module named pynvml: pip install nvidia-ml-py"
    assert "gpu-found" in found


def test_a_pynvml_that_is_older_than_a_call_loses_that_one_only(machine, kit, tmp_path):
    real = importlib.util.find_spec("pynvml").origin
    body = f"exec(compile(open({real!r}).read(), {real!r}, 'exec'))\ndel nvmlDeviceGetCurrentClocksEventReasons"
    record, _, code = machine(env=shadow(tmp_path, kit, f"{body}, nvmlDeviceGetPersistenceMode"))
    (gpu,) = record["facts"]["nvml.gpus"]["value"]
    assert code == 0
    assert gpu["clock_reasons"] == 1  # by its old name
    assert list(gpu["unread"]) == ["persistence_mode"]


def test_a_driver_that_is_older_than_a_call_is_asked_by_its_old_name(machine):
    record, _, code = machine({"nvmlDeviceGetCurrentClocksEventReasons": 13, "clock_reasons": 4})
    assert code == 0
    assert record["facts"]["nvml.gpus"]["value"][0]["clock_reasons"] == 4


def test_device_files_that_a_scheduler_refuses_are_told(monkeypatch, fake_root):
    from gpusmoke.facts import probe_cuda

    def refuse(path, flags):
        raise PermissionError(path) if path.endswith("nvidia0") else FileNotFoundError(path)

    (fake_root / "dev/nvidia1").write_text("")
    monkeypatch.setenv("GPUSMOKE_ROOT", str(fake_root))
    assert probe_cuda.refused() == []
    monkeypatch.setattr(probe_cuda.os, "open", refuse)
    assert probe_cuda.refused() == ["nvidia0"]


def test_a_library_that_talks_without_end_does_not_hang_the_probe(machine, kit, tmp_path):
    talk = "import sys\nfor _ in range(5000): print('x' * 100, file=sys.stderr)\nraise ModuleNotFoundError('gone')"
    _, found, code = machine(env=shadow(tmp_path, kit, talk))
    assert code == 0
    assert "gpu-found" in found


def test_a_gpu_that_is_lost_does_not_hide_the_others(machine):
    record, found, _ = machine({"devices": 2, "device.1.nvmlDeviceGetHandleByIndex_v2": 15})
    assert [row["index"] for row in record["facts"]["nvml.gpus"]["value"]] == [0, 1]
    assert record["facts"]["nvml.gpus"]["value"][0]["name"] == "NVIDIA H100 80GB HBM3"
    assert "gpu-found" in found


def test_a_driver_that_does_not_tell_its_version_is_not_made_one_up(machine):
    record, found, _ = machine({"cuDriverGetVersion": 999})
    assert record["facts"]["cuda.driver_version"]["value"] is None
    assert "driver-runs" not in found


def test_a_build_that_is_too_new_for_the_driver(machine):
    _, found, code = machine({"cuDriverGetVersion.value": 12040}, "--build-cuda", "13.0")
    assert code == 1
    assert found["driver-too-old"]["advice"][0].startswith("pixi run smoke")
    assert machine({"cuDriverGetVersion.value": 13000}, "--build-cuda", "13.0")[2] == 0


def test_an_environment_installed_where_there_was_no_gpu(machine, kit):
    kit.install("default", None)
    kit.install("cpu", None)
    record, found, code = machine()
    assert code == 1
    assert found["sticky-platform"]["advice"][0] == "pixi install -e default"
    assert [row["environment"] for row in record["facts"]["pixi.installed"]["value"]] == ["cpu", "default"]


def test_the_environment_of_another_workspace_that_is_activated_is_not_the_running_one(machine, kit, tmp_path):
    meta = kit.install("default", "13.0", tmp_path / "other")
    prefix = str(meta.parent)
    record, _, _ = machine(env={"CONDA_PREFIX": prefix, "PIXI_PROJECT_ROOT": str(kit.cwd)})
    assert record["facts"]["pixi.current"]["value"] is None
    record, _, _ = machine(env={"CONDA_PREFIX": prefix, "PIXI_PROJECT_ROOT": str(tmp_path / "other")})
    assert record["facts"]["pixi.current"]["value"]["cuda"] == "13.0"


def test_environments_that_lie_elsewhere_are_found_through_pixis_link(machine, kit, tmp_path):
    kit.install("default", None, tmp_path / "elsewhere")
    (kit.cwd / ".pixi").mkdir()
    (kit.cwd / ".pixi/envs").symlink_to(tmp_path / "elsewhere/.pixi/envs")
    assert "sticky-platform" in machine()[1]


def test_a_marker_that_is_damaged_or_old_is_passed_over(machine, kit):
    (kit.install("default", None) / "pixi").write_text("{")
    (kit.install("cuda12", None) / "pixi").write_text('{"environment_name": "cuda12"}')
    _, found, code = machine()
    assert code == 0
    assert "sticky-platform" not in found


def test_pixis_own_word_wins_over_the_prediction(machine, kit):
    answer = {"version": "0.77.0", "virtual_packages": ["__cuda=12.4=0"], "environments_info": []}
    kit.program("pixi", f"echo '{json.dumps(answer)}'")
    record, found, _ = machine()
    assert record["facts"]["pixi.cuda"]["value"] == "12.4"
    assert found["pixi-platform"]["title"] == "`pixi run` will use linux-64-cuda12, in environment 'default'."


@pytest.mark.parametrize(
    "answer",
    [
        "not json",
        "[]",
        '{"environments_info": null}',
        '{"virtual_packages": ["__cuda", 3], "environments_info": ["x"]}',
    ],
)
def test_a_pixi_that_answers_oddly_is_a_fact_with_a_reason(machine, kit, answer):
    kit.program("pixi", f"echo '{answer}'")
    assert machine()[2] == 0


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("pixi.toml", "platforms = [", "pixi.toml"),
        ("pixi.lock", "version: 7\n<<<<<<< HEAD\n", "merge conflict"),
        ("pixi.lock", "\x00\x01", "pixi.lock"),
        ("pixi.lock", "", "pixi.lock"),
    ],
)
def test_an_unreadable_manifest_or_lock_is_named_in_one_sentence(kit, name, content, word):
    (kit.cwd / "pixi.toml").write_text(MANIFEST)
    (kit.cwd / name).write_text(content)
    done = kit("doctor")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert word in done.stderr


def test_the_text_says_it_in_words_and_fits_80_columns(kit, driver, fake_root):
    (kit.cwd / "pixi.toml").write_text(MANIFEST)
    done = kit("doctor", env=driver({"cuInit": 802}) | {"GPUSMOKE_ROOT": str(fake_root)})
    assert done.returncode == 1
    assert "PROBLEM  CUDA waits for the links between the GPUs: error 802" in done.stdout
    assert done.stdout.rstrip().endswith("1 problem found: fabric-manager-down.")
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if "https://" not in line and "try:" not in line)
    assert all(line == line.rstrip() for line in done.stdout.splitlines())
