"""compare on records that anything may have happened to."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd import ODD, places

from gpusmoke.cli import main


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_record_changed_anywhere_is_compared_or_refused_in_one_sentence(kit, edited, capsys, monkeypatch, data):
    monkeypatch.chdir(kit.cwd)
    document = json.loads((kit.cwd / edited("a.json")).read_text())
    spot = data.draw(st.sampled_from([path for path in places(document) if path]))
    inner = document
    for key in spot[:-1]:
        inner = inner[key]
    inner[spot[-1]] = data.draw(ODD)
    (kit.cwd / "odd.json").write_text(json.dumps(document))
    code, printed = main(["compare", "a.json", "odd.json"]), capsys.readouterr()
    assert code in (0, 1, 2), printed.err
    assert code != 2 or len(printed.err.strip().splitlines()) == 1
