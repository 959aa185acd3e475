"""doctor on machines with several GPUs: what stands beside each other, and what links them."""

import pytest

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux")


def test_eight_gpus_stand_beside_each_other_in_80_columns(kit, driver, fake_root):
    state = {"devices": 8, "device.3.nvlinks_down": "4 5", "device.6.power_limit_mw": 650000}
    done = kit("doctor", env=driver(state) | {"GPUSMOKE_ROOT": str(fake_root)})
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if "https://" not in line and "try:" not in line) <= 80
    assert "ok       GPU 0-7: NVIDIA H100 80GB HBM3, compute capability 9.0, 80 GB" in lines
    at = lines.index("The GPUs")
    assert [line.split()[0] for line in lines[at + 2 : at + 10]] == list("01234567")
    assert "16 of 18" in lines[at + 5]
    assert lines[at + 8].split()[7:10] == ["33", "71", "650"]
    at = lines.index("Links between the GPUs")
    assert lines[at + 2].split() == ["GPU", "0", "X", "NV18", "NV18", "NV16", *["NV18"] * 4]


def test_gpus_that_are_all_linked_alike_are_told_of_in_a_sentence(kit, driver, fake_root):
    env = {"GPUSMOKE_ROOT": str(fake_root)}
    assert "Each is linked to each by 18 NVLinks 4.0." in kit("doctor", env=driver({"devices": 8}) | env).stdout
    by_pcie = {"devices": 2, "nvlinks": 0, "device.0.ancestor": "1:10"}
    told = kit("doctor", env=driver(by_pcie) | env).stdout
    assert "Each is linked to each by PCIe (PIX)." in told
    assert "NVLinks" not in told


def test_links_that_lead_to_other_gpus_are_counted_pair_by_pair(kit, driver, fake_root):
    """Four cards, bridged two by two, on two sockets; CUDA sees them in another order than NVML."""
    state = {"devices": 4, "name": "NVIDIA A100 80GB PCIe", "nvlinks": 12}
    state |= {f"device.{a}.nvlink_to": f"{b}:12" for a, b in ((0, 1), (1, 0), (2, 3), (3, 2))}
    state |= {"device.2.socket": 1, "device.3.socket": 1}
    env = driver(state) | {"GPUSMOKE_ROOT": str(fake_root), "CUDA_VISIBLE_DEVICES": "3,0,1,2"}
    lines = kit("doctor", env=env).stdout.splitlines()
    at = lines.index("Links between the GPUs")
    assert [line.split()[2:] for line in lines[at + 2 : at + 6]] == [
        ["X", "SYS", "SYS", "NV12"],
        ["SYS", "X", "NV12", "SYS"],
        ["SYS", "NV12", "X", "SYS"],
        ["NV12", "SYS", "SYS", "X"],
    ]


def test_a_driver_that_does_not_tell_of_links_is_no_matter(kit, driver, fake_root):
    calls = ("NvLinkState", "TopologyCommonAncestor", "P2PStatus")
    state = {"devices": 2} | {f"nvmlDeviceGet{call}": 3 for call in calls}
    done = kit("doctor", env=driver(state) | {"GPUSMOKE_ROOT": str(fake_root)})
    assert done.returncode == 0
    assert "linked" not in done.stdout
    hidden = {"devices": 2, "nvmlDeviceGetNvLinkRemoteDeviceType": 3}  # as in a virtual machine
    told = kit("doctor", env=driver(hidden) | {"GPUSMOKE_ROOT": str(fake_root)}).stdout
    assert "Each is linked to each by 18 NVLinks 4.0." in told
