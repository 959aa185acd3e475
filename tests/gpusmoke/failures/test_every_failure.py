"""No class of failure without a test that drives the real program into it, and the catalogue says which."""

import runpy
from pathlib import Path

from gpusmoke.findings import catalogue


def test_every_problem_and_warning_is_provoked_here_and_the_catalogue_says_how():
    tested = {}
    for module in Path(__file__).parent.glob("test_*.py"):
        names = runpy.run_path(str(module)) if module != Path(__file__) else {"NAMED": ()}
        for kind in names["NAMED"]:
            tested.setdefault(kind, set()).add(names["STAND_IN"])
    told = {
        kind: set(entry.get("tested", []))
        for kind, entry in catalogue().items()
        if entry["severity"] in ("problem", "warning")
    }
    assert tested == told


def test_no_entry_is_without_a_test():
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [kind for kind in catalogue() if f'"{kind}"' not in tests] == []


def test_the_page_about_failures_is_what_the_catalogue_says(kit):
    page = Path(__file__).parents[3] / "docs/failures.md"
    assert page.read_text() == kit("doctor", "--list", "--markdown").stdout, (
        "doctor --list --markdown > docs/failures.md"
    )
