"""What documents show: commands that exist, links that lead somewhere, manifests that parse, numbers from the data."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from markdown_pages import ROOT, Block, anchors, dead_links, in_block, pages, shown, simple_commands, split, tables
from shown_commands import TASKS, is_manifest, problems, toml_problems

DEADLINE_SECONDS = 60
NONE = "\N{EN DASH}"  # in a table
BUILDS = tomllib.loads((ROOT / "src/gpusmoke/data/builds.toml").read_text(encoding="utf-8"))
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages()}
COMMANDS = [(name, number, line, printed) for name, text in TEXTS.items() for number, line, printed in shown(text)]
BLOCKS = [(name, block) for name, text in TEXTS.items() for block in split(text)[0]]
# Answered from files alone, in a second.
CHEAP = re.compile(r"pixi run (audit(?! --diff)|compare|report(?!.*--html)|doctor --(explain|list))\b")


def cheap_commands():
    """The arguments of each such command whose words all stand for themselves, once where no output is shown."""
    seen = set()
    for name, number, line, printed in COMMANDS:
        plain = line.partition(" #")[0].strip()
        known, seen = not printed and plain in seen, seen | {plain}
        if (
            not known
            and name != "docs/failures.md"
            and CHEAP.match(plain)
            and not re.search(r"[A-Z]{2}|\.\.\.|[<>]", plain)
        ):
            yield pytest.param(simple_commands(plain)[0][2:], printed, id=f"{name}:{number}")


def without_numbers(text):
    """What a newer lock leaves as it is, on one line: versions go, names such as cuda13 stay."""
    return re.sub(r"\s+", " ", re.sub(r"(?<![\w.])\d+(\.\d+)*", "#", text)).strip()


# ── The pages ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_that_is_shown_exists_and_takes_what_it_is_given(name):
    wrong = {f"{name}:{number}: {line}": problems(line) for page, number, line, _ in COMMANDS if page == name}
    assert {line: why for line, why in wrong.items() if why} == {}


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_somewhere(name):
    assert dead_links(ROOT / name, TEXTS[name]) == []


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=f"{name}:{block.line}") for name, block in BLOCKS if block.language == "toml"]
)
def test_every_toml_block_parses_and_a_manifest_is_one(block):
    assert tomllib.loads(block.text)
    assert is_manifest(block.text)
    assert toml_problems(block.text) == []


@pytest.mark.parametrize(("arguments", "printed"), list(cheap_commands()))
def test_a_command_that_needs_no_gpu_runs_and_prints_what_is_shown(arguments, printed):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "PIXI_"))}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gpusmoke", *arguments],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode in (0, 1), done.stderr
    real = without_numbers(done.stdout)
    parts = re.split(r"^ *…$", "\n".join(printed), flags=re.MULTILINE)
    assert [part for part in map(without_numbers, parts) if part not in real] == []


def test_the_documents_show_much_and_some_of_everything():
    """An error in the reading of pages must not pass for pages without errors."""
    lines = [line for _, _, line, _ in COMMANDS]
    assert len(lines) > 150
    for part in (
        "pixi add",
        "pixi workspace platform add",
        "pixi run -e cuda13",
        "./scripts/run",
        "srun",
        "-m gpusmoke",
    ):
        assert any(part in line for line in lines), part
    assert len(list(cheap_commands())) >= 3
    assert sum(block.language == "toml" for _, block in BLOCKS) >= 4


def test_the_index_names_every_page_in_docs():
    named = set(re.findall(r"\]\(([\w.-]+)\)", TEXTS["docs/README.md"]))
    assert named >= {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_the_readme_shows_every_task():
    tasks = {task for known in TASKS.values() for task in known}
    assert tasks - set(re.findall(r"pixi run ([\w-]+)", TEXTS["README.md"])) == set()


def test_every_path_of_the_map_is_there():
    """A name that is set in is in the last one that is not."""
    block = split(TEXTS["README.md"].partition("## What is in it")[2])[0][0]
    folder, missing = "", []
    for line in block.lines:
        names = [line.split()[0]] if line.startswith(" ") else line.partition("   ")[0].split()
        folder = folder if line.startswith(" ") else names[0]
        missing += [name for name in names if not (ROOT / (folder if line.startswith(" ") else "") / name).exists()]
    assert missing == []
    assert len(block.lines) > 10


# ── Numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(name, title):
    """The table's rows whose first title that is, without the titles."""
    (found,) = [table for table in tables(TEXTS[name]) if table[0][0] == title]
    return found[1:]


