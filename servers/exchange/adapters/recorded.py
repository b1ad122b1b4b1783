# DRAFT from the lead for whoever writes this server: adapt to ports.Market or replace; remove this line.
"""A market that a recorded file drives: its prints are the tape, and orders of ours take part in them.

The recorded market cannot react, so the venue shifts it: what participants bought and still presses moves
every price that they meet by daily volatility * sqrt(pressure / daily volume) (the same law as the simulated
flow; the two figures are the file's own, not calibrated). The tape itself stays exactly as it was recorded.

- An order meets only prints that are eligible, on an exchange, later than itself, and not used up: all orders
  of ours together get at most `share` of a print, and no print serves twice.
- An aggressive order pays the shifted ask (or sells at the shifted bid) or worse, for one second; what an IOC
  order has not got by then is cancelled.
- A passive order waits behind a queue. A print at its price first serves the queue; a print through its price
  serves the order. A touch is not a fill.
- Auction prints serve orders that wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from servers.exchange.domain import MarketEvent, VenueOrder
from servers.exchange.ports import DepthRow, QuoteColumns, TradeColumns
from servers.model.calendar import Session
from servers.model.instrument import Instrument
from servers.model.market import MarketPhase, Quote, TradeFlag
from servers.model.order import Liquidity, OrderType, Side, TimeInForce
from servers.recordings import RecordedTrades

NANOS = 1_000_000_000
AGGRESSIVE_NANOS = NANOS
PRESSURE_SECONDS = 900.0
DAILY_VOLATILITY = 0.02
QUEUE_PRINTS = 5
"""Displayed size at the touch, in ordinary prints."""
_SMOOTHING = 0.05
_USABLE = int(TradeFlag.ELIGIBLE)
_UNUSABLE = int(TradeFlag.OFF_EXCHANGE | TradeFlag.CANCEL | TradeFlag.EXTENDED_HOURS)
_AUCTION = int(TradeFlag.AUCTION)


@dataclass(slots=True)
class _Waiting:
    """An order in the market. `queue_nanos` is what stands before it at its price."""

    order: VenueOrder
    side: Side
    limit_nanos: int
    leaves_nanos: int
    entered_nanos: int
    is_aggressive: bool
    queue_nanos: int
    is_for_auction: bool

    @property
    def is_all_or_none(self) -> bool:
        return self.order.terms.time_in_force is TimeInForce.FOK

    @property
    def is_immediate(self) -> bool:
        return self.order.terms.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)


class RecordedMarket:
    """One symbol of a recorded file. Implements `ports.InstrumentMarket`.

    Args:
        trades: the session's prints.
        share: share of a print, above 0 and at most 1, that all orders of ours may have together.
    """

    def __init__(self, instrument: Instrument, trades: RecordedTrades, share: float) -> None:
        self.instrument = instrument
        self._trades = trades
        self._share = share
        self._cursor = self._told = self._quoted = 0
        self._waiting: dict[int, _Waiting] = {}
        self._events: list[MarketEvent] = []
        self._quotes: list[tuple[int, int, int, int, int]] = []
        self._phase = MarketPhase.CLOSED
        self._now = 0
        usable = (trades.flags & (_USABLE | _UNUSABLE | _AUCTION)) == _USABLE
        eligible = (trades.flags & _USABLE) != 0
        self._is_usable = usable | (eligible & ((trades.flags & _AUCTION) != 0))
        self._daily_nanos = max(float(trades.size_nanos[eligible].sum(dtype=np.float64)), 1.0)
        first = trades.price_nanos[eligible][:1] if eligible.any() else trades.price_nanos[:1]
        self._last = int(first[0]) if len(first) else 0
        sizes = trades.size_nanos[usable][:1000]
        self._ordinary_size = float(np.median(sizes)) if len(sizes) else float(instrument.lot_size_nanos)
        changes = np.abs(np.diff(trades.price_nanos[usable][:5000]))
        changes = changes[changes > 0]
        tick = instrument.tick_at(self._last)
        self._spread = max(float(np.median(changes)) if len(changes) else tick, float(tick))
        self._bid = self._ask = 0
        self._pressure = 0.0
        self._pressed_at = 0
        self._set_touch(self._last, Side.BUY)

    @property
    def next_trade_sequence(self) -> int:
        """Return the number of the next print in the session, counted from 1."""
        return self._told + 1

    def begin_session(self, session: Session, now_nanos: int) -> None:
        """Begin the recorded session; what printed long before the open is told at once."""
        self._now = now_nanos

    def enter_phase(self, phase: MarketPhase, now_nanos: int) -> None:
        """Go over to another phase; leaving the closing call ends what waited for it."""
        if self._phase is MarketPhase.CLOSING_AUCTION:
            for waiting in list(self._waiting.values()):
                if waiting.order.terms.order_type.is_on_close:
                    self._cancel(waiting, "AUCTION_REMAINDER", now_nanos)
        self._phase = phase
        if phase is MarketPhase.CONTINUOUS:
            self._note_quote(now_nanos)
        elif phase is MarketPhase.CLOSED:
            # The file ends as closed: what printed after the session is told at once.
            self._cursor = len(self._trades)

    def submit(self, order: VenueOrder, owner: int, worst_price_nanos: int, now_nanos: int) -> str:
        """Take an order; the next prints serve it."""
        terms = order.terms
        limit = terms.limit_price_nanos or worst_price_nanos
        is_crossing = self._crosses(terms.side, limit)
        is_continuous = self._phase is MarketPhase.CONTINUOUS
        if terms.is_post_only and is_crossing and is_continuous:
            return "POST_ONLY_WOULD_TAKE"
        if any(
            waiting.order.entry.account == order.entry.account
            and waiting.side is terms.side.opposite
            and _reaches(terms.side, limit, waiting.limit_nanos)
            for waiting in self._waiting.values()
        ):
            return "SELF_TRADE"
        self._waiting[order.reference] = _Waiting(
            order,
            terms.side,
            limit,
            order.leaves_quantity_nanos,
            now_nanos,
            is_crossing and is_continuous and not terms.order_type.is_on_close,
            self._queue_at(terms.side, limit),
            not is_continuous or terms.order_type.is_on_close,
        )
        return ""

    def cancel(self, order: VenueOrder) -> bool:
        """Take an order out."""
        return self._waiting.pop(order.reference, None) is not None

    def replace(self, order: VenueOrder, limit_price_nanos: int, leaves_nanos: int, now_nanos: int) -> str:
        """Change an order: less at the same price keeps its place, everything else goes to the end."""
        waiting = self._waiting.get(order.reference)
        if waiting is None:
            return "ORDER_NOT_FOUND"
        limit = limit_price_nanos or waiting.limit_nanos
        is_crossing = self._crosses(waiting.side, limit)
        if order.terms.is_post_only and is_crossing and self._phase is MarketPhase.CONTINUOUS:
            return "POST_ONLY_WOULD_TAKE"
        if limit != waiting.limit_nanos or leaves_nanos > waiting.leaves_nanos:
            waiting.queue_nanos = self._queue_at(waiting.side, limit)
            waiting.entered_nanos = now_nanos
            waiting.is_aggressive = is_crossing and self._phase is MarketPhase.CONTINUOUS
        waiting.limit_nanos = limit
        waiting.leaves_nanos = leaves_nanos
        return ""

    def advance(self, until_nanos: int) -> None:
        """Tell the prints up to `until_nanos`, and serve orders from those that they may use."""
        end = int(np.searchsorted(self._trades.time_nanos, until_nanos, side="right"))
        if end > self._cursor:
            first = self._cursor if self._waiting else max(self._cursor, end - 20)
            for time, price, size, flags in self._usable(first, end):
                if self._waiting:
                    self._serve(time, price, size, bool(flags & _AUCTION))
                self._learn(price, size)
            self._cursor = end
        self._now = until_nanos
        self._end_immediate(until_nanos)
        if self._phase is MarketPhase.CONTINUOUS:
            self._note_quote(until_nanos)

    def take_events(self) -> list[MarketEvent]:
        """Return what befell orders since the last call."""
        events, self._events = self._events, []
        return events

    def take_trades(self) -> TradeColumns:
        """Return the prints since the last call, exactly as recorded."""
        rows = slice(self._told, self._cursor)
        self._told = self._cursor
        trades = self._trades
        return TradeColumns(
            rows.stop - rows.start,
            trades.time_nanos[rows].tobytes(),
            trades.price_nanos[rows].tobytes(),
            trades.size_nanos[rows].tobytes(),
            trades.flags[rows].tobytes(),
        )

    def take_quotes(self) -> QuoteColumns:
        """Return the quotes since the last call."""
        rows, self._quotes = np.array(self._quotes, np.int64).reshape(-1, 5), []
        return QuoteColumns(
            len(rows), *(np.ascontiguousarray(rows[:, column]).tobytes() for column in range(5))
        )

    def quote(self) -> Quote:
        """Return the present quote: inferred from the prints, shifted by our pressure."""
        is_open = self._phase is MarketPhase.CONTINUOUS
        size = self._touch_size()
        bid, ask = (self._shifted_bid(), self._shifted_ask()) if is_open else (0, 0)
        return Quote(
            self.instrument.symbol,
            bid,
            size if is_open else 0,
            ask,
            size if is_open else 0,
            self._last,
            self._now,
            self._phase,
        )

    def depth(self, levels: int) -> tuple[list[DepthRow], list[DepthRow]]:
        """Return the inferred touch: a trades file knows no more."""
        quote = self.quote()
        bids = [DepthRow(quote.bid_price_nanos, quote.bid_size_nanos, 1)] if quote.bid_price_nanos else []
        asks = [DepthRow(quote.ask_price_nanos, quote.ask_size_nanos, 1)] if quote.ask_price_nanos else []
        return bids, asks

    def state(self) -> tuple[int, float]:
        """Return the last price and the pressure."""
        return self._last, self._pressure / NANOS

    def restore(self, price_nanos: int, pressure: float, now_nanos: int) -> None:
        """Go on at `now_nanos`: prints before it are told and serve no one."""
        self._cursor = int(np.searchsorted(self._trades.time_nanos, now_nanos, side="right"))
        for _, price, size, _ in self._usable(max(self._cursor - 50, 0), self._cursor):
            self._learn(price, size)
        self._pressure = pressure * NANOS
        self._pressed_at = self._now = now_nanos

    # ------------------------------------------------------------------ the recorded market

    def _usable(self, first: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        rows = first + np.flatnonzero(self._is_usable[first:end])
        trades = self._trades
        return zip(
            trades.time_nanos[rows].tolist(),
            trades.price_nanos[rows].tolist(),
            trades.size_nanos[rows].tolist(),
            trades.flags[rows].tolist(),
            strict=True,
        )

    def _learn(self, price: int, size: int) -> None:
        """Infer the touch from a print: a print above it was a buyer at the ask, below it a seller at the bid."""
        change = abs(price - self._last)
        if change:
            self._spread += _SMOOTHING * (min(change, 4 * self._spread) - self._spread)
        self._ordinary_size += _SMOOTHING * (min(size, 10 * self._ordinary_size) - self._ordinary_size)
        self._last = price
        if price >= self._ask:
            self._set_touch(price, Side.BUY)
        elif price <= self._bid:
            self._set_touch(price, Side.SELL)

    def _set_touch(self, price: int, aggressor: Side) -> None:
        tick = self.instrument.tick_at(price)
        spread = max(round(self._spread / tick) * tick, tick)
        self._ask = price if aggressor is Side.BUY else price + spread
        self._bid = max(self._ask - spread, 0)

    def _touch_size(self) -> int:
        return max(
            self.instrument.floor_to_lot(round(QUEUE_PRINTS * self._ordinary_size)),
            self.instrument.lot_size_nanos,
        )

    # ------------------------------------------------------------------ our pressure

    def _shift(self) -> int:
        """Return by how much our pressure moves the prices that we meet, in nanos."""
        size = DAILY_VOLATILITY * sqrt(abs(self._pressure) / self._daily_nanos) * self._last
        return round(size if self._pressure > 0 else -size)

    def _shifted_ask(self) -> int:
        return self.instrument.ceil_to_tick(max(self._ask + self._shift(), 1))

    def _shifted_bid(self) -> int:
        return self.instrument.floor_to_tick(max(self._bid + self._shift(), self.instrument.tick_at(0)))

    def _press(self, side: Side, quantity_nanos: int, now_nanos: int) -> None:
        self._decay(now_nanos)
        self._pressure += side.sign * quantity_nanos

    def _decay(self, now_nanos: int) -> None:
        elapsed = (now_nanos - self._pressed_at) / NANOS
        if elapsed > 0:
            self._pressure *= exp(-elapsed / PRESSURE_SECONDS)
            self._pressed_at = now_nanos

    # ------------------------------------------------------------------ our orders

    def _crosses(self, side: Side, limit: int) -> bool:
        if side is Side.BUY:
            return limit == 0 or limit >= self._shifted_ask()
        return limit <= self._shifted_bid()

    def _queue_at(self, side: Side, limit: int) -> int:
        """Return what stands before a new order at its price: nothing where it betters the touch."""
        better = limit > self._shifted_bid() if side is Side.BUY else limit < self._shifted_ask()
        return 0 if better else self._touch_size()

    def _serve(self, time: int, price: int, size: int, is_auction: bool) -> None:
        """Serve waiting orders from one print, the aggressive first, then by price and time."""
        budget = self.instrument.floor_to_lot(int(size * self._share))
        self._decay(time)
        shifted = price + self._shift()
        for waiting in sorted(self._waiting.values(), key=_priority):
            if budget <= 0:
                return
            if waiting.entered_nanos >= time or not self._may_meet(waiting, is_auction):
                continue
            budget -= self._meet(waiting, time, shifted, budget, is_auction)

    def _may_meet(self, waiting: _Waiting, is_auction: bool) -> bool:
        terms = waiting.order.terms
        if terms.order_type.is_on_close:
            return is_auction and self._phase is MarketPhase.CLOSING_AUCTION
        if self._phase is not MarketPhase.CONTINUOUS:
            return False
        return not is_auction or waiting.is_for_auction

    def _meet(self, waiting: _Waiting, time: int, shifted: int, budget: int, is_auction: bool) -> int:
        """Fill what a print allows; return what it took of the print."""
        side, limit = waiting.side, waiting.limit_nanos
        if is_auction:
            price, liquidity = self.instrument.ceil_to_tick(max(shifted, 1)), Liquidity.AUCTION
            if limit and (price - limit) * side.sign > 0:
                return 0
        elif waiting.is_aggressive or (waiting.is_for_auction and limit == 0):
            touch = self._shifted_ask() if side is Side.BUY else self._shifted_bid()
            raw = max(shifted, touch) if side is Side.BUY else min(shifted, touch)
            price = (
                self.instrument.ceil_to_tick(raw) if side is Side.BUY else self.instrument.floor_to_tick(raw)
            )
            liquidity = Liquidity.TAKER
            if price <= 0 or (limit and (price - limit) * side.sign > 0):
                return 0
        else:
            price, liquidity = limit, Liquidity.MAKER
            through = (limit - shifted) * side.sign
            if through < 0:
                return 0
            if through == 0 or abs(limit - shifted) < self.instrument.tick_at(limit):
                served = min(waiting.queue_nanos, budget)
                waiting.queue_nanos -= served
                taken = self._fill(
                    waiting, min(waiting.leaves_nanos, budget - served), price, liquidity, time
                )
                return served + taken
        if waiting.is_all_or_none and budget < waiting.leaves_nanos:
            return 0
        return self._fill(waiting, min(waiting.leaves_nanos, budget), price, liquidity, time)

    def _fill(self, waiting: _Waiting, quantity: int, price: int, liquidity: Liquidity, time: int) -> int:
        if quantity <= 0:
            return 0
        reference = waiting.order.reference
        waiting.leaves_nanos -= quantity
        if waiting.leaves_nanos == 0:
            del self._waiting[reference]
        self._press(waiting.side, quantity, time)
        self._events.append(MarketEvent(reference, quantity, price, liquidity, "", time))
        return quantity

    def _end_immediate(self, now_nanos: int) -> None:
        """Cancel IOC rests after their second; an aggressive order that may rest joins the queue."""
        for waiting in list(self._waiting.values()):
            if now_nanos - waiting.entered_nanos < AGGRESSIVE_NANOS:
                continue
            if waiting.is_immediate:
                reason = "FOK_UNFILLABLE" if waiting.is_all_or_none else "IOC_REMAINDER"
                self._cancel(waiting, reason, now_nanos)
            elif waiting.is_aggressive:
                waiting.is_aggressive = self._crosses(waiting.side, waiting.limit_nanos)
            elif waiting.is_for_auction and self._phase is MarketPhase.CONTINUOUS:
                is_on_close = waiting.order.terms.order_type.is_on_close
                waiting.is_aggressive = not is_on_close and self._crosses(waiting.side, waiting.limit_nanos)
                if waiting.order.terms.order_type is OrderType.MARKET:
                    waiting.is_aggressive = True

    def _cancel(self, waiting: _Waiting, reason: str, now_nanos: int) -> None:
        del self._waiting[waiting.order.reference]
        event = MarketEvent(
            waiting.order.reference, waiting.leaves_nanos, 0, Liquidity.UNSPECIFIED, reason, now_nanos
        )
        self._events.append(event)

    def _note_quote(self, now_nanos: int) -> None:
        self._decay(now_nanos)
        size = self._touch_size()
        row = (now_nanos, self._shifted_bid(), size, self._shifted_ask(), size)
        if not self._quotes or self._quotes[-1][1:] != row[1:]:
            self._quotes.append(row)


def _reaches(side: Side, limit: int, other_limit: int) -> bool:
    """Return whether an order could trade with an opposite one; a limit of 0 is any price."""
    return limit == 0 or other_limit == 0 or (limit - other_limit) * side.sign >= 0


def _priority(waiting: _Waiting) -> tuple[bool, int, int]:
    return (not waiting.is_aggressive, -waiting.side.sign * waiting.limit_nanos, waiting.entered_nanos)
