"""Records to draw, and a real browser, driven over its DevTools protocol by two pipes: no package is needed for it."""

import base64
import json
import math
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gpusmoke.facts import Fact, Facts
from gpusmoke.findings import finding
from gpusmoke.record import Record

DATA = Path(__file__).parents[1] / "data"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
DEADLINE_SECONDS = 60
# Chromium reads commands from descriptor 3 and answers on 4, each message ended by a zero byte.
LAUNCHER = """\
import fcntl, os, sys
for wanted, given in enumerate([fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]], start=3):
    os.dup2(given, wanted)
os.execvp(sys.argv[3], sys.argv[3:])
"""
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)

# (number format, shape, burst, settled, datasheet): made up, in the order of size of a large card.
PRODUCTS = (
    ("bf16", (8192, 8192, 8192), 777, 684, 989.4),
    ("bf16", (4096, 4096, 4096), 735, 661, 989.4),
    ("bf16", (1024, 8448, 16384), 799, 712, 989.4),
    ("bf16", (1536, 8448, 8192), 800, 702, 989.4),
    ("bf16", (2816, 6144, 8192), 796, 706, 989.4),
    ("fp16", (8192, 8192, 8192), 743, 651, 989.4),
    ("fp8", (8192, 8192, 8192), 1469, 1296, 1979),
    ("int8", (8192, 8192, 8192), 959, 869, 1979),
    ("tf32", (8192, 8192, 8192), 402, 363, 494.7),
    ("fp32", (8192, 8192, 8192), 50.9, 49.9, 67),
    ("fp64", (8192, 8192, 8192), 60.0, 52.8, None),
)
COPIES = (("memory-copy", 3002, 3350), ("host-to-device", 54.8, None), ("device-to-host", 55.1, None))
ROUNDS, POINTS, SECONDS = 30, 240, 50.0


def wave(rate: float, number: int, phase: float) -> float:
    """The rate of a round: a swing that dies down."""
    return round(rate * (1 + 0.03 * math.exp(-number / 25) * math.sin(number + phase)), 2)


