"""Why CUDA does not start, on hand-made facts: the most specific cause leads, the others are named."""

import json

import pytest

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings import catalogue
from gpusmoke.findings.driver import driver, gpu_present, nvml

GPU = {"index": 0, "name": "NVIDIA H100 80GB HBM3", "mig_mode": 0}
BROKEN = {
    "host.system": "Linux 6.1",
    "host.container": None,
    "host.nvidia_cards": ["0000:00:05.0"],
    "host.device_nodes": ["nvidia-uvm", "nvidia0", "nvidiactl"],
    "host.closed_nodes": [],
    "host.modules": ["nvidia", "nvidia_uvm"],
    "host.kernel_module": "580.159.04",
    "host.wsl": False,
    "host.wsl_driver": False,
    "cuda.library": "/usr/lib/libcuda.so.580.159.04",
    "cuda.devices": [],
    "nvml.init": {"code": 0, "text": "Success"},
    "nvml.gpus": [GPU],
}
NOTHING = BROKEN | {
    "host.nvidia_cards": [],
    "host.device_nodes": [],
    "host.modules": [],
    "host.kernel_module": None,
    "cuda.library": None,
    "cuda.init": None,
    "nvml.init": {"code": 12, "text": "NVML Shared Library Not Found"},
    "nvml.gpus": None,
}
NO_NVML = {"nvml.init": None, "nvml.gpus": None}
WSL = NOTHING | {"host.wsl": True, "host.wsl_driver": True, "host.device_nodes": ["dxg"]}


def facts(*changes, base=BROKEN):
    values = dict(base)
    for change in changes:
        values |= change
    return Facts(
        {name: Fact(value, "a test", None if value is not None else "unread") for name, value in values.items()}
    )


def code(number):
    return {"cuda.init": {"code": number, "name": f"CUDA_ERROR_{number}", "text": f"text of {number}"}}


def lead(*changes, base=BROKEN):
    """The one finding, and the ids that are named as possible."""
    (one,) = driver(facts(*changes, base=base))
    also = [line.split(": ")[1].split(";")[0] for line in one.evidence if line.startswith("also possible")]
    return one, also


