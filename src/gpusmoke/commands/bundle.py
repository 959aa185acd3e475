"""`doctor --bundle`: a record with what else a bug report needs, and without what names people or machines."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from gpusmoke.errors import UsageError
from gpusmoke.facts import Fact, Facts, Json
from gpusmoke.facts.host import read
from gpusmoke.record import Record

DEADLINE_SECONDS = 10.0
KERNEL_LINES = 40
# Names of users and hosts that tell nothing, and are words in what programs print.
NO_NAMES = {"root", "user", "admin", "ubuntu", "nobody", "localhost", "linux", "gpu", "cuda", "nvidia", "pixi", "vm"}
SHORTEST_NAME = 3


def refuse_to_overwrite(path: Path) -> None:
    """Raise UsageError where the file is there already."""
    if path.exists():
        raise UsageError(f"{path} is there already; give --bundle another name")


def output(*command: str) -> Fact:
    """What a program prints, or why it could not be asked."""
    source = " ".join(command)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Fact(None, source, type(error).__name__)
    if done.returncode:
        return Fact(None, source, f"ended with {done.returncode}: {done.stderr.strip()[:200]}")
    return Fact(done.stdout, source)


def kernel_log() -> Fact:
    """The last lines of the kernel's log in which the driver speaks; reading it may need root."""
    log = output("dmesg")
    if log.value is None:
        return log
    lines = [line for line in str(log.value).splitlines() if re.search("NVRM|Xid|nvidia", line, re.IGNORECASE)]
    return Fact(lines[-KERNEL_LINES:], "dmesg")


def packages() -> Fact:
    """What Pixi installed into the running environment: one NAME-VERSION-BUILD a line."""
    records = sorted(path.stem for path in (Path(sys.prefix) / "conda-meta").glob("*.json"))
    return Fact(records, "conda-meta", None if records else "not a Pixi environment")


def names_to_hide() -> dict[str, str]:
    """What is taken out, and what stands there instead; the longest first, since one may lie in another."""
    host, home = platform.node(), str(Path.home())
    user = os.environ.get("USER") or os.environ.get("USERNAME") or Path(home).name
    hidden = {home: "~"} if len(home) > 1 else {}
    named = {host: "HOST", host.split(".")[0]: "HOST", user: "USER"}
    hidden |= {name: what for name, what in named.items() if len(name) >= SHORTEST_NAME and name not in NO_NAMES}
    return dict(sorted(hidden.items(), key=lambda pair: -len(pair[0])))


def without_names(value: Json, hidden: dict[str, str]) -> Json:
    """The value with the names taken out of every text in it, and out of the homes of others."""
    if isinstance(value, str):
        for name, instead in hidden.items():
            value = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", instead, value)
        value = re.sub(r"(Serial Number\s*:\s*)\S+", r"\1REMOVED", value)
        return re.sub(r"(/home/|/Users/|\\Users\\)[^/\\:\s]+", r"\1USER", value)
    if isinstance(value, list):
        return [without_names(one, hidden) for one in value]
    if isinstance(value, dict):
        return {name: without_names(one, hidden) for name, one in value.items()}
    return value


def write(record: Record, path: Path) -> None:
    """Write the record with the additional facts to a new file. Raises UsageError where that can't be done."""
    pixi = record.facts.text("pixi.executable")
    more = {
        "bundle.os_release": Fact(read(Path("/etc/os-release")), "/etc/os-release"),
        "bundle.python": Fact(sys.version, "sys.version"),
        "bundle.packages": packages(),
        "bundle.pixi_info": output(pixi, "info", "--json") if pixi else Fact(None, "pixi info", "no Pixi"),
        "bundle.nvidia_smi": output("nvidia-smi", "-q"),
        "bundle.kernel_log": kernel_log(),
    }
    whole = record._replace(facts=Facts(record.facts).with_facts(more))
    document, hidden = whole.to_json(), names_to_hide()  # uncut: a report has the room
    document |= {part: without_names(document[part], hidden) for part in ("facts", "findings")}
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}; give --bundle another name") from None
