"""What is planted in the simulated market: nothing without an effect, and the stated drift with one."""

from __future__ import annotations

import itertools
import math
import statistics
import zlib

import pytest

from native import book as native
from native.flow import Flow
from servers.exchange.settings import ExchangeSettings
from servers.exchange.simulated import CLOSING_SHARE, OPENING_SHARE, FlowSettings, SimulatedMarket
from servers.model.market import MarketPhase
from servers.model.nanos import NANO
from servers.model.social_events import DAY_SECONDS, SocialEvent, log_drift, planted_events
from tests.unit.exchange.exchange_desk import ACME, CENT, CLOSE, OPEN

LOT = NANO


def market(seed: int, effect_bps: float = 0.0, kept: dict[str, float] | None = None) -> SimulatedMarket:
    settings = FlowSettings(seed, 50 * NANO, 4e5, 0.015, social_effect_bps=effect_bps, social_seed=seed)
    return SimulatedMarket(ACME, settings, kept)


def opened(seed: int, effect_bps: float = 0.0) -> SimulatedMarket:
    made = market(seed, effect_bps)
    made.begin_session(OPEN, CLOSE)
    made.enter_phase(MarketPhase.PRE_OPEN, OPEN - 300 * NANO)
    made.advance(OPEN)
    made.enter_phase(MarketPhase.CONTINUOUS, OPEN)
    return made


def events_of(seed: int, effect_bps: float) -> list[SocialEvent]:
    return planted_events(seed, OPEN, CLOSE, ["ACME"], effect_bps)


def test_nothing_is_planted_unless_it_is_asked_for() -> None:
    assert ExchangeSettings.model_fields["social_effect_bps"].default == 0.0
    assert FlowSettings(1, 50 * NANO, 5e6, 0.015).social_effect_bps == 0.0


@pytest.mark.parametrize("seed", [1, 7])
def test_without_an_effect_the_market_is_the_bare_flow_to_the_last_print(seed: int) -> None:
    made = opened(seed)
    for second in range(60, DAY_SECONDS + 1, 60):
        made.advance(OPEN + second * NANO)
    made.enter_phase(MarketPhase.CLOSING_AUCTION, CLOSE)
    made.enter_phase(MarketPhase.CLOSED, CLOSE)
    made.advance(CLOSE)

    book = native.Book()
    flow = Flow(book, zlib.crc32(f"{seed}/ACME/0".encode()), 5_000, 4e5, 0.015)
    flow.clear()
    flow.begin_session(OPEN, CLOSE)
    book.now_nanos = OPEN - 300 * NANO
    book.set_mode(native.CALL)
    book.record_quote()
    flow.advance(OPEN)
    flow.collect(OPENING_SHARE)
    book.uncross(max(book.last_price, round(flow.fair_price)))
    book.set_mode(native.CONTINUOUS)
    flow.settle()
    book.record_quote()
    flow.advance(CLOSE)
    book.set_mode(native.CLOSING_CALL)
    flow.clear()
    flow.collect(CLOSING_SHARE)
    book.uncross(max(book.last_price, round(flow.fair_price)))
    book.set_mode(native.CLOSED)

    count, times, prices, sizes, *_ = book.take_trades(CENT, LOT)
    rows = made.tape.rows()
    assert len(rows) == count > 1_000
    assert rows[:, 0].tobytes() == bytes(times)
    assert rows[:, 1].tobytes() == bytes(prices)
    assert rows[:, 2].tobytes() == bytes(sizes)


def test_with_an_effect_the_market_is_the_same_until_the_first_event_and_another_after_it() -> None:
    seed = 2
    first = events_of(seed, 100.0)[0].event_time_nanos
    tapes = []
    for effect in (0.0, 100.0):
        made = opened(seed, effect)
        made.advance(CLOSE)
        tapes.append(made.tape.rows())
    without, with_effect = tapes
    before = [rows[rows[:, 0] <= first].tolist() for rows in tapes]
    assert before[0] == before[1]
    assert len(before[0]) > 100
    assert without.tolist() != with_effect.tolist()


def test_the_drift_does_not_depend_on_how_time_is_cut() -> None:
    tapes = []
    for step in (333_000_000, 60 * NANO):
        made = opened(3, 100.0)
        until = events_of(3, 100.0)[0].event_time_nanos + 900 * NANO
        for time in range(OPEN + step, until, step):
            made.advance(time)
        made.advance(until)
        tapes.append(made.tape.rows().tolist())
    assert tapes[0] == tapes[1]


def test_a_restart_goes_on_with_what_has_not_come_yet() -> None:
    missing = []
    for seed in range(40):
        events = events_of(seed, 400.0)
        middle = (events[0].event_time_nanos if events else OPEN) + 600 * NANO
        before = opened(seed, 400.0)
        before.advance(middle)
        values = []
        for effect in (400.0, 0.0):
            restarted = market(seed, effect, before.state())
            restarted.resume(OPEN, CLOSE, middle, MarketPhase.CONTINUOUS)
            assert restarted.state()["value"] == before.state()["value"]
            restarted.advance(middle + 900 * NANO)
            values.append(restarted.state()["value"])
        owed = log_drift(events, middle + 900 * NANO) - log_drift(events, middle)
        missing.append(math.log(values[0] / values[1]) - owed)
    assert abs(statistics.mean(missing)) < 2 * _error(missing)
    assert _error(missing) < 15e-4


@pytest.mark.parametrize("effect_bps", [0.0, 60.0])
def test_the_average_drift_after_events_is_what_was_planted_and_nothing_comes_before(
    effect_bps: float,
) -> None:
    before, after, planted = [], [], []
    for seed in range(40):
        events = events_of(seed, effect_bps)
        made = opened(seed, effect_bps)
        for event, following in itertools.zip_longest(events, events[1:]):
            begins = event.event_time_nanos
            ends = min(
                begins + 2 * event.half_life_nanos,
                following.event_time_nanos if following else CLOSE,
            )
            made.advance(max(begins - 300 * NANO, OPEN))
            prices = [_mid(made)]
            for time in (begins, ends):
                made.advance(time)
                prices.append(_mid(made))
            before.append(event.direction * 1e4 * math.log(prices[1] / prices[0]))
            after.append(event.direction * 1e4 * math.log(prices[2] / prices[1]))
            planted.append(
                event.direction * sum(each.drift_bps(ends) - each.drift_bps(begins) for each in events)
            )
    assert len(after) > 100
    surprise = [found - stated for found, stated in zip(after, planted, strict=True)]
    assert abs(statistics.mean(surprise)) < 2 * _error(surprise)
    if effect_bps:
        assert statistics.mean(after) > 4 * _error(after)
    else:
        assert planted == [0.0] * len(planted)
    assert abs(statistics.mean(before)) < 2 * _error(before) + 0.05 * effect_bps


def _mid(made: SimulatedMarket) -> float:
    bids, asks = made.depth(1)
    return (bids[0].price_nanos + asks[0].price_nanos) / 2


def _error(values: list[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))
