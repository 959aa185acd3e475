"""When the rate has come to rest: on the series that an H100 gave, continued as it went on, and on any other."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusmoke.measuring.settling import Round, enough, settled, windows

WINDOW = 2.0  # of a GPU that may be cold
# The start of 8192^3 in bf16 from a cool card, TFLOP/s in blocks of 0.15 s (driver 580.159.04, torch 2.11+cu130).
BLOCK = 0.15
COOL_START = (726, 706, 717, 718, 716, 586, 645, 699, 710, 719, 695, 620, 651, 688, 707, 713, 696, 635)
LEVEL = 678.0  # where it came to rest; the swing is 10 % at first and 1.5 % after 7 s
DECAY_SECONDS = 7 / math.log(10 / 1.5)


def swing(at, phase, period):
    """The rate at a moment after the cool start."""
    return LEVEL * (1 + 0.1 * math.exp(-at / DECAY_SECONDS) * math.cos(2 * math.pi * at / period + phase))


def h100(phase, period=1.0, seconds=20.0):
    """The recorded blocks, and such ones as followed them."""
    yield from (Round(BLOCK, (float(rate),)) for rate in COOL_START)
    for number in range(len(COOL_START), round(seconds / BLOCK)):
        inside = [swing((number + part / 5) * BLOCK, phase, period) for part in range(5)]
        yield Round(BLOCK, (sum(inside) / 5,))


def settling_time(rounds, window=WINDOW):
    """Seconds until a series is called settled; infinite where it never is."""
    seen = []
    for one in rounds:
        seen.append(one)
        if settled(seen, window):
            return sum(each.seconds for each in seen)
    return math.inf


PHASES = st.floats(0, 2 * math.pi)
PERIODS = st.floats(0.85, 1.15)


@settings(max_examples=50)
@given(PHASES, PERIODS)
def test_an_h100_settles_after_4_seconds_and_by_10(phase, period):
    assert 4.0 - 1e-6 <= settling_time(h100(phase, period)) <= 10.0


@settings(max_examples=50)
@given(PHASES, PERIODS)
def test_what_follows_then_is_the_level_at_which_it_stays(phase, period):
    rounds = list(h100(phase, period))
    start = round(settling_time(rounds) / BLOCK)
    measured = [one.rates[0] for one in rounds[start : start + round(4 / BLOCK)]]
    assert sum(measured) / len(measured) == pytest.approx(LEVEL, rel=0.01)


def test_a_window_shorter_than_the_swing_would_have_settled_on_its_phase():
    """Why it is a window of whole periods: the first blocks agree within 1 %, 5 % above the level."""
    assert settling_time(h100(0.0), window=2 * BLOCK) < 1.0


@given(st.floats(0.0, 2 * math.pi), st.integers(2, 6))
def test_products_in_turn_settle_as_one(phase, count):
    """Each sees a part of the period in every round; their mean is what has to agree."""
    length, rounds = 1.0 / count, []
    for number in range(20):
        starts = [number + turn * length for turn in range(count)]
        rates = [sum(swing(at + length * part / 5, phase, 1.0) for part in range(5)) / 5 for at in starts]
        rounds.append(Round(1.0, tuple(rate * (1 + who / 10) for who, rate in enumerate(rates))))
    assert 4.0 <= settling_time(rounds) <= 10.0


@pytest.mark.parametrize("sign", [1, -1])
@settings(max_examples=40)
@given(st.floats(0.03, 0.2), st.sampled_from([0.25, 1.0]))
def test_a_rate_that_drifts_by_3_percent_a_window_never_settles(sign, drift, length):
    factor = (1 + sign * drift) ** (length / WINDOW)
    rounds = [Round(length, (700 * factor**number,)) for number in range(round(30 / length))]
    assert settling_time(rounds) == math.inf


def test_a_clock_that_still_drifts_blocks_it_though_the_rate_is_steady():
    """As where a product is bound by memory: its rate says nothing of the clock."""
    falling = [Round(0.5, (700.0,), 1980 * 0.985 ** (number / 2)) for number in range(40)]
    assert settling_time(falling) == math.inf
    at_rest = [Round(0.5, (700.0,), 1365.0) for _ in range(40)]
    assert settling_time([*falling, *at_rest]) == pytest.approx(20 + 4, abs=0.6)


def test_a_clock_of_which_one_window_knows_nothing_is_no_reason_to_wait():
    rounds = [Round(1.0, (700.0,), None if number < 2 else 1365.0) for number in range(4)]
    assert settled(rounds, WINDOW)


ROUNDS = st.integers(1, 4).flatmap(
    lambda products: st.lists(
        st.builds(
            Round,
            st.floats(0.01, 3.0),
            st.tuples(*[st.floats(1e-6, 1e7)] * products),
            st.none() | st.floats(1.0, 3000.0),
        ),
        max_size=12,
    )
)


@given(ROUNDS, st.floats(0.05, 5.0))
def test_no_series_makes_it_raise_and_windows_are_the_newest_rounds(rounds, window):
    assert settled(rounds, window) in (True, False)
    assert enough(rounds, window) in (True, False)
    two = windows(rounds, window)
    total = sum(one.seconds for one in rounds)
    if two is None:
        longest = max((one.seconds for one in rounds), default=0.0)
        assert total < 2 * (window + longest)
    else:
        older, newer = ([*reversed(part)] for part in two)
        assert rounds[-len(older) - len(newer) :] == [*older, *newer]
        for part in two:
            assert sum(one.seconds for one in part) >= window * (1 - 1e-6)
            assert sum(one.seconds for one in part[:-1]) < window  # no longer than it has to be


@given(st.floats(1e-6, 1e7), st.integers(1, 40), st.sampled_from([0.05, 0.15, 0.25, 0.3, 1.0, 2.5]))
def test_a_constant_series_is_settled_exactly_when_there_are_two_windows(rate, count, length):
    each = math.ceil(WINDOW / length - 1e-6)
    assert settled([Round(length, (rate,), 1365.0)] * count, WINDOW) is (count >= 2 * each)


def sine(periods, amplitude=0.05, length=0.25):
    """Rounds of a quarter of a period each."""
    numbers = range(round(periods / length))
    return [Round(length, (700 * (1 + amplitude * math.sin(2 * math.pi * number * length)),)) for number in numbers]


def test_whole_periods_make_a_mean_narrow_that_single_rounds_leave_wide():
    assert enough(sine(4), 1.0)
    assert not enough(sine(4), 0.25)
    assert not enough(sine(3), 1.0)  # too few to tell


def test_every_product_has_to_be_known_narrowly():
    quiet, noisy = itertools.repeat(700.0), itertools.cycle([690.0, 710.0])
    assert enough([Round(1.0, (next(quiet),)) for _ in range(6)], 1.0)
    assert not enough([Round(1.0, (next(quiet), next(noisy))) for _ in range(6)], 1.0)


@given(st.floats(0.1, 3.0), st.integers(0, 30))
def test_nothing_is_enough_before_four_periods(length, count):
    known = enough([Round(length, (1.0,))] * count, 1.0)
    assert known is (count // math.ceil(1.0 / length - 1e-9) >= 4)
