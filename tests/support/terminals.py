"""What a command shows to somebody who sits before a terminal."""

import contextlib
import os
import subprocess
import sys


def on_a_terminal(kit, changes, *arguments):
    """All that a command writes where both of its outputs are a terminal."""
    import pty  # Windows has none

    parent, child = pty.openpty()
    env = kit.environment({"NO_COLOR": ""} | changes)
    command = [sys.executable, "-m", "gpusmoke", *arguments]
    subprocess.run(command, env=env, cwd=kit.cwd, stdout=child, stderr=child, timeout=60, check=False)
    os.close(child)
    written = b""
    with contextlib.suppress(OSError):  # how Linux says that there is no more
        while more := os.read(parent, 65536):
            written += more
    os.close(parent)
    return written.decode()
