"""What doctor tells beside its findings: the catalogue, one entry of it, a bundle for a bug report, annotations."""

import getpass
import json
import platform
from pathlib import Path

import pytest

from gpusmoke.commands.bundle import names_to_hide, without_names
from gpusmoke.findings import catalogue


def test_the_whole_catalogue_is_listed(kit):
    done = kit("doctor", "--list")
    assert done.returncode == 0
    assert all(f" {kind}\n" in done.stdout for kind in catalogue())
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "{" not in done.stdout


def test_the_catalogue_is_data_too(kit):
    entries = json.loads(kit("doctor", "--list", "--json").stdout)
    assert [entry["id"] for entry in entries] == list(catalogue())
    assert json.loads(kit("doctor", "--explain", "uvm-missing", "--json").stdout)["id"] == "uvm-missing"


def test_only_the_list_is_written_as_markdown(kit):
    assert kit("doctor", "--list", "--markdown").stdout.startswith("#")
    assert kit("doctor", "--markdown").returncode == 2


@pytest.mark.parametrize("kind", catalogue())
def test_each_finding_can_be_explained(kind):
    from gpusmoke.presentation.catalogue import add_entry
    from gpusmoke.presentation.terminal import Page

    page, entry = Page(), catalogue()[kind]
    add_entry(page, kind)
    text = page.text()
    assert kind in text.splitlines()[0]
    assert all(str(code) in text for code in entry.get("cuda", []) + entry.get("kernel", []))
    assert entry.get("link", "") in text
    assert len(entry.get("advice", [])) <= text.count("\n  ")


def test_an_explanation_has_cause_code_cure_and_link(kit):
    text = kit("doctor", "--explain", "fabric-manager-down").stdout
    assert "Known by: CUDA error at its start 802" in text
    assert "Fabric Manager" in text
    assert "\n  systemctl status nvidia-fabricmanager" in text
    assert "https://" in text


@pytest.mark.parametrize(
    ("asked", "hint"), [("uvm_missing", "uvm-missing"), ("fabric", "fabric-manager-down"), ("zzz", "--list")]
)
def test_an_unknown_finding_is_told_with_the_nearest_one(kit, asked, hint):
    done = kit("doctor", "--explain", asked)
    assert done.returncode == 2
    assert repr(asked) in done.stderr
    assert hint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def talkative(tools, kit):
    """Programs that print what names this machine and its users."""
    words = (
        f"host {platform.node()}, home {Path.home()}/x, /home/somebody/y, me {getpass.getuser()} Serial Number : 12345"
    )
    for name in ("nvidia-smi", "dmesg", "pixi"):
        (tools / name).write_text(f"#!/bin/sh\necho 'NVRM: {words}'\n")
        (tools / name).chmod(0o755)


@pytest.mark.skipif("sys.platform == 'win32'", reason="the stand-in programs are shell scripts")
def test_a_bundle_holds_what_a_report_needs_and_names_nobody(kit, talkative, valid, tmp_path):
    path = tmp_path / "bug.json"
    home = tmp_path / "home-of-anna"
    done = kit(
        "doctor", "--bundle", str(path), env={"USER": "anna", "HOME": str(home), "LD_LIBRARY_PATH": f"{home}/lib"}
    )
    assert done.returncode == 0
    assert f"wrote {path}" in done.stderr
    text = path.read_text()
    record = json.loads(text)
    valid(record)
    for fact in ("os_release", "packages", "pixi_info", "nvidia_smi", "kernel_log", "python"):
        assert f"bundle.{fact}" in record["facts"]
    assert "NVRM" in record["facts"]["bundle.kernel_log"]["value"][0]
    assert record["facts"]["env.LD_LIBRARY_PATH"]["value"] == "~/lib"
    for name in ("anna", "somebody", "12345"):
        assert name not in text, name


def test_host_and_user_are_taken_out_and_ordinary_words_are_not(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "annas-box.example.org")
    monkeypatch.setenv("USER", "anna")
    value = {"gpu": ["anna@annas-box: /home/anna/x", "annas-box.example.org", "susanna"]}
    assert without_names(value, names_to_hide()) == {"gpu": ["USER@HOST: /home/USER/x", "HOST", "susanna"]}
    monkeypatch.setattr("platform.node", lambda: "gpu")
    monkeypatch.setenv("USER", "nvidia")
    assert without_names("gpu nvidia-smi", names_to_hide()) == "gpu nvidia-smi"


def test_a_bundle_is_not_cut_however_long_nvidia_smi_talks(kit, tools, tmp_path):
    (tools / "nvidia-smi").write_text(
        "#!/bin/sh\ni=0; while [ $i -lt 3000 ]; do echo 'a line of nvidia-smi -q, this long'; i=$((i+1)); done\n"
    )
    (tools / "nvidia-smi").chmod(0o755)
    path = tmp_path / "long.json"
    assert kit("doctor", "--bundle", str(path)).returncode == 0
    assert len(json.loads(path.read_text())["facts"]["bundle.nvidia_smi"]["value"].splitlines()) == 3000
    assert kit("report", str(path)).returncode == 0


def test_a_bundle_never_replaces_a_file(kit, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    done = kit("doctor", "--bundle", str(path))
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert path.read_text() == "mine"
    assert kit("doctor", "--list", "--bundle", str(tmp_path / "new.json")).returncode == 2
    assert kit("doctor", "--bundle", str(tmp_path / "no/such/folder.json")).returncode == 2


@pytest.mark.skipif("sys.platform != 'linux'", reason="the stand-in driver is built for Linux")
def test_on_github_problems_and_warnings_are_annotations(kit, driver, fake_root):
    env = driver({"cuInit": 802, "power_limit_mw": 500000}) | {
        "GPUSMOKE_ROOT": str(fake_root),
        "GITHUB_ACTIONS": "true",
    }
    done = kit("doctor", "--json", env=env)
    json.loads(done.stdout)
    error, warning = done.stderr.strip().splitlines()
    assert error.startswith("::error title=doctor%3A fabric-manager-down::CUDA waits for")
    assert "%0Atry: systemctl status nvidia-fabricmanager" in error
    assert warning.startswith("::warning title=doctor%3A power-cap-lowered::The power limit is 500 W")
    assert "::" not in kit("doctor", env=env | {"GITHUB_ACTIONS": ""}).stderr
