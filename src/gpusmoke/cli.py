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
from typing import NoReturn

from gpusmoke import __version__
from gpusmoke.errors import HEALTHY, INTERNAL, INTERRUPTED, USAGE, UsageError

COMMANDS = {
    "doctor": "what GPU, driver and Pixi will do here, without PyTorch",
    "check": "torch.cuda.is_available(), and verified work on every GPU",
    "bench": "CUDA matmul benchmark: from rest and settled, verified",
    "smoke": "doctor, check and a short bench: the one command for people and CI",
    "report": "show a stored record",
}
EXIT_CODES = "exit codes: 0 healthy, 1 a problem was found, 2 wrong usage, 70 a fault of gpusmoke, 130 interrupted"


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
    lines = [f"  {name:8} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        ["usage: gpusmoke COMMAND [OPTIONS]", "", *lines, "", "gpusmoke COMMAND --help has examples.", EXIT_CODES]
    )


def execute(name: str, arguments: Sequence[str]) -> int:
    """Run one command and show its record."""
    args = parser_of(name).parse_args(arguments)
    if "results" in args:
        from gpusmoke.record import prepare

        prepare(args.results)
    record = importlib.import_module(f"gpusmoke.commands.{name}").run(args)
    from gpusmoke.presentation.terminal import show
    from gpusmoke.record import write

    saved = write(record, args.results) if "results" in args else None
    if args.json:
        sys.stdout.write(record.to_text())
    else:
        show(record, None if saved is None else str(saved))
    return HEALTHY if name == "report" else record.exit_code


def interrupt(_number: int, _frame: object) -> None:
    """CI cancels with SIGTERM: keep what was measured, as for Ctrl-C."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: sys.argv) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Pixi runs tasks in the workspace's root and tells where the user stands: that is what paths are relative to.
    if (stood := os.environ.get("INIT_CWD")) and os.environ.get("PIXI_PROJECT_ROOT") == str(Path.cwd()):
        os.chdir(stood)
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
        return execute(name, arguments[1:])
    except UsageError as error:
        print(f"gpusmoke: {error}", file=sys.stderr)
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