@pytest.mark.parametrize(
    ("changes", "expected", "also"),
    [
        ([code(34)], "stub-libcuda", []),
        ([code(802)], "fabric-manager-down", []),
        ([code(803)], "driver-library-mismatch", []),
        ([code(804)], "forward-compat-on-geforce", []),
        ([code(102)], "device-not-licensed", []),
        ([code(807)], "mps-problem", []),
        ([code(304)], "cuda-init-failed", []),
        ([code(304), {"host.closed_nodes": ["nvidia0"]}], "device-node-permission", []),
        ([code(2), {"host.closed_nodes": ["nvidia0"]}], "out-of-memory", []),
        ([code(46)], "device-busy", []),
        ([code(2)], "out-of-memory", []),
        ([code(214)], "ecc-uncorrectable", []),
        ([code(4711)], "cuda-init-failed", []),
        ([code(100)], "cuda-no-device", []),
        ([code(0)], "cuda-no-device", []),
        # CUDA_VISIBLE_DEVICES
        ([code(100), {"env.CUDA_VISIBLE_DEVICES": ""}], "visible-devices-empty", []),
        ([code(100), {"env.CUDA_VISIBLE_DEVICES": " -1 "}], "visible-devices-empty", []),
        ([code(100), {"env.CUDA_VISIBLE_DEVICES": "-1,0"}], "visible-devices-empty", []),
        ([code(100), {"env.CUDA_VISIBLE_DEVICES": "1"}], "visible-devices-invalid", []),  # there is GPU 0 alone
        ([code(0), {"env.CUDA_VISIBLE_DEVICES": "7"}], "visible-devices-invalid", []),
        ([code(101), {"env.CUDA_VISIBLE_DEVICES": "0,0"}], "visible-devices-invalid", []),
        ([code(100), {"env.CUDA_VISIBLE_DEVICES": "0", "nvml.gpus": [GPU | {"mig_mode": 1, "mig_devices": 0}]}],
         "mig-no-instance", []),
        ([code(100), {"nvml.gpus": [GPU | {"mig_mode": 1}]}], "cuda-no-device", []),  # nobody knows how many
        ([code(100), {"nvml.gpus": [GPU | {"mig_devices": 0}]}], "cuda-no-device", []),
        ([code(100), {"nvml.gpus": [GPU, GPU | {"mig_mode": 1, "mig_devices": 0}]}], "cuda-no-device", []),
        # A value that names a GPU of this machine is not the cause, unless it names one twice.
        ([code(100), {"env.CUDA_VISIBLE_DEVICES": "0"}], "cuda-no-device", []),
        ([code(100), {"env.CUDA_VISIBLE_DEVICES": "GPU-0a1b", "nvml.gpus": [GPU | {"uuid": "GPU-0A1B2"}]}],
         "cuda-no-device", []),
        ([code(100), {"env.CUDA_VISIBLE_DEVICES": "GPU-b,GPU-a", "nvml.gpus": [{"uuid": "GPU-a"}, {"uuid": "GPU-b"}]}],
         "cuda-no-device", []),
        ([code(100), {"env.CUDA_VISIBLE_DEVICES": "GPU-", "nvml.gpus": [{"uuid": "GPU-a"}]}],
         "visible-devices-invalid", []),
        ([code(100), {"nvml.gpus": [GPU | {"mig_mode": 1, "mig_devices": 2}]}], "cuda-no-device", []),
        # Device files, as a real H100 showed them on 2026-11-26
        ([code(999), {"host.device_nodes": ["nvidia0", "nvidiactl"]}], "uvm-missing", []),
        ([code(999), {"host.modules": ["nvidia"]}], "uvm-missing", []),
        ([code(999), {"env.CUDA_VISIBLE_DEVICES": "7"}], "uvm-missing", ["visible-devices-invalid"]),
        ([code(100), {"cuda.refused_nodes": ["nvidia0"], "nvml.gpus": []}], "gpu-not-granted", []),
        ([code(100), {"host.device_nodes": ["nvidia-uvm", "nvidiactl"], "nvml.gpus": []}], "device-node-missing", []),
        ([code(100), {"nvml.gpus": []}], "device-node-missing", []),
        ([code(100), {"nvml.init": {"code": 17}, "nvml.gpus": None}], "device-node-missing", []),
        ([code(100), {"nvml.init": {"code": 4}, "nvml.gpus": None}], "device-node-permission", []),
        ([code(100), {"host.closed_nodes": ["nvidia0"], "env.CUDA_VISIBLE_DEVICES": "7"}], "device-node-permission",
         ["visible-devices-invalid"]),
        # No driver at all, or half of one: each of three things shows that it is loaded
        ([code(100), NO_NVML, {"host.kernel_module": None, "host.modules": []}], "no-driver", []),
        ([code(100), NO_NVML, {"host.kernel_module": None}], "cuda-no-device", []),
        ([code(100), NO_NVML, {"host.modules": []}], "cuda-no-device", []),
        ([code(100), {"host.kernel_module": None, "host.modules": []}], "cuda-no-device", []),
        ([{"cuda.init": None, "nvml.init": None}], "libcuda-missing", []),
        ([{"cuda.init": None, "host.kernel_module": None}], "libcuda-missing", []),
        # Device files are of Linux alone
        ([code(100), {"host.system": "Windows 11", "host.device_nodes": []}], "cuda-no-device", []),
        ([code(100), {"host.wsl": True, "host.device_nodes": ["dxg"], "cuda.library": "/usr/lib/wsl/lib/libcuda.so.1"}],
         "cuda-no-device", []),
        ([code(100), {"nvml.init": {"code": 9}, "nvml.gpus": None, "host.kernel_module": None, "host.modules": []}],
         "no-driver", []),
        ([{"cuda.init": None, "cuda.library": None}], "libcuda-missing", []),
        ([{"cuda.init": None, "nvml.init": None, "host.kernel_module": None}], "no-driver", []),
        ([code(999), {"nvml.init": {"code": 18}, "nvml.gpus": None}], "driver-library-mismatch", ["uvm-missing"]),
        ([code(999), {"nvml.init": {"code": 18}, "nvml.gpus": None, "host.modules": ["nvidia"]}], "uvm-missing",
         ["driver-library-mismatch"]),
        ([code(999), {"nvml.init": {"code": 18}, "nvml.gpus": None, "host.device_nodes": ["nvidia0", "nvidiactl"]}],
         "uvm-missing", ["driver-library-mismatch"]),
        ([{"cuda.init": None, "nvml.init": None, "host.kernel_module": None, "host.container": "docker",
           "host.device_nodes": []}], "container-without-gpu", ["no-driver"]),
        ([{"cuda.init": None, "cuda.probe": "hung"}], "cuda-init-hung", []),
        ([{"cuda.init": None, "cuda.probe": "crashed"}], "cuda-init-crashed", []),
    ],
)  # fmt: skip
def test_each_cause_leads_where_it_is_the_most_specific(changes, expected, also):
    one, others = lead(*changes)
    assert (one.id, others) == (expected, also)
    assert one.severity == "problem"
    assert one.advice
    assert "{" not in one.title


