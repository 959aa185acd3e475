"""Finds and reads records: one in memory at a time, on all cores, and whatever is wrong with a file is told of it."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import stat
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from gpusmoke.errors import UsageError
from gpusmoke.facts.host import usable_cores
from gpusmoke.findings import problems
from gpusmoke.fleet.runs import EXERCISING, Run, run
from gpusmoke.record import NODE, Record, parse

# A record takes 64 KB for each device that was measured, or more (record.py); 8 MiB are those of 128.
LARGEST_BYTES = 8 * 1024 * 1024
AT_ONCE = 50  # files that a process reads before it hands over what it found
WORTH_IT = 200  # files from which on starting processes takes less time than it saves
MOST_PROCESSES = 8  # then the disk is what is waited for
REQUEUED = re.compile(r"(.+)-[0-9]+")


class Unread(NamedTuple):
    """A file or folder that told nothing: the node that it is named after, and why."""

    path: str
    node: str
    why: str


class Passed(NamedTuple):
    """A record that tells of no machine, as audit's does, or of several at once; and what is wrong by it."""

    path: str
    command: str
    problems: tuple[str, ...]


class File(NamedTuple):
    """A file to be read, and the name of its node where the record does not tell it."""

    path: Path
    node: str


Read = Run | Unread | Passed


def find(paths: Iterable[Path]) -> tuple[list[File], list[Unread]]:
    """The files named, and all records below the folders named, each once; and what could not be looked into.

    Links to folders are not followed, so they can't lead in circles. Raises UsageError for a path that is not there.
    """
    found, unread = dict[tuple[int, int], Path](), list[tuple[Path, str]]()

    def refuse(path: Path, why: str) -> None:
        unread.append((path, why))

    def take(path: Path) -> None:
        try:
            status = path.stat()
        except OSError as error:  # a link to nowhere, or to itself
            refuse(path, f"can't be read: {error.strerror}")
            return
        if path.suffix == ".part":
            refuse(path, "is half-written: its run was killed, or still runs")
        elif not stat.S_ISREG(status.st_mode):
            refuse(path, "is no ordinary file")
        else:
            first = found.setdefault((status.st_dev, status.st_ino), path)
            if first != path:  # the file's own name, and not that of a link to it
                found[status.st_dev, status.st_ino] = min(first, path, key=lambda one: (one.is_symlink(), one))

    def unentered(error: OSError) -> None:
        refuse(Path(error.filename), f"can't be looked into: {error.strerror}")

    for path in paths:
        if is_folder(path):
            for folder, _, names in os.walk(path, onerror=unentered):
                for name in names:
                    if name.endswith((".json", ".part")):
                        take(Path(folder, name))
        else:
            take(path)
    read = sorted(set(found.values()))
    there = {(path.parent, path.stem) for path in (*read, *(path for path, _ in unread))}
    refused = [Unread(str(path), node_of(path, there), why) for path, why in unread]
    return [File(path, node_of(path, there)) for path in read], refused


def is_folder(path: Path) -> bool:
    """Whether a path that was named is a folder. Raises UsageError for one that is nothing at all."""
    try:
        path.lstat()  # which a link to nowhere has: that is told as any other file that can't be read
        return path.is_dir()
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None


def node_of(path: Path, there: Container[tuple[Path, str]]) -> str:
    """The node that a file is named after: NODE.json, or NODE-2.json beside it where a requeued job wrote again.

    `there` are the folders and stems of all files, also of those that were refused.
    """
    requeued = REQUEUED.fullmatch(path.stem)
    return requeued[1] if requeued and (path.parent, requeued[1]) in there else path.stem


def read(file: File) -> Read:
    """Read one file."""
    path = str(file.path)
    try:
        with file.path.open("rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            return Unread(path, file.node, f"is larger than {LARGEST_BYTES >> 20} MiB, which no record is")
        if not content:
            return Unread(path, file.node, "is empty: its run was killed, or still runs")
        record = parse(content)
    except OSError as error:
        return Unread(path, file.node, f"can't be read: {error.strerror}")
    except ValueError as error:
        return Unread(path, file.node, str(error))
    if record.command not in EXERCISING:
        return Passed(path, record.command, wrong_by(record))
    node = record.facts.text(NODE) or file.node
    try:
        return run(record, path, node)
    except ValueError as error:
        return Unread(path, node, str(error))


def wrong_by(record: Record) -> tuple[str, ...]:
    """What is wrong by a record that is passed over; what fleet itself found is found anew."""
    if record.command == "fleet":
        return ()
    return (
        tuple(dict.fromkeys(one.id for one in problems(record.findings))) if record.complete else ("an interruption",)
    )


def read_some(files: Sequence[File]) -> list[Read]:
    """Read several files."""
    return [read(file) for file in files]


def prepare() -> None:
    """Set a reading process up: Ctrl-C is the parent's business, and of cycles there are none (`uncollected`)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Don't look for cycles meanwhile: among so many objects it takes a third of the time, and there are none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # nor later, for as long as they are there
        if was_on:
            gc.enable()


def processes() -> int:
    """How many processes may read at the same time."""
    return min(usable_cores(), MOST_PROCESSES)


def read_all(files: Sequence[File]) -> Iterator[Read]:
    """Read all files, in their order; many of them on all cores."""
    count = processes() if len(files) >= WORTH_IT else 1
    if count == 1:
        yield from map(read, files)
        return
    pool, done = ProcessPoolExecutor(count, initializer=prepare), 0
    try:
        for some in pool.map(read_some, [files[at : at + AT_ONCE] for at in range(0, len(files), AT_ONCE)]):
            yield from some
            done += len(some)
    except BrokenProcessPool:  # one was killed, as on a login node with little memory for each user
        yield from map(read, files[done:])
    finally:
        pool.shutdown(cancel_futures=True)
