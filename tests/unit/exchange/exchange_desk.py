"""A venue's parts for tests: one simulated market in continuous trading, a log in memory."""

from __future__ import annotations

import itertools
from dataclasses import replace

from servers.exchange.adapters.memory import MemoryOrderLog
from servers.exchange.domain import FeeSchedule, NewOrder, Report
from servers.exchange.engine import ExchangeEngine
from servers.exchange.simulated import FlowSettings, SimulatedMarket
from servers.model.instrument import Instrument, TickBand
from servers.model.market import MarketPhase
from servers.model.nanos import NANO
from servers.model.order import OrderTerms, OrderType, Side, TimeInForce

OPEN = 1_700_000_000 * NANO
CLOSE = OPEN + 23_400 * NANO
CENT = 10_000_000
ACME = Instrument("ACME", "PRACTICE", "USD", (TickBand(0, CENT),), NANO, NANO, "XNYS")

_ids = itertools.count(1)


def terms(side: Side = Side.BUY, shares: int = 100, **more: object) -> OrderTerms:
    base = OrderTerms("ACME", side, OrderType.MARKET, TimeInForce.DAY, shares * NANO)
    return replace(base, **more)  # type: ignore[arg-type]  # tests name fields freely


def limit(side: Side, price_nanos: int, shares: int = 100, **more: object) -> OrderTerms:
    return terms(side, shares, order_type=OrderType.LIMIT, limit_price_nanos=price_nanos, **more)


def entry(order: OrderTerms, client_order_id: str = "", account: str = "A") -> NewOrder:
    return NewOrder(account, client_order_id or f"o{next(_ids)}", order)


class Desk:
    """An engine over one market, with the loop's part done by hand."""

    def __init__(self, log: MemoryOrderLog | None = None, seed: int = 1) -> None:
        self.log = log or MemoryOrderLog()
        self.market = SimulatedMarket(ACME, FlowSettings(seed, 50 * NANO, 5e6, 0.015))
        self.engine = ExchangeEngine(
            {"ACME": self.market}, self.log, FeeSchedule(0, 3_000_000, 1_000_000, 28), 0.2
        )
        self.engine.now_nanos = OPEN
        self.market.begin_session(OPEN, CLOSE)
        for phase in (MarketPhase.PRE_OPEN, MarketPhase.OPENING_AUCTION, MarketPhase.CONTINUOUS):
            self.phase(phase)

    def phase(self, phase: MarketPhase) -> None:
        self.market.enter_phase(phase, self.engine.now_nanos)
        self.engine.phases["ACME"] = phase

    async def advance(self, seconds: float) -> None:
        until = self.engine.now_nanos + round(seconds * NANO)
        self.market.advance(until)
        await self.engine.collect(until)

    async def submit(self, order: OrderTerms, **more: str) -> Report:
        (report,) = await self.engine.submit([entry(order, **more)])
        return report

    def touch(self) -> tuple[int, int]:
        bids, asks = self.market.depth(1)
        return bids[0].price_nanos, asks[0].price_nanos