@pytest.mark.parametrize("library", ["cuda", "nvml"])
def test_every_code_on_file_has_a_whole_sentence(library):
    for number in sorted({number for entry in catalogue().values() for number in entry.get(library, [])}):
        changes = code(number) if library == "cuda" else code(999) | {"nvml.init": {"code": number, "text": "x"}}
        one, _ = lead(changes)
        assert "{" not in one.title + "".join(one.advice)


def test_error_802_tells_how_far_the_links_of_each_gpu_are():
    states = [{"fabric_state": 1}, {"fabric_state": 3}, {"fabric_state": 9}, {"fabric_state": "2"}, {}]
    rows = [{"index": at} | state for at, state in enumerate(states)]
    lines = [line for line in lead(code(802), {"nvml.gpus": rows})[0].evidence if line.startswith("NVML GPU")]
    assert lines == [
        "NVML GPU 0: fabric_state: 1, not started",
        "NVML GPU 1: fabric_state: 3, completed",
        "NVML GPU 2: fabric_state: 9, unknown",
    ]


@pytest.mark.parametrize("state", [1, 2])
def test_links_that_are_not_set_up_are_no_cause_of_another_error_nor_a_fault_where_cuda_works(state):
    rows = {"nvml.gpus": [GPU | {"fabric_state": state}]}
    assert lead(code(304), rows)[0].id == "cuda-init-failed"
    assert not [line for line in lead(code(304), rows)[0].evidence if line.startswith("NVML GPU")]
    works = facts(code(0), rows, {"cuda.devices": [{}]})
    assert [*driver(works), *nvml(works)] == []


@pytest.mark.parametrize(("state", "words"), [(0, "0, not supported"), (1, "1, not started"), (2, "2, in progress")])
def test_the_program_asks_nvml_for_the_links(driver, kit, fake_root, valid, state, words):
    env = driver({"cuInit": 802, "devices": 2, "fabric_state": state}) | {"GPUSMOKE_ROOT": str(fake_root)}
    record = json.loads(kit("doctor", "--json", env=env).stdout)
    valid(record)
    (evidence,) = [one["evidence"] for one in record["findings"] if one["id"] == "fabric-manager-down"]
    assert evidence[-2:] == [f"NVML GPU {gpu}: fabric_state: {words}" for gpu in (0, 1)]


def test_the_program_goes_without_the_links_where_the_driver_is_older_than_the_call(driver, kit, fake_root):
    state = {"cuInit": 802, "nvmlDeviceGetGpuFabricInfoV": 13}
    record = json.loads(kit("doctor", "--json", env=driver(state) | {"GPUSMOKE_ROOT": str(fake_root)}).stdout)
    (gpu,) = record["facts"]["nvml.gpus"]["value"]
    assert list(gpu["unread"]) == ["fabric_state"]
    assert [one["id"] for one in record["findings"] if one["severity"] == "problem"] == ["fabric-manager-down"]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (["nvidia-uvm"], "/dev/nvidiactl, /dev/nvidia0"),
        (["nvidia0"], "/dev/nvidiactl"),
        (["nvidiactl"], "/dev/nvidia0"),
        (["nvidia0", "nvidiactl"], "one of them is no device file"),
    ],
)
def test_the_device_files_that_are_missing_are_named(nodes, words):
    title = lead(code(100), {"host.device_nodes": nodes, "nvml.gpus": []})[0].title
    assert words in title
    assert ("/dev/nvidia0" in title) == ("/dev/nvidia0" in words)


def test_only_variables_that_are_set_are_evidence():
    assert not [line for line in lead(code(304))[0].evidence if line.startswith("env.")]
    set_ = {"env.LD_LIBRARY_PATH": "/opt/cuda/lib"}
    assert [line[:19] for line in lead(code(304), set_)[0].evidence if line.startswith("env.")] == [
        "env.LD_LIBRARY_PATH"
    ]


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, False),
        ({"nvml.gpus": [GPU]}, True),
        ({"host.nvidia_cards": ["0000:00:05.0"]}, True),
        ({"cuda.devices": [{}]}, True),
        ({"host.device_nodes": ["nvidia0"]}, True),
        ({"host.device_nodes": ["nvidia-uvm", "nvidiactl", "nvidia"]}, False),
        ({"host.wsl_driver": True}, False),  # which only counts in WSL
    ],
)
def test_what_shows_that_there_is_a_gpu(changes, known):
    assert gpu_present(facts(changes, base=NOTHING)) is known