def test_the_table_of_a_drivers_own_cuda_is_the_data():
    rows = [[one["cuda"], one["linux"], one.get("windows", NONE)] for one in reversed(BUILDS["toolkit"])]
    assert rows_of("docs/choose-a-cuda.md", "its own CUDA") == rows


def test_the_table_of_compatible_drivers_is_the_data():
    """Where the data has no driver for Windows it is the branch, which both systems number alike."""
    rows = [
        [
            f"{one['major']}.x",
            one["linux"],
            one.get("windows", one["linux"].split(".")[0] if one["major"] > 12 else NONE),
        ]
        for one in reversed(BUILDS["compatibility"])
    ]
    assert rows_of("docs/choose-a-cuda.md", "builds of CUDA") == rows


def test_the_table_of_cards_is_the_data():
    rows = {row[0].split()[0]: row[1] for row in rows_of("docs/choose-a-cuda.md", "build of PyTorch on conda-forge")}
    builds = [one for one in BUILDS["build"] if "lines" in one]  # those that pixi.toml gets today
    assert rows == {f"cuda{one['cuda'].replace('.', '')}": ", ".join(one["architectures"]) for one in builds}


@pytest.mark.parametrize("name", TEXTS)
def test_every_driver_that_a_sentence_asks_for_is_in_the_data(name):
    known = {one["linux"].split(".")[0] for kind in ("toolkit", "compatibility") for one in BUILDS[kind]}
    asked = re.findall(r"\bdriver (?:>= )?(\d{3})(?![\d.]|,\d)|\((\d{3}) and newer", TEXTS[name])
    assert {first or second for first, second in asked} - known == set()


# ── The same checks on what is wrong ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pixi run burn", "no such task"),
        ("pixi run -e cuda13 doctor", "no such task"),
        ("pixi run -e cuda11 smoke", "no such environment"),
        ("pixi run smoke --with-gpus", "unrecognized"),
        ("pixi run --freeze smoke", "no such option"),
        ("pixi run audit --driver twelve", "no NVIDIA driver"),
        ("pixi run report tests/gpusmoke/data/no-such.json", "there is no"),
        ("pixi run compare only-one.json", "required"),
        ("./scripts/run bench --dtypes bf16", "unrecognized"),
        ("./scripts/run", "no task"),
        ("PYTHONPATH=src python -m gpusmoke inspect", "no such command"),
        ("python benchmarks/no_such.py", "there is no"),
        ("uvx --from git+https://github.com/OWNER/REPO gpusmoke inspect", "no such command"),
        ("pixi workspace system-requirements add cuda 12", "no such command"),
        ("pixi add --dry pandas", "no such option"),
        ("pixi lock pytorch", "fewer arguments"),
        ("pixi list --platform", "wants a value"),
        ("pixi install -e gpu", "no such environment"),
        ("pixi workspace platform add a=linux-64 --cudas 12.0", "no such option"),
        ("git add . && pixi run burn | tee log", "no such task"),
        ("env -u LD_LIBRARY_PATH pixi run burn", "no such task"),
        ("srun --gpus-per-node=1 pixi run burn", "no such task"),
        ('sbatch --gpus=1 --wrap "pixi run -e cuda13 burn"', "no such task"),
        ("sbatch scripts/no-such.sbatch", "there is no"),
        ("pixi run 'smoke", "quotation"),
    ],
)
def test_a_wrong_command_is_found(line, said):
    (why,) = problems(line)
    assert said in why