def made_row(gpu: int, quantity: str, regime: str, unit: str, rate: float, sheet: float | None) -> dict[str, object]:
    """A measurement of a made-up card, without what is special to a product."""
    rates = sorted(
        samples := [wave(rate, number, gpu + rate) for number in range(ROUNDS if regime == "settled" else 5)]
    )
    telemetry = {"samples": 500, "sm_clock_mhz": 1365, "power_w": 698.1, "temperature_c": 61, "throttle_reasons": 4}
    row = {
        "quantity": quantity,
        "gpu": gpu,
        "device": "Made-up GPU 1000",
        "regime": regime,
        "method": 2,
        "unit": unit,
        "value": rate,
        "statistic": "mean" if regime == "settled" else "median",
        "p10": rates[len(rates) // 10],
        "p90": rates[-1 - len(rates) // 10],
        "samples": samples,
        "telemetry": {**telemetry, "throttle_reason_names": ["power cap"]},
        "verified": {"method": "elementwise", "passed": True, "error": 0.5, "bound": 0.53, "repeats_equal": True},
    }
    known = {"datasheet": sheet, "datasheet_source": "https://example.com/sheet"}
    return row | ({**known, "percent_of_datasheet": round(100 * rate / sheet, 1)} if sheet else {})


def made_rows(gpu: int) -> list[dict[str, object]]:
    """All measurements of a made-up card."""
    rows = []
    for dtype, shape, burst, settled, sheet in PRODUCTS:
        for regime, rate in (("burst", burst), ("settled", settled)):
            row = made_row(gpu, "matmul", regime, "TOP/s" if dtype == "int8" else "TFLOP/s", rate + gpu, sheet)
            row |= {"dtype": dtype, "shape": list(shape), "layout": "NT", "backend": "cublas", "percent_of_clock": 90.1}
            rows.append(
                row | ({"joules_per_tflop": round(698 / rate, 3), "settled": True} if regime == "settled" else {})
            )
    for quantity, rate, sheet in COPIES:
        row = made_row(gpu, quantity, "settled", "GB/s", rate, sheet)
        row["verified"] = {**row["verified"], "method": "bitwise"}
        rows.append(row | {"dtype": None, "shape": [2 << 30], "layout": None, "backend": "cuda"})
    return rows


def made_timeline(gpu: int) -> dict[str, list[object]]:
    """Bursts for six seconds, then the number formats one after the other, settled, and the copies."""
    points = []
    stretches = [("bf16", 6, 24), ("fp16", 25, 29), ("fp8", 30, 34), ("int8", 34.5, 38), ("tf32", 38.5, 42)]
    stretches += [("fp32", 42.5, 45), ("fp64", 45.5, 48)]
    rates = {dtype: settled for dtype, _, _, settled, _ in reversed(PRODUCTS)}
    for number in range(POINTS):
        at = (number + 0.5) * SECONDS / POINTS
        name = next((name for name, start, end in stretches if start <= at <= end), None)
        load = 1 if name else 0.3
        rate = wave(rates[name], number, gpu) if name else None
        clock = round(1980 - 600 * load * (1 - math.exp(-at / 4)) + 25 * math.sin(number))
        heat = round(38 + 26 * (1 - math.exp(-at / 12)))
        points.append((round(at, 2), rate, name, clock, round(130 + 570 * load), heat, 4 if name else 1))
    names = ("seconds", "rate", "dtype", "sm_clock_mhz", "power_w", "temperature_c", "throttle_reasons")
    return dict(zip(names, map(list, zip(*points, strict=True)), strict=True))


def made_record(gpus: int = 1) -> Record:
    """A record as `bench` writes it, of cards that don't exist."""
    facts = {"nvml.driver_version": Fact("999.99", "made up"), "torch.version": Fact("9.9.0", "made up")}
    cards = [{"ordinal": gpu, "name": "Made-up GPU 1000", "capability": "9.9"} for gpu in range(gpus)]
    facts["cuda.devices"] = Fact(cards, "made up")
    for gpu in range(gpus):
        facts[f"bench.{gpu}"] = Fact({"device": f"cuda:{gpu}", "name": "Made-up GPU 1000"}, "made up")
        facts[f"bench.{gpu}.timeline"] = Fact(made_timeline(gpu), "made up")
    return Record(
        command="bench",
        started="2026-11-26T02:17:51Z",
        seconds=52.3,
        facts=Facts(facts),
        findings=[finding("rates-measured", gpu=gpu, name="Made-up GPU 1000", summary="…") for gpu in range(gpus)],
        measurements=[row for gpu in range(gpus) for row in made_rows(gpu)],
    )


TAGS = """
html head meta link title style body header main footer section h1 h2 h3 p div span ul ol li dl dt dd b code time a
details summary figure figcaption table thead tbody tr th td svg desc path text
"""
ATTRIBUTES = """
lang name content charset http-equiv rel href class tabindex role aria-label aria-labelledby aria-hidden scope id
datetime viewbox style d x y
"""


class Parsed(HTMLParser):
    """A page's tags, attributes, and text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.words = Counter(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, name):
        return [value for key, value in self.attributes if key == name]


def harmless(page):
    """What no page may break, whatever the record: only our own tags and attributes, links that are links, own ids."""
    parsed = Parsed(page)
    assert set(parsed.tags) <= set(TAGS.split())
    assert {name for name, _ in parsed.attributes} <= set(ATTRIBUTES.split())
    assert all(re.match(r"https?://|data:,$", href) for href in parsed.all("href"))
    assert max(Counter(parsed.all("id")).values(), default=1) == 1
    for name in ("d", "x", "y"):  # no place that is no number, such as nan
        assert all(re.fullmatch(r"[MLQChz\d .-]*", place) for place in parsed.all(name))
    return parsed


class Browser:
    """One Chromium with one page."""

    def __init__(self, program: str, profile: Path) -> None:
        read, self.to_browser = os.pipe()
        self.from_browser, write = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        command = [sys.executable, "-c", LAUNCHER, str(read), str(write), program, *flags, "about:blank"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, pass_fds=[read, write], **quiet)
        os.close(read)
        os.close(write)
        self.received, self.number, self.events, self.session = b"", 0, [], None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def message(self, deadline: float) -> dict[str, object]:
        """The next message."""
        while b"\0" not in self.received:
            if not select.select([self.from_browser], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            part = os.read(self.from_browser, 1 << 16)
            if not part:
                raise ConnectionError(f"the browser ended with {self.process.wait()}")
            self.received += part
        first, _, self.received = self.received.partition(b"\0")
        return json.loads(first)

    def call(self, method: str, **params: object) -> dict[str, object]:
        """The answer to a command; events that come before it are kept."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": params}
        command |= {"sessionId": self.session} if self.session else {}
        os.write(self.to_browser, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (answer := self.message(deadline)).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path, scheme: str = "light", width: int = 1200, media: str = "screen") -> None:
        """Load a file as a reader with that colour scheme, width of the window, and medium would."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=media, features=[feature])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message(deadline))
        self.evaluate("document.fonts.ready.then(() => true)")

    def evaluate(self, script: str) -> object:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self) -> list[dict[str, object]]:
        """What the console was told since the page was opened."""
        names = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in names]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened."""
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path: Path) -> None:
        """Print the page."""
        self.call("Emulation.setEmulatedMedia", media="")
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"]))

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        self.process.wait(DEADLINE_SECONDS)
        os.close(self.to_browser)
        os.close(self.from_browser)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A `Browser`."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium-headless-shell")
    started = Browser(program, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="session", name="harmless")
def _harmless():
    """`harmless(page)`: the page parsed, which holds nothing that a record could have smuggled in."""
    return harmless


@pytest.fixture(scope="session", name="made_record")
def _made_record():
    """`made_record(gpus)`: a record with everything that the page can show, of cards that don't exist."""
    return made_record