def test_an_unknown_code_is_told_with_number_name_and_text():
    assert lead(code(4711))[0].title == "CUDA can't start: error 4711 (CUDA_ERROR_4711): text of 4711."
    unnamed = {"cuda.init": {"code": 4711, "name": "", "text": ""}}
    assert "4711 (a code this driver has no name for): no text." in lead(unnamed)[0].title


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ([], "is not found"),
        ([code(100), {"cuda.library": "/usr/lib/x86_64/libcuda.so.550.1"}], "is loaded, not the driver of Windows"),
        ([code(100), {"cuda.library": "/usr/lib/wsl/lib/libcuda.so.1", "nvml.init": {"code": 17}}], "does not let it"),
    ],
)  # fmt: skip
def test_in_wsl_the_driver_of_windows_is_the_one_to_look_at(changes, word):
    one, _ = lead(*changes, base=WSL)
    assert one.id == "wsl-wrong-driver"
    assert word in one.title


def test_in_wsl_without_a_driver_of_windows_there_is_no_gpu_of_nvidia():
    assert list(driver(facts({"host.wsl_driver": False}, base=WSL))) == []
    assert not gpu_present(facts({"host.wsl_driver": False}, base=WSL))
    assert gpu_present(facts({"host.wsl_driver": False, "nvml.init": {"code": 17}}, base=WSL))


def test_on_windows_a_driver_that_fails_speaks_for_a_gpu():
    windows = NOTHING | {"host.system": "Windows 11", "cuda.library": "nvcuda.dll"}
    assert lead(code(999), base=windows)[0].id == "uvm-missing"
    assert list(driver(facts(code(100), base=windows))) == []


@pytest.mark.parametrize("number", range(30))
def test_nvml_speaks_for_a_gpu_that_it_may_not_use_has_lost_or_wants_reset(number):
    known = gpu_present(facts({"nvml.init": {"code": number}}, base=NOTHING))
    assert known == (number in (4, 15, 16, 18))  # and no permission, or a kernel module of another version


@pytest.mark.parametrize("changes", [[], [code(100)], [code(34)], [{"nvml.init": {"code": 9}}]])
def test_a_machine_without_a_gpu_has_no_driver_problem(changes):
    assert list(driver(facts(*changes, base=NOTHING))) == []


@pytest.mark.parametrize(
    ("number", "kind", "severity"),
    [(18, "nvml-failed", "warning"), (999, "nvml-failed", "warning")],
)
def test_nvml_failing_while_cuda_works_is_a_warning(number, kind, severity):
    (one,) = nvml(facts(code(0), {"cuda.devices": [{}], "nvml.init": {"code": number, "text": "x"}}))
    assert (one.id, one.severity) == (kind, severity)
    assert ("driver-library-mismatch" in str(one.evidence)) == (number == 18)


def test_nvml_that_hangs_while_cuda_works_is_told_without_a_code():
    (one,) = nvml(facts(code(0), {"cuda.devices": [{}], "nvml.init": None, "nvml.probe": "hung"}))
    assert one.id == "nvml-failed"
    assert "unknown" in one.title
    assert "it hung" in one.title
    (one,) = nvml(facts(code(0), {"cuda.devices": [{}], "nvml.init": {"code": 999, "text": "no such luck"}}))
    assert "999" in one.title
    assert "no such luck" in one.title


@pytest.mark.parametrize("number", [18, 17, 999])
def test_nvml_failing_beside_cuda_is_told_once_as_evidence(number):
    changes = [code(803), {"nvml.init": {"code": number, "text": "x"}}]
    assert list(nvml(facts(*changes))) == []
    assert any(f"nvml.init: code {number}, text x" in line for line in lead(*changes)[0].evidence)


@pytest.mark.parametrize(
    ("number", "kind"), [(15, "gpu-lost"), (14, "inforom-corrupt"), (8, "power-cable"), (999, "gpu-not-answering")]
)
def test_one_gpu_that_fails_is_named_by_its_code(number, kind):
    rows = [GPU, {"index": 1, "error": {"code": number, "text": "x"}}]
    assert [one.id for one in nvml(facts(code(0), {"cuda.devices": [{}], "nvml.gpus": rows}))] == [kind]
