"""compare on records that anything may have happened to."""

import copy
import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd import ODD, places

from gpusmoke.cli import main

REAL = json.loads((Path(__file__).parents[1] / "data/h100-bench.json").read_text())
# Rows of each kind, and not all of them, which would take five times as long.
REAL["measurements"] = [row for row in REAL["measurements"] if row["dtype"] in ("fp64", None)]
PLACES = [place for place in places(REAL) if place]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(PLACES), ODD)
def test_a_record_changed_anywhere_is_compared_or_refused_in_one_sentence(tmp_path, capsys, place, odd):
    changed = copy.deepcopy(REAL)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = odd
    older, newer = tmp_path / "a.json", tmp_path / "odd.json"
    older.write_text(json.dumps(REAL))
    newer.write_text(json.dumps(changed))
    code, printed = main(["compare", str(older), str(newer)]), capsys.readouterr()
    assert code in (0, 1, 2), printed.err
    assert code != 2 or len(printed.err.strip().splitlines()) == 1
