"""Exit codes, and the errors that end a command with one sentence instead of a traceback."""

HEALTHY = 0
PROBLEM = 1
USAGE = 2
INTERNAL = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class UsageError(Exception):
    """Bad input: the message is one sentence that names the culprit; the command exits with `USAGE`."""
