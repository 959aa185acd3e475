"""The command line: parses it, runs one command, shows the record, and turns it into an exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gpusmoke import __version__
from gpusmoke.errors import HEALTHY, INTERNAL, INTERRUPTED, USAGE, UsageError

if TYPE_CHECKING:
    from gpusmoke.record import Record

EVERY_COMMAND = {
    "doctor": "what GPU, driver and Pixi will do here, without PyTorch",
    "check": "torch.cuda.is_available(), and verified work on every GPU",
    "bench": "CUDA matmul benchmark: from rest and settled, verified",
    "smoke": "doctor, check and a short bench: the one command for people and CI",
    "kernels": "CUDA kernels of the kit's own, built by nvcc, beside cuBLAS",
    "collectives": "how fast GPUs exchange data through NCCL, on one machine or many",
    "soak": "minutes or hours of full load, every result compared bit for bit",
    "audit": "what pixi.lock holds and where it runs, without a GPU or network",
    "compare": "whether a record is slower than an older one, and why",
    "fleet": "many machines' records as one table: broken, slow, missing, odd",
    "report": "show a stored record",
    "gate": "CI's one required status: whether every job ended as it had to",
}
# A project that has no use for one deletes its module, and not a line of code.
COMMANDS = {
    name: what
    for name, what in EVERY_COMMAND.items()
    if Path(__file__).with_name("commands").joinpath(f"{name}.py").is_file()
}
EXIT_CODES = """\
exit codes: 0 healthy, 1 a problem was found, 2 wrong usage or unreadable input,
            70 a fault of gpusmoke, 130 interrupted"""


class Parser(argparse.ArgumentParser):
    """Tells bad options in one sentence, like every other bad input, instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{message}; see {self.prog} --help")


def parser_of(name: str) -> argparse.ArgumentParser:
    """Build the parser of one command; its module is imported only now, since doctor has to start fast."""
    command = importlib.import_module(f"gpusmoke.commands.{name}")
    parser = Parser(
        prog=f"gpusmoke {name}",
        description=f"{COMMANDS[name]}.",
        epilog=f"{command.EXAMPLES}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the record alone on standard output")
    return parser


def usage() -> str:
    """What is shown when no command is named."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        ["usage: gpusmoke COMMAND [OPTIONS]", "", *lines, "", "gpusmoke COMMAND --help has examples.", EXIT_CODES]
    )


def execute(name: str, arguments: Sequence[str]) -> int:
    """Run one command and show its record."""
    args = parser_of(name).parse_args(arguments)
    as_markdown = getattr(args, "markdown", False)
    if args.json and as_markdown:
        raise UsageError("--json and --markdown both want standard output: give one of them")
    if "results" in args:
        from gpusmoke.record import prepare

        prepare(args.results)
    record = importlib.import_module(f"gpusmoke.commands.{name}").run(args)
    if isinstance(record, str):  # an answer that is about no machine
        sys.stdout.write(record)
        return HEALTHY
    if getattr(args, "node", None) is not None:
        record = record.made_by(args.node)
    from gpusmoke.presentation.terminal import show

    saved, unsaved = save(record, args.results) if "results" in args else (None, None)
    if args.json:
        sys.stdout.write(record.to_text())
    elif as_markdown:
        from gpusmoke.presentation.markdown import markdown

        sys.stdout.write(markdown(record))
    else:
        show(record, saved)
    if os.environ.get("GITHUB_ACTIONS") == "true" and name != "report":
        from gpusmoke.presentation.annotations import annotate

        annotate(record)
    if getattr(args, "save_baseline", None) is not None:
        from gpusmoke.baseline import save as keep

        try:
            print(f"Baseline: {keep(record, args.save_baseline)}", file=sys.stderr)
        except UsageError as error:
            unsaved = unsaved or error
    if unsaved is not None:
        print(f"gpusmoke: {unsaved}", file=sys.stderr)
        return record.exit_code or USAGE
    return HEALTHY if name == "report" else record.exit_code


def save(record: Record, folder: Path) -> tuple[Path | None, UsageError | None]:
    """Write the record; where that fails after all, among the temporary files, since a run may have taken hours.

    Returns the path, if any, and what was wrong with the folder, if anything.
    """
    import contextlib
    import tempfile

    from gpusmoke.record import write

    try:
        return write(record, folder), None
    except UsageError as error:
        with contextlib.suppress(UsageError):
            return write(record, Path(tempfile.gettempdir())), error
        return None, error


def interrupt(_number: int, _frame: object) -> None:
    """CI and Slurm cancel with SIGTERM: keep what was measured, as for Ctrl-C.

    Only the first one counts: Pixi passes on what Slurm has sent to both, and a second must not take the record away.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def stand_where_the_user_does() -> None:
    """Pixi runs tasks in the workspace's root and tells where the user stands: that is what paths are relative to.

    Raises UsageError where that folder is gone: a record written elsewhere would not be found.
    """
    try:
        here = Path.cwd()
        if (stood := os.environ.get("INIT_CWD")) and os.environ.get("PIXI_PROJECT_ROOT") == str(here):
            os.chdir(stood)
    except OSError:
        raise UsageError("the folder you are in does not exist any more, or can't be entered; cd to another") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: sys.argv) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(usage())
        return HEALTHY if arguments else USAGE
    if name == "--version":
        print(f"gpusmoke {__version__}")
        return HEALTHY
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 must not turn a finding into a traceback
    try:
        if name not in COMMANDS:
            raise UsageError(f"there is no command {name!r}; choose from {', '.join(COMMANDS)}")
        signal.signal(signal.SIGTERM, interrupt)
        stand_where_the_user_does()
        return execute(name, arguments[1:])
    except UsageError as error:
        from gpusmoke.presentation.plain import plain

        # One line, also where it quotes a file that was damaged so that a text in it has several.
        print(f"gpusmoke: {plain(' '.join(str(error).splitlines()))}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("gpusmoke: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads any more, so nobody wants the interpreter's complaint about it either
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "pynvml"):
            raise
        print("gpusmoke: this Python lacks what the kit needs: pip install nvidia-ml-py rich", file=sys.stderr)
        return USAGE
    except Exception:  # noqa: BLE001 - the last resort, which says whose fault it is
        import traceback

        traceback.print_exc()
        print("gpusmoke: this is a fault of gpusmoke; please report the lines above", file=sys.stderr)
        return INTERNAL
