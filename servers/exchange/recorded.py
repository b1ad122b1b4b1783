"""A market that a recorded day drives: its prints go out as they are, and our orders take part in them.

A print gives what it traded once, to participants in the order in which they came; nothing fills against
an off-exchange print, one that does not count, or one before the open. What prints do not tell is implied by
earlier ones alone: sides by the tick rule, the spread from reversals, a queue from what traded at a price.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from servers.exchange.domain import Happening
from servers.exchange.implied import ImpliedQuotes, imply_quotes
from servers.exchange.ports import Level, QuoteColumns
from servers.exchange.tape import Tape
from servers.model.clock import NANOS_PER_SECOND
from servers.model.instrument import Instrument
from servers.model.market import MarketPhase, TradeFlag
from servers.model.order import Liquidity, OrderTerms, OrderType, Rejection, Side, TimeInForce
from servers.recordings import RecordedTrades

IMMEDIATE_NANOS = NANOS_PER_SECOND
"""How long an IOC or FOK order waits for prints: a book would answer at once, a tape has only prints."""

PRESSURE_SECONDS = 900.0
_HITTABLE = int(TradeFlag.ELIGIBLE)
_NOT_HITTABLE = int(TradeFlag.OFF_EXCHANGE | TradeFlag.EXTENDED_HOURS | TradeFlag.CANCEL)
_CALL_PHASES = (
    MarketPhase.PRE_OPEN,
    MarketPhase.OPENING_AUCTION,
    MarketPhase.REOPENING_AUCTION,
    MarketPhase.CLOSING_AUCTION,
)


@dataclass(slots=True)
class _Working:
    number: int
    owner: int
    terms: OrderTerms
    leaves: int
    is_resting: bool
    queue_nanos: int
    is_for_auction: bool
    expires_nanos: int = 0
    reserved: list[tuple[int, int, int]] | None = None

    @property
    def sign(self) -> int:
        return self.terms.side.sign

    @property
    def limit(self) -> int:
        return self.terms.limit_price_nanos


class RecordedMarket:
    """`servers.exchange.ports.Market` over recorded prints.

    Args:
        daily_volatility: scale of the impact that our own volume pays, as in the simulated flow.
        print_share: share of a print that participants may take.
    """

    def __init__(
        self,
        instrument: Instrument,
        trades: RecordedTrades,
        first_sequence: int = 1,
        daily_volatility: float = 0.015,
        print_share: float = 1.0,
        pressure: float = 0.0,
    ) -> None:
        self.instrument = instrument
        self.tape = Tape(instrument.symbol, first_sequence)
        self._trades = trades
        self._volatility = daily_volatility
        self._share = print_share
        self._implied: ImpliedQuotes = imply_quotes(trades)
        self._cursor = 0
        self._now = 0
        self._phase = MarketPhase.CLOSED
        self._open = self._close = 0
        self._working: dict[int, _Working] = {}
        self._happenings: list[Happening] = []
        self._pressure = pressure
        self._pressure_time = 0
        self._quoted = -1
        self._volume = 0

    @property
    def is_finished(self) -> bool:
        """Return whether every print has gone out."""
        return self._cursor == len(self._trades)

    # -- orders
    def submit(self, number: int, owner: int, terms: OrderTerms) -> Rejection | None:
        bid, ask = self._quote()
        best = ask if terms.side is Side.BUY else bid
        takes = terms.order_type is OrderType.MARKET or (
            bool(best) and (best - terms.limit_price_nanos) * terms.side.sign <= 0
        )
        is_for_auction = terms.order_type.is_on_close
        if self._phase is MarketPhase.CONTINUOUS and not is_for_auction:
            if terms.is_post_only and takes:
                return Rejection("POST_ONLY_WOULD_TAKE", "the order would take liquidity")
            if self._opposite_own(owner, terms) is not None:
                return Rejection("SELF_TRADE", "the order could trade with an order of the same account")
        expires = (
            self._now + IMMEDIATE_NANOS if terms.time_in_force in (TimeInForce.IOC, TimeInForce.FOK) else 0
        )
        self._working[number] = _Working(
            number,
            owner,
            terms,
            terms.quantity_nanos,
            is_resting=not takes,
            queue_nanos=0 if takes else self._queue(terms),
            is_for_auction=is_for_auction,
            expires_nanos=expires,
            reserved=[] if terms.time_in_force is TimeInForce.FOK else None,
        )
        return None

    def cancel(self, number: int) -> bool:
        return self._working.pop(number, None) is not None

    def replace(self, number: int, terms: OrderTerms, leaves_nanos: int) -> Rejection | None:
        order = self._working.get(number)
        if order is None:
            return Rejection("ORDER_NOT_FOUND", "the order does not work here")
        loses_place = terms.limit_price_nanos != order.limit or leaves_nanos > order.leaves
        if loses_place:
            del self._working[number]
            refused = self.submit(number, order.owner, terms)
            if refused is not None:
                self._working[number] = order
                return refused
            order = self._working[number]
        order.terms = terms
        order.leaves = leaves_nanos
        return None

    def _opposite_own(self, owner: int, terms: OrderTerms) -> _Working | None:
        for order in self._working.values():
            if order.owner != owner or order.terms.side is terms.side or order.is_for_auction:
                continue
            if not order.limit or not terms.limit_price_nanos:
                return order
            if (terms.limit_price_nanos - order.limit) * terms.side.sign >= 0:
                return order
        return None

    def _queue(self, terms: OrderTerms) -> int:
        """Return what would stand before a new order at its price; better than the market has none."""
        bid, ask = self._quote()
        touch = bid if terms.side is Side.BUY else ask
        if touch and (terms.limit_price_nanos - touch) * terms.side.sign > 0:
            return 0
        return int(self._implied.queue_nanos[self._cursor - 1]) if self._cursor else 0

    # -- phases and time
    def begin_session(self, open_nanos: int, close_nanos: int) -> None:
        self._open, self._close = open_nanos, close_nanos

    def enter_phase(self, phase: MarketPhase, time_nanos: int) -> None:
        left, self._phase = self._phase, phase
        self._now = max(self._now, time_nanos)
        if phase is MarketPhase.CLOSED and left is MarketPhase.CLOSING_AUCTION:
            self._print_until(self._now)
            for order in [order for order in self._working.values() if order.is_for_auction]:
                self._drop(order, "AUCTION_REMAINDER")

    def advance(self, until_nanos: int) -> None:
        """Print up to `until_nanos`; once the session is over, all that is left."""
        self._print_until(
            until_nanos if self._phase is not MarketPhase.CLOSED or until_nanos < self._close else None
        )
        self._now = max(self._now, until_nanos)
        for order in list(self._working.values()):
            if order.expires_nanos and self._now >= order.expires_nanos:
                self._drop(order, "FOK_UNFILLABLE" if order.reserved is not None else "IOC_REMAINDER")

    def resume(self, open_nanos: int, close_nanos: int, time_nanos: int, phase: MarketPhase) -> None:
        self.begin_session(open_nanos, close_nanos)
        self._phase, self._now = phase, time_nanos
        self._print_until(time_nanos)

    def _print_until(self, until_nanos: int | None) -> None:
        trades, start = self._trades, self._cursor
        end = len(trades)
        if until_nanos is not None:
            end = int(np.searchsorted(trades.time_nanos, until_nanos, side="right"))
        if end <= start:
            return
        if self._working and self._phase not in (
            MarketPhase.HALTED,
            MarketPhase.CLOSED,
            MarketPhase.PRE_OPEN,
        ):
            for index in range(start, end):
                if not self._working:
                    break
                self._match(index)
        self._cursor = end
        window = slice(start, end)
        self._volume += int(
            trades.size_nanos[window][(trades.flags[window] & _HITTABLE) != 0].sum(dtype=np.float64)
        )
        self.tape.extend(
            trades.time_nanos[window].tobytes(),
            trades.price_nanos[window].tobytes(),
            trades.size_nanos[window].tobytes(),
            trades.flags[window].tobytes(),
        )

    # -- matching
    def _match(self, index: int) -> None:
        """Let working orders take part in one print."""
        trades = self._trades
        flags = int(trades.flags[index])
        time = int(trades.time_nanos[index])
        if not flags & _HITTABLE or flags & _NOT_HITTABLE or time < self._open or time < self._now:
            return
        is_auction = bool(flags & TradeFlag.AUCTION)
        if self._phase is MarketPhase.CLOSING_AUCTION and not is_auction:
            return
        price = int(trades.price_nanos[index])
        lot = self.instrument.lot_size_nanos
        room = int(int(trades.size_nanos[index]) * self._share) // lot * lot
        if not is_auction:
            self._deplete_queues(price, int(trades.size_nanos[index]))
        for order in list(self._working.values()):
            if room <= 0:
                return
            if order.expires_nanos and time > order.expires_nanos:
                continue
            fill = self._auction_fill(order, price) if is_auction else self._fill_price(order, index, price)
            if fill is None:
                continue
            fill_price, liquidity = fill
            quantity = min(order.leaves, room)
            if liquidity is Liquidity.MAKER and order.queue_nanos < 0:
                quantity = min(quantity, -order.queue_nanos // lot * lot)
                order.queue_nanos = 0
            if quantity <= 0:
                continue
            room -= quantity
            self._take_part(order, quantity, fill_price, liquidity, time)

    def _deplete_queues(self, price: int, size: int) -> None:
        """Let a print at an order's price shorten the queue before it: below 0 is what reached the order."""
        for order in self._working.values():
            if order.is_resting and order.limit == price:
                order.queue_nanos -= size

    def _fill_price(self, order: _Working, index: int, price: int) -> tuple[int, Liquidity] | None:
        """Return at what price an order takes part in a print, or None if it does not."""
        if order.is_for_auction:
            return None
        sign = order.sign
        if order.is_resting:
            beyond = (order.limit - price) * sign
            if beyond > 0:
                order.queue_nanos = 0
                return order.limit, Liquidity.MAKER
            return (order.limit, Liquidity.MAKER) if beyond == 0 and order.queue_nanos < 0 else None
        touch = int(self._implied.ask_nanos[index] if sign > 0 else self._implied.bid_nanos[index])
        far = max(price, touch) if sign > 0 else min(price, touch)
        cost = self._with_impact(far, sign)
        if order.terms.order_type is OrderType.LIMIT and (cost - order.limit) * sign > 0:
            if (price - order.limit) * sign > 0:
                order.is_resting = True
                order.queue_nanos = 0
            return None
        return cost, Liquidity.TAKER

    def _auction_fill(self, order: _Working, price: int) -> tuple[int, Liquidity] | None:
        """An auction print serves orders for the close at the close, and resting ones otherwise."""
        if self._phase is not MarketPhase.CLOSING_AUCTION and order.is_for_auction:
            return None
        if order.terms.order_type.has_limit and (price - order.limit) * order.sign > 0:
            return None
        return price, Liquidity.AUCTION

    def _take_part(self, order: _Working, quantity: int, price: int, liquidity: Liquidity, time: int) -> None:
        self._press(order.sign * quantity, time)
        order.leaves -= quantity
        if order.reserved is not None:
            order.reserved.append((quantity, price, time))
            if order.leaves:
                return
            for part, at, when in order.reserved:
                self._happenings.append(Happening(order.number, part, at, liquidity, "", when))
        else:
            self._happenings.append(Happening(order.number, quantity, price, liquidity, "", time))
        if not order.leaves:
            del self._working[order.number]

    def _drop(self, order: _Working, reason: str) -> None:
        del self._working[order.number]
        left = order.terms.quantity_nanos if order.reserved is not None else order.leaves
        self._happenings.append(Happening(order.number, left, 0, Liquidity.UNSPECIFIED, reason, self._now))

    # -- impact
    def _press(self, quantity: int, time: int) -> None:
        seconds = max(time - self._pressure_time, 0) / NANOS_PER_SECOND
        self._pressure = self._pressure * math.exp(-seconds / PRESSURE_SECONDS) + quantity
        self._pressure_time = max(time, self._pressure_time)

    def _with_impact(self, price: int, sign: int) -> int:
        """Return the price with what our own net volume costs: square root in size, never in our favour."""
        pressed = self._pressure * sign
        if pressed <= 0:
            return price
        elapsed = max((self._now - self._open) / max(self._close - self._open, 1), 0.02)
        volume = max(self._volume / elapsed, pressed)
        shift = price * self._volatility * math.sqrt(pressed / volume)
        moved = price + sign * round(shift)
        instrument = self.instrument
        return instrument.ceil_to_tick(moved) if sign > 0 else instrument.floor_to_tick(max(moved, 1))

    # -- what happened
    def take_happenings(self) -> list[Happening]:
        taken, self._happenings = self._happenings, []
        return taken

    def _quote(self) -> tuple[int, int]:
        if not self._cursor or self._phase is not MarketPhase.CONTINUOUS:
            return 0, 0
        return int(self._implied.bid_nanos[self._cursor - 1]), int(self._implied.ask_nanos[self._cursor - 1])

    def take_quotes(self) -> QuoteColumns:
        start, end = self._quoted + 1, self._cursor
        self._quoted = end - 1
        if end <= start or self._phase is not MarketPhase.CONTINUOUS:
            return QuoteColumns(0, b"", b"", b"", b"", b"")
        rows = self._implied.changes(start, end)
        columns = self._implied
        return QuoteColumns(
            len(rows),
            self._trades.time_nanos[rows].tobytes(),
            columns.bid_nanos[rows].tobytes(),
            columns.queue_nanos[rows].tobytes(),
            columns.ask_nanos[rows].tobytes(),
            columns.queue_nanos[rows].tobytes(),
        )

    def depth(self, count: int) -> tuple[list[Level], list[Level]]:
        bid, ask = self._quote()
        if not bid or not count:
            return [], []
        size = int(self._implied.queue_nanos[self._cursor - 1])
        return [Level(bid, size, 1)], [Level(ask, size, 1)]

    @property
    def reference_price_nanos(self) -> int:
        return int(self._implied.last_nanos[self._cursor - 1]) if self._cursor else 0

    def state(self) -> dict[str, float]:
        return {"pressure": self._pressure}
