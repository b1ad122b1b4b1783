"""Events of the simulated world: the same for everybody, apart from each other, and felt only afterwards."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.model.nanos import NANO
from servers.model.social_events import (
    DAY_SECONDS,
    EVENTS_A_DAY,
    LEAST_GAP_SECONDS,
    EventKind,
    SocialEvent,
    log_drift,
    planted_events,
)

OPEN = 1_700_000_000 * NANO
CLOSE = OPEN + DAY_SECONDS * NANO
SYMBOLS = ("ACME", "BOLT", "CRUX")


def days(count: int, effect: float = 0.0) -> list[SocialEvent]:
    return [event for seed in range(count) for event in planted_events(seed, OPEN, CLOSE, SYMBOLS, effect)]


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_events_are_the_same_for_all_who_ask(seed: int, day: int) -> None:
    opens = OPEN + day * 86_400 * NANO
    closes = opens + DAY_SECONDS * NANO
    events = planted_events(seed, opens, closes, SYMBOLS)
    assert events == planted_events(seed, opens, closes, reversed(SYMBOLS))
    assert [event for event in events if event.symbol == "BOLT"] == planted_events(
        seed, opens, closes, ["BOLT"]
    )
    times = [event.event_time_nanos for event in events]
    assert times == sorted(times)
    assert all(opens < time < closes for time in times)
    for symbol in SYMBOLS:
        own = [event.event_time_nanos for event in events if event.symbol == symbol]
        assert all(b - a >= LEAST_GAP_SECONDS * NANO for a, b in itertools.pairwise(own))


def test_one_known_day_is_the_same_on_every_machine() -> None:
    events = planted_events(2, OPEN, CLOSE, ["ACME"])
    seconds = [(event.event_time_nanos - OPEN) // NANO for event in events]
    assert seconds == [7_553, 8_572, 14_162, 15_134, 18_242]
    assert [event.direction for event in events] == [-1, 1, -1, -1, 1]


def test_the_effect_changes_what_prices_make_of_events_and_nothing_else() -> None:
    without, with_effect = days(20), days(20, effect=30.0)
    assert [event.event_time_nanos for event in without] == [event.event_time_nanos for event in with_effect]
    assert [event.direction for event in without] == [event.direction for event in with_effect]
    assert all(event.effect_bps == 0 for event in without)
    assert all(event.effect_bps == 30.0 * event.strength for event in with_effect)
    assert log_drift(without, CLOSE) == 0.0


def test_events_are_balanced_and_of_the_stated_number_and_strength() -> None:
    events = days(600)
    # close ones are thinned: of some four a day and symbol a tenth to a quarter go
    assert 0.7 * EVENTS_A_DAY < len(events) / (600 * len(SYMBOLS)) < EVENTS_A_DAY
    assert abs(statistics.mean(event.direction for event in events)) < 0.05
    assert statistics.mean(event.strength for event in events) == pytest.approx(1.0, abs=0.02)
    assert 0.47 < statistics.mean(event.kind is EventKind.NEWS for event in events) < 0.53


def test_a_price_feels_nothing_before_half_after_a_half_life_and_all_in_the_end() -> None:
    event = SocialEvent(OPEN, "ACME", -1, 1.5, EventKind.SOCIAL, 60 * NANO, effect_bps=40.0)
    assert event.drift_bps(OPEN) == event.drift_bps(OPEN - NANO) == 0.0
    assert event.drift_bps(OPEN + 60 * NANO) == pytest.approx(-20.0)
    assert event.drift_bps(OPEN + 3_600 * NANO) == pytest.approx(-40.0)
    assert log_drift([event, event], OPEN + 60 * NANO) == pytest.approx(-40e-4)


def test_a_session_too_short_for_its_quiet_ends_has_no_event() -> None:
    assert planted_events(1, OPEN, OPEN + 1_500 * NANO, SYMBOLS) == []


@pytest.mark.parametrize("effect", [-1.0, math.nan, math.inf])
def test_an_effect_is_at_least_nothing(effect: float) -> None:
    with pytest.raises(ValueError, match="effect"):
        planted_events(1, OPEN, CLOSE, SYMBOLS, effect)


def test_a_session_closes_after_it_opens() -> None:
    with pytest.raises(ValueError, match="close after"):
        planted_events(1, OPEN, OPEN, SYMBOLS)
