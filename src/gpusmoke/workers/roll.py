"""What the ranks of a run tell each other beside their work, through the store that torchrun keeps for them.

Every rank says who it is (here/R), and twice a second where it stands (at/R): the store knows which ranks did not come
to an operation, also where a library only hangs. How a rank ended (end/R) is told by itself after an error, and by the
process that waits for it after a crash. Rank 0 watches, tells its parent what it saw, and ends the run (over).
"""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import torch.distributed as dist

from gpusmoke.facts import Json
from gpusmoke.measuring.ranks import Place
from gpusmoke.workers.reporter import Reporter

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

SOURCE = "torchrun's store"
BEAT_SECONDS = 0.5
ALIVE_SECONDS = 2.0  # after its last beat
FOREVER = timedelta(days=7)  # whoever waits longer than is allowed is ended by the thread that watches
TEXT_LINES, LINE_LENGTH = 30, 300


def grace(timeout: float) -> float:
    """Seconds that are waited, once something is wrong, for word of how other ranks ended: it needs PyTorch to tell."""
    return min(30.0, timeout)


def patience(timeout: float) -> float:
    """Seconds that whoever has something to say waits for rank 0 to have heard it, and a library for others' data."""
    return 2 * timeout + grace(timeout)


def connect(seconds: float, part: str = "roll") -> Store:
    """A connection of its own to the store: what waits on one would keep others from speaking. Raises RuntimeError."""
    store = dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        timeout=timedelta(seconds=seconds),
    )
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    return dist.PrefixStore(f"gpusmoke/{attempt}/{part}", store)  # type: ignore[attr-defined]


def say_end(store: Store, rank: int, ended: dict[str, Json]) -> None:
    """Say how a rank ended; the first word counts."""
    if not store.check([f"end/{rank}"]):
        store.set(f"end/{rank}", json.dumps(ended))
        store.add("ends", 1)


class Listener:
    """What the store holds of all ranks, for rank 0 or whoever speaks for it (`own`)."""

    def __init__(self, store: Store, own: int, ranks: int, timeout: float) -> None:
        self._store, self._own, self._ranks, self._timeout = store, own, ranks, timeout
        self._here: dict[int, dict[str, Json]] = {}
        self._at: dict[int, tuple[int, int, str, float]] = {}  # beat, number of the step, its name, when it was new
        self._ended: dict[int, dict[str, Json]] = {}
        self._begun = time.monotonic()

    def look(self) -> None:
        """Take in what is new."""
        for rank in range(self._ranks) if len(self._here) < self._ranks else ():
            if rank not in self._here and self._store.check([f"here/{rank}"]):
                self._here[rank] = json.loads(self._store.get(f"here/{rank}"))
        now, present = time.monotonic(), sorted(self._here)
        for rank, text in zip(present, self._store.multi_get([f"at/{rank}" for rank in present]), strict=True):
            beat, number, step = json.loads(text)
            if rank not in self._at or self._at[rank][0] != beat:
                self._at[rank] = beat, number, step, now
        for rank in range(self._ranks) if self._store.add("ends", 0) > len(self._ended) else ():
            if rank not in self._ended and self._store.check([f"end/{rank}"]):
                self._ended[rank] = json.loads(self._store.get(f"end/{rank}"))

    def silent_seconds(self, rank: int) -> float:
        """How long nothing new was heard of a rank."""
        return time.monotonic() - (self._at[rank][3] if rank in self._at else self._begun)

    @property
    def any_ended(self) -> bool:
        """Whether a rank ended before the run did."""
        return bool(self._ended)

    def _accounted_for(self, rank: int) -> bool:
        quiet = self.silent_seconds(rank)
        return rank in self._ended or rank == self._own or quiet < ALIVE_SECONDS or quiet > grace(self._timeout)

    def settle(self) -> None:
        """Look on until it is known of every rank that it ended, or lives, or has been silent for too long."""
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < grace(self._timeout):
            self.look()
            # A rank that has just died was heard of a moment ago.
            heard_out = waited > ALIVE_SECONDS and all(map(self._accounted_for, range(self._ranks)))
            if heard_out or len(self._ended) == self._ranks:
                return
            time.sleep(BEAT_SECONDS)

    def rows(self) -> list[dict[str, Json]]:
        """How things stand, a row for each rank."""
        found = []
        for rank in range(self._ranks):
            ended, at = self._ended.get(rank), self._at.get(rank)
            told = self._here.get(rank) or ended or {}  # it may have ended before it could say where it is
            alive = rank == self._own or self.silent_seconds(rank) < ALIVE_SECONDS
            found.append(
                {
                    "rank": rank,
                    "node": told.get("node"),
                    "local_rank": told.get("local_rank"),
                    "arrived": rank in self._here,
                    "number": at[1] if at else 0,
                    "step": at[2] if at else None,
                    "alive": rank in self._here and alive,
                    "silent_seconds": round(self.silent_seconds(rank), 1),
                    "ended": ended,
                }
            )
        return found


