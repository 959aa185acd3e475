"""The page that fleet writes: whole, safe, and of use with many nodes."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fleets import A10, Fleet, problem, setting, slow

from gpusmoke.cli import main


class Page(HTMLParser):
    """What a page holds: its text, its tags with their attributes, and its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.scripts, self.inside = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data):
        (self.scripts if self.inside == "script" else self.words).append(data)

    def handle_endtag(self, tag):
        self.inside = None

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def count(self, tag):
        return sum(one == tag for one, _ in self.tags)


@pytest.fixture
def page(tmp_path, monkeypatch, capsys):
    """`page(count, {place: change})`: the page about nodes with one GPU each, some of them changed."""
    monkeypatch.chdir(tmp_path)

    def make(count, changes):
        fleet = Fleet(count, faults=0, models=[A10])
        Path("results").mkdir()
        for at, name in enumerate(fleet.names):
            document = json.loads(fleet.text(at))
            changes.get(at, lambda _: None)(document)
            Path(f"results/{name}.json").write_text(json.dumps(document))
        assert main(["fleet", "results", "--html", "fleet.html", "--json"]) in (0, 1)
        printed = capsys.readouterr()
        assert printed.err == "Report: fleet.html\n"
        Path("fleet.json").write_text(printed.out)
        return Path("fleet.html").read_text(encoding="utf-8")

    return make


def test_it_has_every_line_every_node_and_a_histogram_for_each_product(page):
    usual = Fleet(1, faults=0, models=[A10]).usual(0)
    text = page(20, {3: slow(0.8, usual), 5: problem("wrong-result", 0, "The product is wrong.")})
    shown = Page(text)
    assert "2 problems found: node-broken, slower-than-fleet." in shown.text
    assert "BROKEN node00006 GPU 0 wrong-result: The product is wrong." in shown.text
    assert re.search(r"SLOW node00004 GPU 0 (19|20|21)\.\d % slower in ", shown.text)
    assert sum("data-row" in attributes for _, attributes in shown.tags) == 2 + 20
    assert shown.count("svg") == 2
    assert "slow: below" in shown.text
    assert "All 20 nodes that left a record" in shown.text


def test_the_histogram_tells_how_many_gpus_are_where(page):
    usual = Fleet(1, faults=0, models=[A10]).usual(0)
    text = page(20, {3: slow(0.8, usual)})
    numbers = re.findall(r'<th scope="row">[\d.]+<td>[\d.]+<td>(\d+)', text)
    assert sum(map(int, numbers)) == 2 * 20
    assert text.count("var(--peak)") > 2  # the slow one's bar, and the line


def test_it_loads_nothing_and_runs_its_own_script_alone(page):
    text = page(3, {})
    shown = Page(text)
    (script,) = shown.scripts
    (policy,) = [one["content"] for tag, one in shown.tags if one.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}';" in policy
    assert not [one for tag, one in shown.tags if "src" in one or (tag == "link" and one["href"] != "data:,")]


def test_what_a_record_says_is_never_taken_for_html(page):
    evil = "<script>alert(1)</script>"
    text = page(3, {0: problem("wrong-result", 0, evil), 1: setting("nvml.driver_version", evil)})
    assert evil not in text
    assert evil in Page(text).text


def test_a_stored_fleet_makes_the_same_page(page):
    first = page(3, {})
    assert main(["report", "fleet.json", "--html", "again.html"]) == 0
    assert Path("again.html").read_text(encoding="utf-8") == first


def test_odd_facts_are_left_out_and_end_nothing(page, capsys):
    page(3, {})
    record = json.loads(Path("fleet.json").read_text())
    for name in ("fleet.lines", "fleet.rates", "fleet.versions", "fleet.nodes"):
        first = record["facts"][name]["value"][0]
        odd = [first | {key: value} for key in first for value in (None, -1, "x", [[1]], {"a": 1})]
        record["facts"][name]["value"] += [*odd, {}, 7]
    record["facts"]["fleet.counts"]["value"] = record["facts"]["fleet.size"]["value"] = "x"
    Path("fleet.json").write_text(json.dumps(record))
    for args in (["--html", "odd.html"], ["--markdown"], []):
        assert main(["report", "fleet.json", *args]) == 0, capsys.readouterr().err
    assert "</html>" in Path("odd.html").read_text(encoding="utf-8")


def test_a_page_that_can_not_be_drawn_is_told_before_all_is_read(kit, tmp_path):
    (tmp_path / "jinja2.py").write_text("raise ModuleNotFoundError('No module', name='jinja2')")
    path = f"{tmp_path}:{kit.environment()['PYTHONPATH']}"
    done = kit("fleet", "nowhere", "--html", "fleet.html", env={"PYTHONPATH": path})
    assert done.returncode == 2
    assert "jinja2" in done.stderr


def test_another_file_is_never_overwritten(page):
    page(3, {})
    Path("notes.html").write_text("<p>mine")
    assert main(["fleet", "results", "--html", "notes.html"]) == 2
    assert Path("notes.html").read_text() == "<p>mine"
