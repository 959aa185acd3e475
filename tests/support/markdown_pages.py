"""What a Markdown page shows: its blocks, commands, links, anchors and tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELLS = ("console", "bash", "sh")
PROGRAMS = ("pixi", "./scripts/run", "gpusmoke", "python", "python3", "uvx", "srun", "sbatch")
FENCE = re.compile(r" *(`{3,}) *([\w+-]*)")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^()\s]+)\)|<[^>]* (?:href|src)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the line of its first fence, and what is in it."""

    language: str
    line: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def pages(root: Path = ROOT) -> list[Path]:
    """Every page that people read, at any depth that this repository has them."""
    folders = ("", "docs", "benchmarks", "tests/gpusmoke/data")
    return sorted(path for folder in folders for path in (root / folder).glob("*.md"))


def split(text: str) -> tuple[list[Block], str]:
    """Its blocks, and the rest, in which lines keep their numbers."""
    blocks, rest, opened, inside = [], [], None, []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, inside = (fence[1], fence[2], number), []
        elif opened and fence and len(fence[1]) >= len(opened[0]) and not fence[2]:
            blocks.append(Block(opened[1], opened[2], tuple(inside)))
            opened = None
        elif opened:
            inside.append(line)
        rest.append("" if opened or fence else line)
    assert opened is None, f"the block of line {opened and opened[2]} has no end"
    return blocks, "\n".join(rest)


def shown(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Each command line with what it printed: in console blocks after $, in others every line, and in sentences."""
    blocks, rest = split(text)
    for block in blocks:
        if block.language in SHELLS:
            yield from in_block(block)
    for number, line in enumerate(rest.splitlines(), 1):
        for span in SPAN.findall(line):
            if (span.split()[0] in PROGRAMS and " " in span) or "-m gpusmoke" in span:
                yield number, span.replace("\\|", "|"), []


def in_block(block: Block) -> Iterator[tuple[int, str, list[str]]]:
    """The block's command lines; a backslash at the end joins the next."""
    command, at, printed = "", 0, []
    for number, line in enumerate(block.lines, block.line + 1):
        typed = line.removeprefix("$ ") if line.startswith("$ ") or block.language != "console" else None
        if command.endswith("\\"):
            command = command[:-1] + line
        elif typed is None:
            printed.append(line)
        else:
            if command.strip():
                yield at, command, printed
            command, at, printed = typed, number, []
    if command.strip():
        yield at, command, printed


def simple_commands(line: str) -> list[list[str]]:
    """The words of each command of a line, without redirections, assignments and what only wraps it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found, words, skip = [], [], False
    for word in lexer:
        if skip:
            skip = False
        elif set(word) <= set("<>&") and set(word) & set("<>"):
            skip = True
            words = words[:-1] if words and words[-1] in ("1", "2") else words  # 2>&1
        elif set(word) <= set(";&|()"):
            found, words = [*found, words], []
        else:
            words.append(word)
    return [inner for words in [*found, words] for inner in unwrapped(words)]


def unwrapped(words: list[str]) -> list[list[str]]:
    """The command that env, sudo, srun or sbatch --wrap would run."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if not words:
        return []
    if words[0] == "sbatch" and "--wrap" in words:
        return simple_commands(words[words.index("--wrap") + 1])
    if words[0] in ("env", "sudo", "srun", "time"):
        rest = words[1:]
        while rest and rest[0].startswith("-"):
            rest = rest[2 if rest[0] in ("-u", "-n", "-p", "-w") else 1 :]
        return unwrapped(rest)
    return [words]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the page's headings."""
    found: dict[str, int] = {}
    _, rest = split(text)
    names = set()
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", rest, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = found[name] = found.get(name, -1) + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def dead_links(path: Path, text: str) -> list[str]:
    """Each relative link of the page that leads nowhere, with the reason."""
    rest = SPAN.sub("code", split(text)[1])
    found = []
    for target in (first or second for first, second in LINK.findall(rest)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            found.append(f"{target}: there is no such file")
        elif anchor and anchor not in anchors(text if file == path else file.read_text(encoding="utf-8")):
            found.append(f"{target}: no heading of that page is called so")
    return found


def tables(text: str) -> list[list[list[str]]]:
    """Each table as rows of cells, the row of titles first."""
    _, rest = split(text)
    found = re.findall(r"(?:^\|.*\|$\n?)+", rest, re.MULTILINE)
    rows = [[[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()] for table in found]
    return [[line for line in table if not all(re.fullmatch(r":?-+:?", cell) for cell in line)] for table in rows]