def conclude(report: Reporter, store: Store, listener: Listener, timeout: float) -> None:
    """Tell the parent how things stand when the run can't go on, and all ranks that it is over."""
    listener.settle()
    report.fact("collectives.trouble", {"timeout": timeout}, SOURCE)
    report.fact("collectives.ranks", listener.rows(), SOURCE)
    store.set("over", "1")


class Roll:
    """One rank's part: says where it stands and, as rank 0, watches the others, in a thread of its own.

    The thread ends this process once the run is over, even where the work hangs in a library.
    """

    def __init__(self, report: Reporter, place: Place, timeout: float) -> None:
        self._report, self._place, self._timeout = report, place, timeout
        self._store, self._watched = connect(timeout), connect(timeout)
        self._number, self._step, self._since, self._beats = 0, "", time.monotonic(), 0

    def enter(self, row: dict[str, Json]) -> list[dict[str, Json]]:
        """Say who this rank is, and wait for all others. Returns everyone's rows on rank 0, on others none."""
        self.step("while waiting for the other ranks")
        self._store.set(f"here/{self._place.rank}", json.dumps(row))
        threading.Thread(target=self._watch, daemon=True).start()
        if self._place.rank == 0:
            return self.gather("here")
        self.wait("go")
        return []

    def step(self, name: str) -> None:
        """What is about to be done."""
        self._number, self._step, self._since = self._number + 1, name, time.monotonic()
        self._report.step(name)
        self._beat(self._store)  # at once: this rank may be stopped before its next beat

    def wait(self, key: str) -> bytes:
        """The value of a key, once somebody has set it."""
        self._store.wait([key], FOREVER)
        value: bytes = self._store.get(key)
        return value

    def say(self, key: str, value: Json) -> None:
        """Set a key for others to read."""
        self._store.set(key, json.dumps(value))

    def gather(self, key: str) -> list[Json]:
        """What every rank has said at key/R, once all have."""
        keys = [f"{key}/{rank}" for rank in range(self._place.ranks)]
        self._store.wait(keys, FOREVER)
        return [json.loads(text) for text in self._store.multi_get(keys)]

    def agree(self, key: str, value: Json) -> Json:
        """Rank 0's value, on every rank."""
        if self._place.rank == 0:
            self.say(key, value)
        return json.loads(self.wait(key))

    def fail(self, error: Exception) -> None:
        """Say what ended this rank, and wait for the end of the run, so that torchrun does not end it too early."""
        text = [line[:LINE_LENGTH] for line in str(error).splitlines() if line.strip()][:TEXT_LINES]
        place = {"node": self._place.node, "local_rank": self._place.local_rank}
        ended = {**place, "how": "error", "type": type(error).__name__, "step": self._step, "lines": text}
        say_end(self._store, self._place.rank, ended)
        time.sleep(patience(self._timeout))
        os._exit(1)

    def dismiss(self) -> None:
        """On rank 0: send all home before anything is measured."""
        self._store.set("over", "1")

    def _beat(self, store: Store) -> None:
        self._beats += 1
        store.set(f"at/{self._place.rank}", json.dumps([self._beats, self._number, self._step]))

    def _watch(self) -> None:
        try:
            listener = Listener(self._watched, self._place.rank, self._place.ranks, self._timeout)
            while True:
                self._beat(self._watched)
                if self._place.rank == 0:
                    listener.look()
                    # A rank that is stopped, or alone on a dead network, keeps rank 0 waiting in the same step.
                    if listener.any_ended or time.monotonic() - self._since > self._timeout:
                        conclude(self._report, self._watched, listener, self._timeout)
                        self._report.done()
                elif self._watched.check(["over"]):
                    self._report.done()
                time.sleep(BEAT_SECONDS)
        except Exception:  # noqa: BLE001 - torchrun, which keeps the store, is gone: so is the run
            os._exit(1)
