"""Records that follow the schema and make no sense: the page shows what it can, and their text as text."""

import json
import re
import string

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, given, settings

from gpusmoke.facts import Facts
from gpusmoke.presentation.html.page import render
from gpusmoke.presentation.html.rows import devices
from gpusmoke.presentation.markdown import markdown
from gpusmoke.record import read

PLOTS = 5

NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><b>",
    "{{ 7*7 }}{% x %}",
    "$\\frac$",
]


def test_a_rate_that_makes_no_sense_is_left_out_and_the_others_are_drawn(made_record, harmless):
    record = made_record()
    odd = [float("nan"), float("inf"), -float("inf"), 1e300, 1e-300, 0, -684.0, 10**400, True]
    rows = [
        row | dict.fromkeys(("value", "p10", "datasheet", "percent_of_datasheet"), odd[at // 2])
        for at, row in enumerate(record.measurements[: 2 * len(odd)])  # burst and settled
    ]
    held = {name: [*odd, *column[len(odd) :]] for name, column in record.facts.row("bench.0.timeline").items()}
    fact = record.facts["bench.0.timeline"]._replace(value=held)
    parsed = harmless(
        render(
            record._replace(
                measurements=[*rows, *record.measurements[len(rows) :]],
                facts=record.facts.with_facts({"bench.0.timeline": fact}),
            )
        )
    )
    assert parsed.tags["svg"] == PLOTS
    assert "Bars for 2 products" in parsed.text


text = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=12))
numbers = st.one_of(st.floats(), st.integers(-(10**12), 10**12), st.sampled_from([0, 1e-300, 1e300, 684.0, 1979]))
scalars = st.one_of(st.none(), st.booleans(), numbers, text)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=3))
TIMELINE = ("seconds", "rate", "dtype", "sm_clock_mhz", "power_w", "temperature_c", "throttle_reasons")


def fields(required, optional):
    return st.fixed_dictionaries(required, optional=optional)


measurements = fields(
    {
        "quantity": st.sampled_from(["matmul", "matmul", "memory-copy", "host-to-device"]),
        "gpu": st.sampled_from([None, 0, 1]),
        "device": text,
        "dtype": st.sampled_from(["bf16", "fp8", "fp64", None]),
        "shape": st.lists(st.integers(1, 10**14), min_size=1, max_size=3),
        "layout": st.sampled_from(["NT", "TT", None]),
        "regime": st.sampled_from(["burst", "settled"]),
        "backend": st.sampled_from(["cublas", "cpu"]),
        "method": st.integers(-5, 5),
        "unit": st.sampled_from(["TFLOP/s", "TOP/s", "GB/s"]),
        "value": numbers,
        "statistic": st.just("mean"),
        "p10": numbers,
        "p90": numbers,
        "samples": st.lists(numbers, min_size=1, max_size=60),
        "telemetry": fields({}, {"sm_clock_mhz": st.integers(), "power_w": numbers, "reason": text}),
        "verified": st.fixed_dictionaries(
            {
                "method": st.just("freivalds"),
                "passed": st.booleans(),
                "error": text,
                "bound": numbers,
                "repeats_equal": st.none(),
            }
        ),
    },
    {
        "datasheet": numbers,
        "datasheet_source": text,
        "percent_of_datasheet": numbers,
        "percent_of_clock": numbers,
        "joules_per_tflop": numbers,
        "settled": st.booleans(),
    },
)
timelines = st.one_of(
    values, fields({}, {name: st.lists(numbers if name != "dtype" else text, max_size=8) for name in TIMELINE})
)
names = st.one_of(
    text,
    st.sampled_from(
        ["cuda.devices", "nvml.gpus", "pixi.current", "check.0", "torch.version", "lock.solves", "compare.a"]
    ),
)
sourced = fields({"value": values, "source": text}, {"reason": text})
found = st.fixed_dictionaries(
    {
        "id": st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)?", fullmatch=True),
        "severity": st.sampled_from(["problem", "warning", "note", "ok"]),
        "gpu": st.sampled_from([None, 0, 7]),
        "title": text.filter(bool),
        "evidence": st.lists(text, max_size=2),
        "advice": st.lists(text, max_size=2),
        "link": st.one_of(st.none(), text, st.sampled_from(["javascript:alert(1)", 'https://x/"><script>'])),
    }
)
records = st.fixed_dictionaries(
    {
        "schema": st.just("gpusmoke-record/1"),
        "command": st.sampled_from(["doctor", "check", "bench", "smoke", "audit", "compare"]),
        "version": text,
        "started": st.just("2026-11-24T10:15:00Z"),
        "seconds": st.floats(0, 1e6),
        "complete": st.booleans(),
        "verdict": st.just("problem"),
        "facts": st.tuples(
            st.dictionaries(names, sourced, max_size=4),
            st.dictionaries(
                st.sampled_from(["bench.0.timeline", "soak.1.timeline"]),
                fields({"value": timelines, "source": text}, {}),
                max_size=2,
            ),
        ).map(lambda parts: parts[0] | parts[1]),
        "findings": st.lists(found, max_size=3),
        "measurements": st.lists(measurements, max_size=4),
    }
)


# A page takes a second: to make a failure small would take minutes.
@settings(
    max_examples=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(document=records)
def test_odd_records_give_a_page_with_nothing_of_theirs_but_text(tmp_path_factory, document, harmless):
    path = tmp_path_factory.mktemp("odd") / "record.json"
    path.write_text(json.dumps(document))
    page = render(read(path))
    parsed = harmless(page)
    plain = set(string.printable) - set(string.whitespace) - {"`"}  # of which a pair marks code, and a lone one stays
    for one in document["findings"]:
        words = "".join(char for char in one["title"] if char in plain)
        assert words in "".join(char for char in parsed.text if char in plain)
    if document["command"] not in ("audit", "compare"):  # which have their own
        shown = markdown(read(path))
        tags = set(re.findall(r"<[^>]*>", re.sub(r"(?s)( *)(`{3,})text\n.*?\n\1\2\n", "", shown)))
        assert tags <= {"<sub>", "</sub>"}


@settings(max_examples=60)
@given(rows=st.lists(measurements, max_size=6))
def test_no_measurement_is_lost_on_the_way_to_the_page(rows):
    shown = devices(Facts(), rows)
    assert [device.gpu for device in shown] == list(dict.fromkeys(row["gpu"] for row in rows))
    copies = [one.told for device in shown for one in device.copies]
    assert len(copies) == sum(row["quantity"] != "matmul" for row in rows)
    products = {json.dumps(row) for row in rows if row["quantity"] == "matmul"}
    seen = {json.dumps(row) for device in shown for one in device.products for row in (one.burst, one.settled) if row}
    assert seen <= products
    assert bool(seen) == bool(products)
