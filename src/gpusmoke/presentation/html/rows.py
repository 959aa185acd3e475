"""What the page shows of a record's measurements, read so that odd ones are left out of a plot and never end it.

A record that was read back follows the schema, which lets numbers be anything: 0, 1e300, Infinity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpusmoke.facts import Facts, Json, listed
from gpusmoke.findings import Finding
from gpusmoke.measuring.clocks import reason_names
from gpusmoke.measuring.telemetry import TIMELINE
from gpusmoke.presentation.measurements import MOVES, pairs
from gpusmoke.presentation.several import text

Row = dict[str, Json]
SEVERITIES = ("problem", "warning", "note", "ok")

NONE = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"

LONGEST = 34
"""Characters that a plot has room for beside a number format."""

MOST = 1e9
"""No rate, clock, power or time in seconds is drawn that is not below this: it would flatten all others."""


def number(value: Json) -> float | None:
    """The value where it is a number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < MOST else None  # nan is not, nor are integers too large for a float


def positive(value: Json) -> float | None:
    """The value where it is a number above 0 that can be drawn."""
    found = number(value)
    return found if found is not None and found > 1 / MOST else None


def figure(value: Json) -> str:
    """A number to four digits, never as 1.2e+04; a dash where there is none that makes sense."""
    found = number(value)
    if found is None:
        return NONE
    return text(found)


def fixed(value: Json, digits: int) -> str:
    """A number to that many decimals, or a dash."""
    found = number(value)
    return NONE if found is None else f"{found:.{digits}f}"


def size(row: Row) -> str:
    """What was multiplied, or how much was moved."""
    shape = row["shape"]
    if row["quantity"] in MOVES:
        return f"{figure(int(shape[0]) >> 20)} MiB" if len(shape) == 1 else ""
    return f"{shape[0]}³" if len(shape) == 3 and len(set(shape)) == 1 else TIMES.join(map(str, shape))


@dataclass(frozen=True)
class Measured:
    """One product or copy of one device: its burst and its settled measurement, one of which may be missing."""

    burst: Row | None
    settled: Row | None

    @property
    def told(self) -> Row:
        """The measurement that the figures come from which both have."""
        return self.settled or self.burst or {}

    @property
    def dtype(self) -> str:
        """The number format; of copies what is copied."""
        return str(self.told["dtype"] or MOVES.get(self.told["quantity"], self.told["quantity"]))

    @property
    def what(self) -> str:
        """Size, layout and backend, as far as they are not what everybody expects."""
        row = self.told
        parts = [size(row), row["layout"] if row["layout"] != "NT" else None]
        parts.append(row["backend"] if row["backend"] not in ("cublas", "cuda", "cpu") else None)
        return " ".join(part for part in parts if part)[:LONGEST]

    @property
    def name(self) -> str:
        """All of it."""
        return f"{self.dtype} {self.what}".strip()

    @property
    def right(self) -> bool:
        """Whether everything that was verified passed."""
        return all(row["verified"]["passed"] for row in (self.burst, self.settled) if row is not None)

    @property
    def spread(self) -> float | None:
        """Half of p10 to p90 of the rounds, in percent of the settled rate."""
        if self.settled is None or (value := positive(self.settled["value"])) is None:
            return None
        low, high = number(self.settled["p10"]), number(self.settled["p90"])
        return None if low is None or high is None else number(50 * (high - low) / value)


@dataclass(frozen=True)
class Timeline:
    """What was sampled over a run: parallel lists, in which a value that was not read is None; `dtype` names a rate."""

    seconds: list[float]
    rate: list[float | None]
    dtype: list[str | None]
    sm_clock_mhz: list[float | None]
    power_w: list[float | None]
    temperature_c: list[float | None]
    reasons: list[list[str]]

    def runs(self) -> list[tuple[str, float, float]]:
        """(name, start, end) in seconds of the stretches in which one number format was measured."""
        found: list[tuple[str, float, float]] = []
        for at, name in zip(self.seconds, self.dtype, strict=True):
            if name is not None and found and found[-1][0] == name:
                found[-1] = (name, found[-1][1], at)
            elif name is not None:
                found.append((name, at, at))
        return found


@dataclass(frozen=True)
class Device:
    """One GPU of a record, or its CPU (`gpu` None), with all that was measured on it."""

    gpu: int | None
    name: str
    products: list[Measured]
    copies: list[Measured]
    timeline: Timeline | None

    @property
    def heading(self) -> str:
        """What tells it from the others."""
        return f"CPU: {self.name}" if self.gpu is None else f"GPU {self.gpu}: {self.name}"

    @property
    def key(self) -> str:
        """A name for ids within the page."""
        return "cpu" if self.gpu is None else f"gpu{self.gpu}"


def timeline(facts: Facts, gpu: int | None) -> Timeline | None:
    """The timeline of a GPU, or None where there is none that can be drawn; points without a time are left out."""
    names = (f"bench.{gpu}.timeline", f"soak.{gpu}.timeline")
    held = next((row for name in names if (row := facts.row(name))), {})
    columns = [listed(held.get(name)) for name in TIMELINE]
    points = [
        (at, positive(rate), word(dtype), number(clock), number(power), number(heat), reasons_of(bits))
        for second, rate, dtype, clock, power, heat, bits in zip(*columns, strict=False)
        if (at := number(second)) is not None
    ]
    points.sort(key=lambda point: point[0])
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    return Timeline(
        seconds=[point[0] for point in points],
        rate=[point[1] for point in points],
        dtype=[point[2] for point in points],
        sm_clock_mhz=[point[3] for point in points],
        power_w=[point[4] for point in points],
        temperature_c=[point[5] for point in points],
        reasons=[point[6] for point in points],
    )


def word(value: Json) -> str | None:
    """A name of a number format: anything else has no place in a plot."""
    return value if isinstance(value, str) and value.isalnum() and value.isascii() and len(value) <= 8 else None


def reasons_of(bits: Json) -> list[str]:
    """The names of NVML's reasons."""
    known = isinstance(bits, int) and not isinstance(bits, bool) and 0 <= bits < 1 << 64
    return reason_names(bits) if known else []


def devices(facts: Facts, rows: Sequence[Row]) -> list[Device]:
    """Every device that something was measured on, in order; copies between two are of neither."""
    found = []
    rows = [row for row in rows if row["quantity"] in ("matmul", *MOVES)]  # others are about no single device
    for gpu in dict.fromkeys(row["gpu"] for row in rows):
        mine = [row for row in rows if row["gpu"] == gpu]
        products = [Measured(burst, settled) for burst, settled in pairs(mine)]
        found.append(Device(gpu, mine[0]["device"], products, list(copies(mine)), timeline(facts, gpu)))
    return found


def ordered(findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """What stands before everything else, that CUDA was not exercised; and the others, the worst first."""
    first = [found for found in findings if found.id == "cuda-not-exercised"]
    rest = [found for severity in SEVERITIES for found in findings if found.severity == severity]
    return first, [found for found in rest if found not in first]


def copies(rows: Sequence[Row]) -> Iterator[Measured]:
    """What moved bytes."""
    for row in rows:
        if row["quantity"] in MOVES:
            yield Measured(None, row) if row["regime"] == "settled" else Measured(row, None)
