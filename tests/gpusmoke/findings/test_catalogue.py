"""The catalogue of findings: whole, and every entry of it is picked by some rule."""

import re
from pathlib import Path

import pytest

import gpusmoke
from gpusmoke.findings import catalogue

SOURCE = Path(gpusmoke.__file__).parent


@pytest.mark.parametrize("kind", catalogue())
def test_an_entry_is_whole(kind):
    entry = catalogue()[kind]
    assert set(entry) <= {
        "severity",
        "title",
        "advice",
        "link",
        "explain",
        "cuda",
        "kernel",
        "nvcc",
        "nvml",
        "gpu",
        "says",
        "tested",
        "provoked",
    }
    assert entry["severity"] in ("problem", "warning", "note", "ok")
    assert len(entry["title"]) > 10
    if entry["severity"] in ("problem", "warning") and kind != "interrupted":
        assert entry["advice"]
        assert entry["link"].startswith("https://")


@pytest.mark.parametrize("kind", catalogue())
def test_an_entry_is_picked_by_a_rule(kind):
    code = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    assert re.search(rf'"{kind}"', code) or {"cuda", "kernel", "nvcc", "nvml", "gpu", "says"} & set(catalogue()[kind])
