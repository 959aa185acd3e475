"""How long children may take that were started before it was known what they are for."""

import math

import pytest

from gpusmoke.commands import bench
from gpusmoke.commands.bench import OVERHEAD_SECONDS, Request
from gpusmoke.commands.peers import DEADLINE_SECONDS, links_after
from gpusmoke.commands.session import Session
from gpusmoke.facts import Fact, Facts
from gpusmoke.workers.parent import Crew


@pytest.fixture
def session(monkeypatch):
    """One with two GPUs, all of whose children are well at once; `left` is how long each crew had from its start."""
    one = Session("bench")
    one.facts = Facts({f"bench.{gpu}": Fact({"device": f"cuda:{gpu}"}, "a test") for gpu in range(2)})
    one.facts = one.facts.with_facts({"cuda.init": Fact({"code": 0}, "a test")})
    one.left = {}
    monkeypatch.setattr(one, "wait_for", lambda crew, progress: one.left.update({crew.job: crew.seconds_left}))
    monkeypatch.setattr(Crew, "recruit", lambda crew, ordinal: None)
    monkeypatch.setattr(Crew, "start", lambda crew, ordinal, options: None)
    monkeypatch.setattr(Crew, "well", lambda crew: [0, 1])
    monkeypatch.setattr(Crew, "__exit__", lambda *_: None)
    return one


@pytest.mark.parametrize("patience", [7.0, OVERHEAD_SECONDS])
def test_what_measures_has_the_time_asked_for_and_the_patience(session, patience):
    crew = Crew("bench", math.inf)
    bench.measure(session, crew, Request(3.0, "search"), quiet=True, patience=patience)
    assert session.left["bench"] == pytest.approx(3 + patience, abs=2)


@pytest.mark.parametrize(("hurried", "seconds"), [(True, 20.0), (False, DEADLINE_SECONDS)])
def test_copies_have_what_is_left_where_it_is_urgent_and_else_their_own_time(session, hurried, seconds):
    crew = Crew("bench", 200.0)
    crew.workers = [None, None]
    with links_after(session, crew, None, measure=True, hurried=hurried):
        crew._end_at -= 180  # that long the measurements took
    assert session.left["links"] == pytest.approx(seconds, abs=2)


def test_the_time_for_copies_begins_when_they_do(session, monkeypatch):
    crew = Crew("bench", 500.0)
    crew.workers = [None, None]
    waiting = []
    monkeypatch.setattr(Crew, "recruit", lambda crew, ordinal: waiting.append(crew))
    with links_after(session, crew, None, measure=True):
        waiting[0]._end_at -= 100
    assert session.left["links"] == pytest.approx(DEADLINE_SECONDS, abs=2)
