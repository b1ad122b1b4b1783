"""Following a venue that is written by hand: what is asked, what is applied, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from tapeline.exchange.v1 import exchange_service_pb2
from tapeline.trading.v1 import market_pb2

from servers.market_data import wire
from servers.market_data.domain import Acknowledgement, BestQuote, Prints, VenueEvent, VenueSession
from servers.market_data.feed import VenueFeed
from servers.market_data.history import BarColumns
from servers.market_data.market import Market
from servers.market_data.pacing import Pacers
from servers.market_data.subscriptions import MarketSubscription, QuoteSubscription
from servers.model.clock import ManualClock
from servers.model.errors import OutOfRange, Unavailable
from servers.model.market import MarketPhase, MarketTime, Quote, TradingStatus


class Log:
    def __init__(self) -> None:
        self.events: list[str] = []

    def info(self, event: str, **fields: object) -> None:
        self.events.append(event)

    def warning(self, event: str, **fields: object) -> None:
        self.events.append(event)


class ScriptedVenue:
    """Tells its script once and then ends the feed; its tape refuses places that never were."""

    def __init__(self, prints: list[Prints], script: list[VenueEvent]) -> None:
        self.prints = prints
        self.script = script
        self.resumed: list[Mapping[str, int]] = []
        self.acknowledged: list[Acknowledgement] = []
        self.sessions = 0
        self.told = asyncio.Event()

    async def session(self) -> VenueSession:
        self.sessions += 1
        status = TradingStatus("ACME", MarketPhase.CONTINUOUS, 100, "", 100, 900, sequence=self.sessions)
        return VenueSession(MarketTime(100, 1.0), (status,), "2024-03-11", "XNYS")

    async def list_trades(self, symbol: str, after_sequence: int) -> AsyncIterator[Prints]:
        last = max((run.last_sequence for run in self.prints), default=0)
        if after_sequence > last:
            raise OutOfRange("SEQUENCE_AHEAD")
        for run in self.prints:
            if run.first_sequence > after_sequence:
                yield run

    async def follow(
        self, resume_after: Mapping[str, int], acknowledgements: AsyncIterator[Acknowledgement]
    ) -> AsyncIterator[VenueEvent]:
        self.resumed.append(dict(resume_after))
        self.acknowledged.append(await anext(acknowledgements))
        script, self.script = self.script, []
        for event in script:
            yield event
        if not script:
            self.told.set()
            await asyncio.get_running_loop().create_future()
        raise Unavailable("PEER_UNAVAILABLE", "gone")

    async def history(self, symbol: str, sessions: int) -> BarColumns:
        return BarColumns.empty(60)


async def follow(
    market: Market, venue: ScriptedVenue, pacers: Pacers | None = None, **hooks: Any
) -> VenueFeed:
    feed = VenueFeed(
        venue, market, pacers or Pacers(10**9), wall_clock=ManualClock(), log=hooks.pop("log", Log()), **hooks
    )
    task = asyncio.create_task(feed.run())
    async with asyncio.timeout(5.0):
        await venue.told.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return feed


async def test_the_tape_is_refilled_before_the_feed_is_followed(market: Market, make_prints: Any) -> None:
    venue = ScriptedVenue([make_prints(1, [100, 101], [50, 51], [1, 1])], [MarketTime(150, 2.0)])
    log = Log()
    feed = await follow(market, venue, log=log)
    assert venue.resumed[0]["ACME"] == 2
    assert set(venue.resumed[0]) == set(market.tapes)
    assert market.time == MarketTime(150, 1.0)
    assert market.session("ACME") == (100, 900)
    assert feed.reconnect_count == 1
    assert log.events == ["in step with the venue", "the venue's feed broke"]


@pytest.mark.parametrize("kept", [2, 3])
async def test_a_venue_without_our_last_print_starts_the_tape_over(
    market: Market, make_prints: Any, kept: int
) -> None:
    market.apply(make_prints(1, [100] * kept, [50] * kept, [1] * kept))
    others: list[str] = []

    async def other() -> None:
        others.append("other")

    venue = ScriptedVenue([make_prints(1, [100], [70], [1])], [])
    await follow(market, venue, on_other_venue=other)
    assert (market.tapes["ACME"].last_sequence, market.tapes["ACME"].last_price_nanos) == (1, 70)
    assert others == ["other"]


async def test_the_market_clock_never_goes_back(market: Market) -> None:
    venue = ScriptedVenue([], [MarketTime(500, 2.0), MarketTime(400, 3.0, True)])
    await follow(market, venue)
    assert market.time.event_time_nanos == 500


async def test_an_old_status_is_passed_over_until_the_venue_is_met_anew(market: Market) -> None:
    old = TradingStatus("ACME", MarketPhase.PRE_OPEN, 90, sequence=7)
    new = TradingStatus("ACME", MarketPhase.HALTED, 100, "news", sequence=9)
    for status in (new, old):
        market.apply(status)
    assert market.status("ACME") == new
    market.meet_venue(VenueSession(MarketTime(1, 1.0), (old,), "2024-03-11", "XNYS"))
    assert market.status("ACME") == old


async def test_a_change_of_phase_comes_after_the_quote_before_it(market: Market) -> None:
    subscription = MarketSubscription(["ACME"], 1_000)
    market.listen(subscription)
    market.apply(BestQuote("ACME", 1, 2, 3, 4, 50))
    market.apply(TradingStatus("ACME", MarketPhase.HALTED, 60))
    market.apply(MarketTime(70, 1.0))
    kinds = [type(event) for event in subscription.take()]
    assert kinds == [Quote, TradingStatus, Quote, MarketTime]


async def test_events_of_unknown_symbols_are_counted_and_left_out(market: Market) -> None:
    market.apply(BestQuote("NOPE", 1, 2, 3, 4, 50))
    assert market.unknown_count == 1
    with pytest.raises(Unavailable):
        market.quote("NOPE")


async def test_a_quote_subscription_counts_what_was_replaced(market: Market) -> None:
    subscription = QuoteSubscription(["ACME"])
    market.listen_quotes(subscription)
    assert market.listener_count == 1
    market.apply(BestQuote("ACME", 1, 2, 3, 4, 50, update_count=5))
    market.apply(MarketTime(51, 1.0))
    assert subscription.take(market.quote_updates) == ["ACME"]
    for _ in range(3):
        market.apply(BestQuote("ACME", 1, 2, 3, 4, 50))
        market.apply(MarketTime(52, 1.0))
    assert subscription.take(market.quote_updates) == ["ACME"]
    assert subscription.conflated_count == 2
    assert subscription.take(market.quote_updates) == []
    market.leave(subscription)
    assert market.listener_count == 0


def test_the_wire_leaves_out_depth_and_empty_quotes() -> None:
    depth = exchange_service_pb2.StreamMarketDataResponse(depth=market_pb2.Depth(symbol="ACME"))
    empty = exchange_service_pb2.StreamMarketDataResponse(quotes=market_pb2.QuoteBatch(symbol="ACME"))
    assert wire.venue_event_from_wire(depth) is None
    assert wire.venue_event_from_wire(empty) is None
