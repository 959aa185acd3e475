"""The live line on a terminal, and the lines that stay."""

import re
import sys
import time

import pytest
from terminals import on_a_terminal

from gpusmoke.presentation.progress import Progress
from gpusmoke.workers.parent import Event


def test_the_live_line_tells_the_time_of_the_command_and_what_the_furthest_behind_does():
    progress = Progress(quiet=False, since=time.monotonic() - 61)
    assert str(progress.__rich__()) == "  61 s  starting"
    progress.show(Event(0, "step", "in a first sum"))
    progress.show(Event(1, "step", "while importing PyTorch"))
    assert str(progress.__rich__()) == "  61 s  2 running, in a first sum"
    progress.show(Event(0, "end", None))
    assert str(progress.__rich__()) == "  61 s  1 running, while importing PyTorch"
    progress.show(Event(1, "end", None))
    assert str(progress.__rich__()) == "  61 s  finishing"


def test_what_a_child_says_is_text(capsys):
    Progress(quiet=False, since=time.monotonic()).show(Event(0, "line", "[/red] is no markup"))
    assert capsys.readouterr().err == "   0 s  [/red] is no markup\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_its_time_goes_on_while_nobody_says_anything(kit, tmp_path):
    (tmp_path / "torch.py").write_text("import time; time.sleep(2); raise ImportError('that is all')")
    search = kit.environment({})["PYTHONPATH"]
    written = on_a_terminal(kit, {"TERM": "xterm", "PYTHONPATH": f"{tmp_path}:{search}"}, "check")
    assert len(set(re.findall(r"(\d+) s  1 running, while importing PyTorch", written))) > 1
