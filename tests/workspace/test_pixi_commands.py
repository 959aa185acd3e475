"""The table of Pixi's commands, by which documents are judged, beside the Pixi that is here: CI has one."""

import os
import re
import shutil
import subprocess

import pytest
from shown_commands import COMMON, PIXI

DEADLINE_SECONDS = 30
PROGRAM = os.environ.get("PIXI_EXE") or shutil.which("pixi")
OPTION = re.compile(r"^\s+(?:(-\w), )?(--[a-z][\w-]*)((?: <|=<|\[=)\S+)?", re.MULTILINE)


def options_of(text):
    """The options of a page of help, as the table writes them."""
    found = set()
    for short, long, value in OPTION.findall(text):
        takes = "=" if value and not value.startswith("[") else ""
        found |= {name + takes for name in (short, long) if name}
    return found


def test_a_page_of_help_is_read_as_the_table_has_it():
    text = (
        "Usage: pixi lock\n\nOptions:\n  -n, --dry-run\n          --not-one\n      --fields <A>...\n  --offline[=<A>]\n"
    )
    assert options_of(text) == {"-n", "--dry-run", "--not-one", "--fields=", "--offline"}


if PROGRAM:  # not a skip, which would be a failure where nobody wants Pixi

    @pytest.mark.parametrize("command", PIXI)
    def test_pixi_still_takes_what_the_table_says(command):
        done = subprocess.run(
            [PROGRAM, *command.split(), "--help"],
            env={**os.environ, "COLUMNS": "400", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        common = {name for name in COMMON if name not in ("-m=", "--manifest-path=", "-h")}
        assert {*PIXI[command]["options"], *common} - options_of(done.stdout) == set()
