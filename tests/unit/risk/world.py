"""An engine with one liquid instrument, and short words for what happens to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from servers.model.clock import ManualClock
from servers.model.instrument import Instrument, ShortSaleState, TickBand
from servers.model.market import MarketPhase, MarketTime, Quote
from servers.model.nanos import Money
from servers.model.order import Fill, Liquidity, OrderTerms, OrderType, Rejection, Side, TimeInForce
from servers.risk.books import Books
from servers.risk.controls import Controls
from servers.risk.domain.facts import (
    AdjustmentFact,
    AdjustmentKind,
    ExecutionCheck,
    OrderCheck,
    OrderEventKind,
    OrderFact,
    ParentFact,
)
from servers.risk.domain.limits import Limits
from servers.risk.domain.market import Market
from servers.risk.engine import RiskEngine

NANO = 10**9
START = 1_700_000_000 * NANO
BUY, SELL = Side.BUY, Side.SELL
LOOSE = Limits("a")
LIMITED = replace(LOOSE, max_position_nanos=1_000 * NANO)
WAIT_NANOS = 30 * NANO


def instrument(symbol: str, **fields: Any) -> Instrument:
    made = Instrument(symbol, "PRACTICE", "USD", (TickBand(0, 10**7),), NANO, NANO, "XNYS")
    return replace(made, short_sale_state=ShortSaleState.PERMITTED, **fields)


def usd(amount: int) -> Money:
    return Money("USD", amount * NANO * NANO)


def terms(
    quantity: int, side: Side = BUY, price: float = 100.0, symbol: str = "ACME", **fields: Any
) -> OrderTerms:
    order_type = OrderType.LIMIT if price else OrderType.MARKET
    made = OrderTerms(symbol, side, order_type, TimeInForce.DAY, quantity * NANO, round(price * NANO))
    return replace(made, **fields)


class World:
    """The engine between its streams. Quantities in shares, prices in dollars."""

    def __init__(self, *limits: Limits) -> None:
        self.clock = ManualClock(START)
        self.market = Market()
        self.books = Books(self.market)
        self.controls = Controls(limits or (LOOSE,))
        self.engine = RiskEngine(self.market, self.books, self.controls, self.clock)
        self.parents_sequence = 0
        self.adjustments = 0
        for symbol in ("ACME", "BOLT"):
            self.market.instruments[symbol] = instrument(symbol)
            self.market.median_volumes[symbol] = 100_000.0
        self.market.take_zone("XNYS", "America/New_York")
        self.pass_time(1)
        self.quote("ACME", 100.0)
        self.quote("BOLT", 50.0)

    def pass_time(self, seconds: float) -> None:
        """Move wall and market time together."""
        self.clock.tick(seconds)
        self.market.take_time(MarketTime(self.clock.now_nanos()), self.clock.now_nanos())

    def quote(self, symbol: str, price: float, phase: MarketPhase = MarketPhase.CONTINUOUS) -> None:
        mid = round(price * NANO)
        quote = Quote(symbol, mid - 10**7, NANO, mid + 10**7, NANO, mid, self.market.now_nanos, phase)
        self.market.take_quote(quote)

    # -- Checks -----------------------------------------------------------------------------------

    def check(self, order_id: str, quantity: int, side: Side = BUY, **more: Any) -> Rejection | None:
        """Check one order of account "a"."""
        made = more.pop("terms", None)
        if made is None:
            names = ("price", "symbol", "order_type", "time_in_force")
            made = terms(quantity, side, **{name: more.pop(name) for name in names if name in more})
        return self.engine.check_orders([OrderCheck("a", order_id, made, **more)])[0]

    def reason(self, order_id: str, quantity: int, side: Side = BUY, **more: Any) -> str:
        """Return why one order is refused, "" when it is not."""
        rejection = self.check(order_id, quantity, side, **more)
        return "" if rejection is None else rejection.reason

    def start(self, execution_id: str, quantity: int, side: Side = BUY, symbol: str = "ACME") -> str:
        """Check a parent and return why it is refused."""
        verdict = self.engine.check_execution(
            ExecutionCheck(execution_id, "a", symbol, side, quantity * NANO)
        )
        return "" if verdict is None else verdict.reason

    # -- Facts ------------------------------------------------------------------------------------

    def event(
        self,
        kind: OrderEventKind,
        order_id: str,
        quantity: int,
        side: Side = BUY,
        *,
        leaves: int = 0,
        is_final: bool = False,
        fill: int = 0,
        corrected: int | None = None,
        price: float = 100.0,
        fee: int = 0,
        execution_id: str = "",
        symbol: str = "ACME",
        time_nanos: int | None = None,
        request_id: str = "",
        requested: int = 0,
    ) -> None:
        """Tell one order event."""

        def made(shares: int) -> Fill:
            return Fill(
                "PRACTICE",
                f"x{order_id}",
                "a",
                order_id,
                execution_id,
                symbol,
                side,
                shares * NANO,
                round(price * NANO),
                usd(fee),
                Liquidity.TAKER,
                self.market.now_nanos if time_nanos is None else time_nanos,
            )

        self.books.apply_order(
            OrderFact(
                self.books.orders_sequence + 1,
                kind,
                "a",
                order_id,
                execution_id,
                terms(quantity, side, price, symbol),
                leaves * NANO,
                is_final,
                made(fill) if fill else None,
                None if corrected is None else made(corrected),
                request_id,
                terms(requested, side, price, symbol) if requested else None,
            )
        )

    def accept(self, order_id: str, quantity: int, side: Side = BUY, **more: Any) -> None:
        self.event(OrderEventKind.ACCEPTED, order_id, quantity, side, leaves=quantity, **more)

    def fill(
        self, order_id: str, quantity: int, filled: int, left: int, side: Side = BUY, **more: Any
    ) -> None:
        self.event(
            OrderEventKind.FILLED,
            order_id,
            quantity,
            side,
            leaves=left,
            is_final=not left,
            fill=filled,
            **more,
        )

    def cancel(self, order_id: str, quantity: int, side: Side = BUY, **more: Any) -> None:
        self.event(OrderEventKind.CANCELLED, order_id, quantity, side, is_final=True, **more)

    def parent_event(
        self, execution_id: str, quantity: int, side: Side = BUY, *, is_final: bool = False
    ) -> None:
        self.parents_sequence += 1
        self.books.apply_parent(
            ParentFact(self.parents_sequence, execution_id, "a", "ACME", side, quantity * NANO, is_final)
        )

    def adjust(self, kind: AdjustmentKind, **fields: Any) -> None:
        self.adjustments += 1
        self.books.apply_adjustment(AdjustmentFact(self.adjustments, kind, **fields))

    def open_position(self, shares: int, symbol: str = "ACME") -> None:
        self.adjust(
            AdjustmentKind.OPENING,
            account="a",
            symbol=symbol,
            quantity_nanos=shares * NANO,
            effective_time_nanos=START - NANO,
        )
        self.books.take_base_prices()

    # -- What is at stake -------------------------------------------------------------------------

    def stake(self, symbol: str = "ACME") -> tuple[int, int, int, int, int]:
        """Return position, open buys, open sells, rest of buying and of selling parents, in shares."""
        exposure = self.books.account("a").symbol(symbol)
        return (
            exposure.position_nanos // NANO,
            exposure.open_buy_nanos // NANO,
            exposure.open_sell_nanos // NANO,
            exposure.rest_buy_nanos // NANO,
            exposure.rest_sell_nanos // NANO,
        )
