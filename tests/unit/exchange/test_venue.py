"""The session: phases in order, halts, the next day, restarts, and what subscribers hear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servers.exchange.adapters.memory import MemoryOrderLog
from servers.exchange.clock import VenueClock
from servers.exchange.domain import FeeSchedule, NewOrder, ReportKind
from servers.exchange.engine import ExchangeEngine
from servers.exchange.ports import Level, Market, QuoteColumns
from servers.exchange.simulated import FlowSettings, SimulatedMarket
from servers.exchange.tape import Prints, TapeFile
from servers.exchange.venue import Venue
from servers.model.calendar import Session
from servers.model.clock import ManualClock
from servers.model.errors import FailedPrecondition, NotFound
from servers.model.instrument import Instrument, TickBand
from servers.model.market import MarketPhase, MarketTime, TradingStatus
from servers.model.nanos import NANO
from servers.model.order import OrderTerms, OrderType, Side, TimeInForce

OPEN = 1_700_000_000 * NANO
HOUR = 3_600 * NANO
ACME = Instrument("ACME", "PRACTICE", "USD", (TickBand(0, 10_000_000),), NANO, NANO, "XNYS")


class Source:
    """Sessions of one hour, a day apart."""

    def __init__(self, days: int = 2) -> None:
        self._days = days

    async def first(self, kept: Mapping[str, Any] | None) -> tuple[Session, dict[str, Market]]:
        state = kept["markets"]["ACME"] if kept else None
        return _session(0), {"ACME": SimulatedMarket(ACME, FlowSettings(1, 50 * NANO, 5e6, 0.015), state)}

    async def following(
        self, session: Session, markets: Mapping[str, Market]
    ) -> tuple[Session, dict[str, Market]] | None:
        day = int(session.date[-1]) + 1
        if day >= self._days:
            return None
        for market in markets.values():
            market.tape.start_over()
        return _session(day), dict(markets)


def _session(day: int) -> Session:
    start = OPEN + day * 24 * HOUR
    return Session("XNYS", f"2023-11-1{day}", "America/New_York", start, start + HOUR)


class Log(MemoryOrderLog):
    """An order log that keeps the clock too."""

    def __init__(self) -> None:
        super().__init__()
        self.clock: dict[str, Any] | None = None

    async def keep_clock(self, state: dict[str, Any]) -> None:
        self.clock = state


class Listener:
    """A publisher that keeps what it was given."""

    wants_depth = True

    def __init__(self) -> None:
        self.phases: list[MarketPhase] = []
        self.times: list[int] = []
        self.sequences: list[int] = []
        self.quotes_count = self.depths = self.flushes = 0

    def prints(self, prints: Prints) -> None:
        self.sequences.extend(range(prints.first_sequence, prints.first_sequence + prints.length))

    def quotes(self, symbol: str, columns: QuoteColumns) -> None:
        self.quotes_count += columns.length

    def depth(self, symbol: str, bids: list[Level], asks: list[Level], time_nanos: int) -> None:
        self.depths += 1

    def status(self, status: TradingStatus) -> None:
        self.phases.append(status.phase)

    def time(self, time: MarketTime) -> None:
        self.times.append(time.event_time_nanos)

    def flush(self) -> None:
        self.flushes += 1


class Stage:
    """A venue whose wall clock the test moves by running it: each look costs a tenth of a second."""

    def __init__(self, folder: Path, log: Log | None = None, *, days: int = 2, is_held: bool = False) -> None:
        self.log = log or Log()
        self.listener = Listener()
        self.engine = ExchangeEngine({}, self.log, FeeSchedule(), 0.2)
        self.clock = VenueClock(0, 600.0, is_held=is_held, lead_seconds=5, silence_seconds=2)
        self.venue = Venue(
            self.engine,
            Source(days),
            self.clock,
            self.log,
            self.listener,
            _Running(),
            pre_open_seconds=300,
            closing_seconds=30,
            reopening_seconds=60,
            tape_file=lambda symbol: TapeFile(folder, symbol),
        )

    async def start(self) -> None:
        await self.venue.start(self.log.clock)

    async def run_until(self, is_done: Callable[[], bool]) -> None:
        running = asyncio.create_task(self.venue.run())
        async with asyncio.timeout(20):
            while not is_done():
                await asyncio.sleep(0)
                if running.done():
                    running.result()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class _Running(ManualClock):
    def __init__(self) -> None:
        super().__init__(NANO)

    def now_nanos(self) -> int:
        self.tick(0.1)
        return super().now_nanos()


def order(side: Side, shares: int, **more: Any) -> OrderTerms:
    base: dict[str, Any] = {"order_type": OrderType.MARKET, "time_in_force": TimeInForce.DAY, **more}
    return OrderTerms("ACME", side, quantity_nanos=shares * NANO, **base)


async def test_a_session_goes_through_its_phases_and_the_next_one_follows(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    day = [
        MarketPhase.PRE_OPEN,
        MarketPhase.OPENING_AUCTION,
        MarketPhase.CONTINUOUS,
        MarketPhase.CLOSING_AUCTION,
        MarketPhase.CLOSED,
    ]
    await stage.run_until(lambda: len(stage.listener.phases) == 10)
    assert stage.listener.phases == day + day
    assert stage.venue.session.date == "2023-11-11"
    assert stage.listener.times == sorted(stage.listener.times)
    assert stage.listener.sequences == list(range(1, len(stage.listener.sequences) + 1))
    assert len(stage.listener.sequences) > 1_000
    assert stage.listener.quotes_count > 100
    assert stage.listener.depths > 100
    stage.venue.close()


async def test_a_venue_without_a_next_session_stays_closed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, days=1)
    await stage.start()
    await stage.run_until(lambda: len(stage.listener.phases) == 5)
    before, flushes = stage.venue.published_nanos, stage.listener.flushes
    await stage.run_until(lambda: stage.listener.flushes > flushes + 5)
    assert stage.venue.published_nanos == before
    assert stage.engine.phases["ACME"] is MarketPhase.CLOSED


async def test_a_held_venue_stands_before_the_open_until_it_is_released(tmp_path: Path) -> None:
    stage = Stage(tmp_path, is_held=True)
    await stage.start()
    await stage.run_until(lambda: stage.listener.flushes > 10)
    assert stage.venue.time() == MarketTime(OPEN - 300 * NANO, 0.0, True)
    await stage.venue.release()
    assert stage.log.clock is not None
    assert stage.log.clock["held"] is False
    await stage.run_until(lambda: stage.engine.phases["ACME"] is MarketPhase.CONTINUOUS)
    await stage.venue.hold()
    time = stage.clock.now_nanos
    flushes = stage.listener.flushes
    await stage.run_until(lambda: stage.listener.flushes > flushes + 3)
    assert stage.clock.now_nanos == time


async def test_a_halt_stops_trading_and_a_reopening_auction_ends_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    with pytest.raises(FailedPrecondition):
        await stage.venue.halt("ACME", "too early")
    await stage.run_until(lambda: stage.engine.phases["ACME"] is MarketPhase.CONTINUOUS)
    with pytest.raises(NotFound):
        await stage.venue.halt("NONE", "")
    await stage.venue.halt("ACME", "news")
    printed = len(stage.listener.sequences)
    time = stage.clock.now_nanos
    await stage.run_until(lambda: stage.clock.now_nanos > time + 120 * NANO)
    assert len(stage.listener.sequences) == printed
    assert stage.venue.statuses["ACME"].reason == "news"
    stage.venue.set_speed(300.0)
    await stage.venue.resume("")
    await stage.run_until(lambda: stage.engine.phases["ACME"] is MarketPhase.CONTINUOUS)
    assert stage.listener.phases[-3:] == [
        MarketPhase.HALTED,
        MarketPhase.REOPENING_AUCTION,
        MarketPhase.CONTINUOUS,
    ]
    assert len(stage.listener.sequences) > printed


async def test_a_restart_goes_on_later_cancels_what_worked_and_keeps_the_tape(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    await stage.run_until(lambda: stage.clock.now_nanos > OPEN + 60 * NANO)
    (report,) = await stage.engine.submit(
        [NewOrder("A", "o1", order(Side.BUY, 500, order_type=OrderType.LIMIT, limit_price_nanos=45 * NANO))]
    )
    assert report.kind is ReportKind.ACCEPTED
    time = stage.venue.published_nanos
    tape = stage.engine.markets["ACME"].tape.rows()[: stage.venue.published_sequence("ACME")].copy()

    again = Stage(tmp_path, stage.log)
    for number, entry in stage.log.entries:
        again.engine.restore_entry(number, entry)
    for kept in list(stage.log.reports):
        again.engine.restore_report(kept)
    await again.start()
    assert again.venue.published_nanos >= time
    assert stage.log.reports[-1].reason == "VENUE_RESTARTED"
    assert np.array_equal(again.engine.markets["ACME"].tape.rows(), tape)
    assert again.venue.statuses["ACME"].sequence > stage.venue.statuses["ACME"].sequence
    assert again.engine.phases["ACME"] is MarketPhase.CONTINUOUS
    before = again.venue.published_sequence("ACME")
    await again.run_until(lambda: len(again.listener.sequences) > 100)
    assert again.listener.sequences[0] == before + 1


async def test_carried_orders_work_again_in_the_next_session(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    await stage.run_until(lambda: stage.engine.phases["ACME"] is MarketPhase.CONTINUOUS)
    terms = order(
        Side.BUY, 500, order_type=OrderType.LIMIT, limit_price_nanos=42 * NANO, time_in_force=TimeInForce.GTC
    )
    await stage.engine.submit([NewOrder("A", "o1", terms)])
    await stage.run_until(lambda: stage.venue.session.date == "2023-11-11" and stage.listener.phases[-1] is
                          MarketPhase.CONTINUOUS)  # fmt: skip
    assert stage.log.reports[-1].kind is ReportKind.DONE_FOR_DAY
    assert (await stage.engine.cancel(("A", "o1"), "c1")).kind is ReportKind.CANCELLED