@pytest.mark.parametrize(
    "line",
    [
        "pixi run -e cuda13 smoke --require-gpu >> summary 2>&1",
        "pixi run test -k lock --no-such-option-of-ours",
        "pixi run python -c 'import torch; print(torch.cuda.is_available())'",
        "pixi run audit --driver VERSION --gpu X.Y",
        "./scripts/run TASK",
        "pixi init example && cd example",
        "sudo modprobe nvidia_uvm",
    ],
)
def test_a_right_command_is_not(line):
    assert problems(line) == []


PAGE = """# Title

## One `two`, (three)

## Same

## Same

[a](#one-two-three) [b](#same-1) [c](other.md#there) [![p](picture.png)](other.md) [out](https://example.org/x)
<a href="other.md"><img src="drawing.png" width="9"></a>
`[no](link.md)`
"""


def test_a_dead_link_is_found(tmp_path):
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# There\n")
    for name in ("picture.png", "drawing.png"):
        (tmp_path / name).touch()
    page.write_text(PAGE)
    assert anchors(PAGE) == {"title", "one-two-three", "same", "same-1"}
    assert dead_links(page, PAGE) == []
    for old, new in (
        ("#same-1", "#same-2"),
        ("md#there", "md#here"),
        ("](other.md)", "](none.md)"),
        ("(picture.png)", "(none.png)"),
        ("drawing", "none"),
        ('f="other', 'f="none'),
    ):
        assert len(dead_links(page, PAGE.replace(old, new))) == 1, new


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[workspace]\nplatforms = ["linux-64"', ""),
        ('[workspace]\nsubdirs = ["linux-64"]\n', "not in [workspace]: subdirs"),
        ('[workspace]\nplatforms = [{ name = "a", platform = "linux-64", cuda-driver = "12" }]\n', "not of a platform"),
        ('[system-requirements]\ncuda = "12"\n', "not in a manifest: system-requirements"),
        ('[feature.cuda13]\nplatforms = ["linux-64-cuda31"]\n', "no such platform"),
        ('[environments]\na = { features = ["gpu"] }\n', "no such feature"),
        ('[target."*-cuda31".dependencies]\npytorch = "*"\n', "no platform matches"),
        ('[target."*-cuda13".dependencies]\npytorch = { version = "*", hash = "cuda*" }\n', "not of pytorch: hash"),
    ],
)
def test_a_wrong_manifest_is_found(text, said):
    (why,) = toml_problems(text)
    assert said in why


def test_the_deprecated_table_may_be_shown_as_what_was_before():
    assert toml_problems('# Before\n[system-requirements]\ncuda = "12"\n') == []


def test_a_block_is_read_as_people_read_it():
    console = Block("console", 1, ("$ pixi lock # a comment", "output", "$ pixi add \\", "  pandas", "✔ Added"))
    assert list(in_block(console)) == [
        (2, "pixi lock # a comment", ["output"]),
        (4, "pixi add   pandas", ["✔ Added"]),
    ]
    bash = Block("bash", 1, ("# only a comment", "", "A=1 pixi lock && pixi list"))
    assert [words for _, line, _ in in_block(bash) for words in simple_commands(line)] == [
        ["pixi", "lock"],
        ["pixi", "list"],
    ]
    with pytest.raises(AssertionError, match="no end"):
        split("```bash\npixi lock\n")


def test_output_that_a_command_does_not_print_is_found():
    real = without_numbers("ok       default runs there, as\n         linux-64-cuda12: PyTorch 2.12.1.\n")
    assert without_numbers("ok default runs there, as linux-64-cuda12: PyTorch 2.99.") in real
    assert without_numbers("ok default and cpu run there") not in real
    assert without_numbers("linux-64-cuda13: PyTorch") not in real


def test_every_page_is_collected():
    assert TEXTS.keys() >= {"README.md", "docs/failures.md", "docs/gpu-ci.md", "benchmarks/README.md", "CHANGELOG.md"}
    assert all(Path(ROOT, name).is_file() for name in TEXTS)
