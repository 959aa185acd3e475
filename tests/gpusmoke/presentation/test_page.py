"""The HTML page: every value comes from the record, what is missing is said, and what is odd does no harm."""

import re
from pathlib import Path

import pytest

from gpusmoke.findings import finding
from gpusmoke.presentation.html.page import DATA as TEMPLATES
from gpusmoke.presentation.html.page import link, render
from gpusmoke.record import Record, read

pytestmark = pytest.mark.long

DATA = Path(__file__).parents[1] / "data"
ROOT = Path(__file__).parents[3]
PLOTS = 5


@pytest.mark.parametrize("path", sorted(DATA.glob("*.json")), ids=lambda path: path.stem)
def test_every_real_record_has_a_page_that_begins_with_its_verdict(path, harmless):
    record = read(path)
    parsed = harmless(render(record))
    verdict = "Healthy." if record.verdict == "healthy" else "problem"
    assert parsed.text.index(verdict) < parsed.text.index("The machine")
    assert all(found.title.replace("`", "") in parsed.text.replace(" .", ".") for found in record.findings)
    assert (parsed.tags["svg"] > 0) == any(row["quantity"] == "matmul" for row in record.measurements)


def test_a_real_record_without_timeline_and_copies_says_what_is_left_out(harmless):
    parsed = harmless(render(read(DATA / "h100-bench-method-1.json")))
    assert parsed.tags["svg"] == 2
    assert "Over time : Left out: the record holds no timeline." in parsed.text
    assert "Roofline : Left out: the record holds no rate of memory copies." in parsed.text
    for value in ("777.4", "683.8", "1469", "50.94", "69.1", "92.7", "989.4", "NVIDIA H100 80GB HBM3", "580.159.04"):
        assert value in parsed.text


@pytest.fixture(scope="module")
def page(made_record):
    """The page of a record with everything."""
    return render(made_record())


def test_all_plots_stand_with_a_table_behind_them_and_tell_what_they_show(page, harmless):
    parsed = harmless(page)
    assert "Left out" not in page
    assert parsed.tags["svg"] == PLOTS
    assert parsed.all("role").count("img") == PLOTS
    named = " ".join(parsed.all("aria-labelledby")).split()
    assert len(named) == 2 * PLOTS
    assert set(named) <= set(parsed.all("id"))
    assert "Bars for 11 products: burst 50.9 to 1469, settled 49.9 to 1296." in parsed.text
    assert "memory, 3002 GB/s measured; dotted: datasheet, 3350" in parsed.text
    # 2 x 8192 / (3 x 2) operations per byte, of which the memory feeds 3002e9 a second.
    assert "bf16 8192³ 2731 684 989.4 8197" in parsed.text
    # Power and temperature have their numbers in the table of rate and clock.
    assert page.count("<summary>The numbers</summary>") == PLOTS - 1


def test_an_old_record_of_copies_without_a_datasheet_has_no_roofline(made_record):
    record = made_record()
    bare = [{k: v for k, v in row.items() if "datasheet" not in k} for row in record.measurements]
    page = render(record._replace(measurements=bare))
    assert "Left out: the record holds no settled product with a datasheet peak." in page
    assert "datasheet peak</li>" not in page


def test_eight_gpus_fit_in_one_file_and_stand_side_by_side(made_record, harmless):
    page = render(made_record(8))
    parsed = harmless(page)
    assert len(page.encode()) < 400_000
    assert parsed.tags["svg"] == 8 * PLOTS
    assert "8 \N{MULTIPLICATION SIGN} Made-up GPU 1000" in parsed.text
    assert "bf16 8192³ 687.5 -0.5 % -0.4 % -0.2 % -0.1 % +0.1 % +0.2 % +0.4 % +0.5 %" in parsed.text
    assert all(f"GPU {gpu}: Made-up GPU 1000" in parsed.text for gpu in range(8))


def test_the_same_record_gives_the_same_page(page, made_record):
    assert render(made_record()) == page


