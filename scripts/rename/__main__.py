"""Makes the repository a project's own: `pixi run rename NAME`, or `./scripts/run rename NAME` without Pixi."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from names import KIT, module_of, refusal, taken
from parts import Part, Tree, dropped, parts, without
from platforms import DROPS, without_platforms
from project import current, renamed

ROOT = Path(__file__).resolve().parents[2]
DONE, REFUSED = 0, 2
EXAMPLES = """\
examples:
  pixi run rename --dry-run my-project        what would change
  pixi run rename my-project                  slim, with the package my_project
  pixi run rename my-project --keep soak      with a part that would go
  pixi run rename my-project --drop windows   without platforms, now or later
Without Pixi: ./scripts/run rename my-project. More: docs/make-it-yours.md
"""


class RefusalError(Exception):
    """Nothing was changed; the sentence says why."""


class Parser(argparse.ArgumentParser):
    """Tells bad options in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise RefusalError."""
        raise RefusalError(f"{message}; see rename --help")


class Plan(NamedTuple):
    """What there is, and what is to be; nothing is written before both are known."""

    before: Tree
    after: Tree
    moved: dict[str, str]
    """The old path of each file that only gets another one, and with it other words."""
    parts: list[Part]

    @property
    def gone(self) -> list[str]:
        """Files that are no more, under any name."""
        return [file for file in self.before if file not in self.after and file not in self.moved.values()]

    @property
    def changed(self) -> list[str]:
        """Files that stay where they are with another text."""
        return [file for file, text in self.after.items() if file in self.before and self.before[file] != text]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the options. Raises RefusalError where they are wrong."""
    choices = {name: part for name, part in parts().items() if not part.always}
    margin = " " * (max(map(len, choices), default=0) + 4)
    told = "\n".join(
        textwrap.fill(part.what, 80, initial_indent=f"  {name}".ljust(len(margin)), subsequent_indent=margin)
        for name, part in choices.items()
    )
    parser = Parser(
        prog="rename",
        description="Give the repository the name of your project, and drop what only the template needs.",
        epilog=f"parts that go unless they are kept:\n{told}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="as in my-project; its Python package is my_project then")
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument("--keep", action="append", choices=choices, default=[], metavar="PART", help="once for each part")
    keep.add_argument("--keep-all", dest="keep", action="store_const", const=list(choices), help="every part")
    parser.add_argument(
        "--drop", action="append", choices=DROPS, default=[], metavar="PLATFORMS", help=" or ".join(DROPS)
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    return parser.parse_args(arguments)


def git(*arguments: str) -> str:
    """What git prints. Raises RefusalError where this is no repository of git's."""
    try:
        return subprocess.run(
            ["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True, encoding="utf-8"
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        raise RefusalError(
            "this is no git repository, so nothing could be taken back: git init && git add -A && git commit -m start"
        ) from None


def read_tree() -> Tree:
    """Every file that git tracks. Raises RefusalError where one differs from what was committed."""
    if changes := git("status", "--porcelain", "--", "."):
        first = changes.splitlines()[0][3:]
        raise RefusalError(
            f"there are changes that are not committed ({first}), which could be lost: commit them first"
        )
    files = [
        file for file in git("ls-files", "-z").split("\0") if (ROOT / file).is_file() and not (ROOT / file).is_symlink()
    ]
    # Whatever is no text comes through all the same.
    return {file: (ROOT / file).read_bytes().decode("utf-8", "surrogateescape") for file in files}


def plan(before: Tree, args: argparse.Namespace) -> Plan:
    """What is to become of the tree. Raises RefusalError for a name that can't be taken."""
    now, after = current(before), before
    gone: list[Part] = []
    moved: dict[str, str] = {}
    if now == KIT or now != args.name:
        if reason := refusal(args.name, taken(before)):
            raise RefusalError(reason)
        if now != KIT:
            raise RefusalError(f"this is {now} already; for another name, go back to the commit before it was renamed")
        gone = dropped(args.keep)
        after, moved = renamed(without(before, gone), args.name)
    whole = [part.name for part in parts().values() if part.whole and any(map(part.holds, after))]
    if args.drop and whole:
        raise RefusalError(
            f"no platform can be dropped where {' and '.join(whole)} stay, whose tests rest on all of them"
        )
    for drop in args.drop:
        after = without_platforms(after, drop)
    return Plan(before, after, moved, gone)


def show(plan: Plan, args: argparse.Namespace) -> None:
    """Say what changes."""
    would = "would be " if args.dry_run else ""
    if plan.moved:
        print(f"{KIT} becomes {args.name}, whose Python package is {module_of(args.name)}")
    for new, old in sorted(plan.moved.items()):
        print(f"  {would}moved: {old} to {new}")
    print(f"  {would}changed: {', '.join(sorted(plan.changed))}")
    for part in plan.parts:
        count = sum(map(part.holds, plan.gone))
        print(f"  {would}removed: {part.name}, {count} file{'s' * (count != 1)}: {part.what}")
    if args.drop:
        print(f"  {would}dropped from pixi.toml, pixi.lock and ci.yml: {', '.join(args.drop)}")


def apply(plan: Plan) -> None:
    """Write the plan down."""
    for new, old in plan.moved.items():
        (ROOT / new).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / old).rename(ROOT / new)
    for file in [*plan.changed, *plan.moved]:
        (ROOT / file).write_bytes(plan.after[file].encode("utf-8", "surrogateescape"))
    for file in plan.gone:
        (ROOT / file).unlink()
    for file in [*plan.gone, *plan.moved.values()]:
        tidy((ROOT / file).parent)


def tidy(folder: Path) -> None:
    """Remove a folder that is empty, but for what Python compiled there, and those above it that are then."""
    while folder != ROOT and folder.is_dir() and {path.name for path in folder.iterdir()} <= {"__pycache__"}:
        shutil.rmtree(folder)
        folder = folder.parent


def main(arguments: Sequence[str]) -> int:
    """Plan, show, write."""
    try:
        args = parse(arguments)
        planned = plan(read_tree(), args)
    except RefusalError as error:
        print(f"rename: {error}", file=sys.stderr)
        return REFUSED
    except LookupError as error:
        print(
            f"rename: nothing was changed, since a file is not as the template has it: there is no {error.args[0]}",
            file=sys.stderr,
        )
        return REFUSED
    if planned.after == planned.before:
        print(f"This is {args.name} already: nothing to do.")
        return DONE
    try:
        show(planned, args)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to be written goes nowhere
        print("rename: nothing was changed, since nobody read to the end what would be", file=sys.stderr)
        return REFUSED
    if args.dry_run:
        print("Nothing was changed: this was a dry run.")
        return DONE
    apply(planned)
    print(
        f"""
Now look at it, and try it:
  git add -A && git status
  pixi run test && pixi run lint       without Pixi: ./scripts/run test, ./scripts/run lint
  git commit -m "Rename to {args.name}"
What was removed stays in git's history. To take all of it back, before it is committed:
  git reset --hard && git clean -fd
What is left to do by hand: docs/make-it-yours.md"""
    )
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
