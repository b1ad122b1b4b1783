"""Reference prices, the clock and the session's date."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from servers.model.market import MarketPhase, MarketTime, Quote
from servers.risk.domain.facts import OrderCheck
from servers.risk.domain.market import Market
from servers.risk.domain.rates import TokenBucket
from servers.risk.domain.reasons import REJECTION_REASONS
from tests.unit.risk.world import NANO, START, World, instrument, terms


def nanos(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp()) * NANO


def test_the_session_is_the_local_date_of_the_exchange() -> None:
    market = Market()
    market.instruments["ACME"] = instrument("ACME")
    assert market.session_of("ACME", nanos("2024-03-11T02:00:00+00:00")) == "2024-03-11"
    market.take_zone("XNYS", "America/New_York")
    assert market.session_of("ACME", nanos("2024-03-11T02:00:00+00:00")) == "2024-03-10"
    assert market.session_of("ACME", nanos("2024-03-11T04:00:00+00:00")) == "2024-03-11"


@given(st.integers(nanos("2020-01-01T00:00:00+00:00"), nanos("2030-01-01T00:00:00+00:00")))
def test_a_date_that_was_looked_up_before_is_the_same(time_nanos: int) -> None:
    market = Market()
    market.instruments["ACME"] = instrument("ACME")
    market.take_zone("XNYS", "America/New_York")
    first = market.session_of("ACME", time_nanos)
    assert market.session_of("ACME", time_nanos) == first
    market.session_of("ACME", time_nanos + 3 * 86_400 * NANO)
    assert market.session_of("ACME", time_nanos) == first


def test_an_empty_quote_keeps_the_last_price() -> None:
    market = Market()
    market.take_quote(Quote("ACME", last_price_nanos=5 * NANO, phase=MarketPhase.CONTINUOUS))
    market.take_quote(Quote("ACME", bid_price_nanos=4 * NANO, phase=MarketPhase.PRE_OPEN))
    assert market.price_nanos("ACME") == 5 * NANO
    assert market.quote("ACME").phase is MarketPhase.PRE_OPEN
    assert market.price_nanos("NONE") == 0


def test_the_clock_never_runs_back() -> None:
    market = Market()
    market.take_time(MarketTime(10), 1)
    market.take_time(MarketTime(5), 2)
    assert market.now_nanos == 10
    assert market.silent_nanos(3) == 2


def test_a_bucket_holds_at_most_a_burst_and_owes_at_most_one() -> None:
    bucket = TokenBucket(10.0, START)
    for _ in range(100):
        bucket.take()
    assert not bucket.has_one(START + 2 * NANO)
    assert bucket.has_one(START + 3 * NANO)


def test_a_rate_below_one_a_second_lets_one_pass_at_its_pace() -> None:
    bucket = TokenBucket(0.25, START)
    assert bucket.has_one(START)
    bucket.take()
    assert not bucket.has_one(START + 3 * NANO)
    assert bucket.has_one(START + 4 * NANO)
    assert not TokenBucket(0.0, START).has_one(START + 1_000 * NANO)


def test_a_clock_that_is_set_back_stops_no_orders_until_it_has_caught_up() -> None:
    bucket = TokenBucket(10.0, START)
    for _ in range(20):
        bucket.take()
    assert not bucket.has_one(START - 3_600 * NANO)
    assert bucket.has_one(START - 3_599 * NANO)


def test_a_fill_of_the_session_before_is_no_profit_of_this_one() -> None:
    world = World()
    world.check("o", 1)
    world.books.roll_sessions()
    world.fill("late", 10, 10, 0, price=90.0, time_nanos=START - 3 * 86_400 * NANO)
    assert world.stake()[0] == 10
    world.quote("ACME", 101.0)
    exposure = world.books.account("a").symbol("ACME")
    assert exposure.cash_attos == 0
    assert exposure.base_position_nanos == 10 * NANO


def test_a_fill_of_a_new_session_begins_it() -> None:
    world = World()
    world.books.roll_sessions()
    world.fill("o1", 10, 10, 0, price=90.0)
    world.fill("o2", 10, 10, 0, price=95.0, time_nanos=world.market.now_nanos + 86_400 * NANO)
    exposure = world.books.account("a").symbol("ACME")
    assert exposure.base_position_nanos == 10 * NANO
    assert exposure.base_price_nanos == 90 * NANO
    assert exposure.cash_attos == -950 * NANO * NANO


def test_exposures_leave_out_what_is_empty_and_accounts_that_are_unknown() -> None:
    world = World()
    world.check("o", 5)
    world.check("p", 5, symbol="BOLT")
    world.cancel("p", 5, symbol="BOLT")
    assert list(world.engine.exposures("a")) == ["ACME"]
    assert world.engine.exposures("b") == {}
    assert world.engine.profit_attos("b") == 0


def test_strangers_leave_nothing_behind() -> None:
    world = World()
    for number in range(50):
        (verdict,) = world.engine.check_orders([OrderCheck(f"stranger{number}", "o", terms(1))])
        assert verdict is not None
        assert verdict.reason == "ACCOUNT_UNKNOWN"
    assert "stranger1" not in world.books.accounts


def test_the_table_explains_every_reason_in_a_sentence() -> None:
    assert all(word.isupper() and sentence for word, sentence in REJECTION_REASONS.items())