def test_problems_come_before_what_is_well_and_have_their_advice(made_record, harmless):
    problem = finding("clock-held-down", ["nvml: 0x80 (NVML)"], gpu=0, reasons="hardware power brake")
    parsed = harmless(render(made_record()._replace(findings=[*made_record().findings, problem], measurements=[])))
    text = parsed.text
    assert "1 problem found: clock-held-down." in text
    assert text.index("The clock was held down") < text.index("GPU 0: Made-up GPU 1000: ")
    assert all(step in text for step in (*problem.advice, "nvml: 0x80 (NVML)"))
    assert problem.link in parsed.all("href")


def test_that_cuda_was_not_exercised_stands_before_everything_else(harmless):
    found = [finding("clock-held-down", gpu=0, reasons="heat"), finding("cuda-not-exercised")]
    text = harmless(render(Record("smoke", "2026-11-24T10:15:00Z", findings=found))).text
    assert text.index("CUDA was NOT exercised") < text.index("The clock was held down")


def test_what_failed_its_verification_is_marked(page, made_record):
    rows = [dict(row) for row in made_record().measurements[:2]]
    assert 'class="wrong"' not in page
    rows[0]["verified"] = {**rows[0]["verified"], "passed": False}
    page = render(made_record()._replace(measurements=rows))
    assert re.search(r'<tr class="wrong"><th scope="row">bf16 8192³.*<td>NO\n', page)


def test_an_interrupted_run_is_not_healthy(harmless):
    assert "Interrupted: not complete" in harmless(render(Record("bench", "2026-11-24T10:15:00Z", complete=False))).text


def test_hours_are_not_shown_in_seconds(made_record):
    record = made_record()._replace(measurements=made_record().measurements[:1])
    line = dict(record.facts.row("bench.0.timeline"))
    for factor, unit in ((1, "seconds"), (60, "minutes"), (3600, "hours")):
        long = {**line, "seconds": [factor * at for at in line["seconds"]]}
        fact = record.facts["bench.0.timeline"]._replace(value=long)
        assert f"over time, in {unit}<" in render(
            record._replace(facts=record.facts.with_facts({"soak.0.timeline": fact, "bench.0.timeline": fact}))
        )


def test_a_burst_is_explained_where_there_is_one(made_record):
    bars, several = "</span>burst</li>", made_record().measurements
    assert bars in render(made_record())
    settled = [row for row in several if row["regime"] == "settled"]  # as soak has it
    assert bars not in render(made_record()._replace(measurements=settled))


def test_it_links_to_the_document_that_lies_in_the_same_repository(made_record, tmp_path):
    assert (ROOT / "docs/measuring.md").is_file()
    record = made_record()._replace(measurements=made_record().measurements[:1])
    assert 'href="../docs/measuring.md"' in render(record, ROOT / "results")
    assert 'href="../docs' not in render(record, tmp_path)


@pytest.mark.parametrize(
    "text",
    ["javascript:alert(1)", "https:", "//example.com", "file:///etc/passwd", "http://[", None, "data:text/html,x"],
)
def test_only_web_pages_are_linked(text):
    assert link(text) is None
    assert link("https://example.com/a?b#c") == "https://example.com/a?b#c"


def colours(css, number):
    """The variables of one theme: light 0, dark 1, print 2."""
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    return dict(re.findall(r"--(\w[\w-]*): (#\w+)", blocks[number]))


def luminance(colour):
    """Relative luminance of #rgb or #rrggbb, as WCAG 2.2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("number", range(3), ids=["light", "dark", "print"])
def test_text_and_marks_can_be_told_from_the_paper(number):
    theme = colours((TEMPLATES / "report.css").read_text(), number)
    for name in ("ink", "muted", "link", "good", "bad", "warn", "calm", "peak"):  # text: WCAG 1.4.3
        assert contrast(theme[name], theme["paper"]) >= 4.5, name
    for name, panel in (("good", "good-panel"), ("bad", "bad-panel"), ("muted", "good-panel"), ("ink", "panel")):
        assert contrast(theme[name], theme[panel]) >= 4.5, name
    for name in ("settled", "burst", "peak", "memory"):  # graphics: WCAG 1.4.11
        assert contrast(theme[name], theme["paper"]) >= 3, name
    assert contrast(theme["settled"], theme["burst"]) >= 1.8
