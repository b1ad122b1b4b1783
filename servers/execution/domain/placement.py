"""Which child to send for a quantity that is due: how much, at what price, passive or crossing.

A slice's quantity is first posted at the near touch; what is still missing when the slice is over crosses
the spread, as a limit order at the far touch that is immediate or cancelled (or, where a venue does not
answer those at once, stays for some seconds), never at any price. The room that the
participation cap leaves goes to what is late first.
"""

from __future__ import annotations

from dataclasses import dataclass

from servers.model.instrument import Instrument
from servers.model.market import Quote
from servers.model.nanos import INT64_MAX
from servers.model.order import OrderTerms, OrderType, Side, TimeInForce

REACHES_E4 = (0, 1, 2, 4, 8, 16, 25)
"""How far beyond the far touch a crossing child reaches, in 1/10,000 of the price, after so many in vain."""

CATCH_UP_SLICES = 3
"""Largest child, in multiples of what the schedule plans for one slice."""


@dataclass(frozen=True, slots=True)
class Due:
    """Quantities that the schedule asks for, in 1e-9 shares.

    Attributes:
        late: due by the end of the slice before and not filled.
        open: due by the end of this slice, less what is filled and what works: the most that may be sent.
        slice_plan: what the schedule plans for this slice.
    """

    late: int
    open: int
    slice_plan: int


def crossing_price(side: Side, quote: Quote, instrument: Instrument, level: int, limit: int) -> int:
    """Return the limit price of a crossing child in 1e-9 currency units; 0 when it may not cross.

    It reaches through the far touch by `REACHES_E4[level]`, at least one tick above level 0, and never past
    `limit` (0 for none).
    """
    if side is Side.BUY:
        touch = quote.ask_price_nanos or _beyond_last(side, quote, instrument)
        if not touch or (limit and touch > limit):
            return 0
        return instrument.floor_to_tick(min(touch + _reach(touch, level, instrument), limit or INT64_MAX))
    touch = quote.bid_price_nanos or _beyond_last(side, quote, instrument)
    if not touch or (limit and touch < limit):
        return 0
    return instrument.ceil_to_tick(max(touch - _reach(touch, level, instrument), limit))


def passive_price(side: Side, quote: Quote, instrument: Instrument, limit: int) -> int:
    """Return the near touch, or the limit where that is less aggressive; 0 when there is no near touch."""
    if side is Side.BUY:
        touch = quote.bid_price_nanos
        return instrument.floor_to_tick(min(touch, limit or INT64_MAX)) if touch else 0
    touch = quote.ask_price_nanos
    return instrument.ceil_to_tick(max(touch, limit)) if touch else 0


def opening_price(side: Side, quote: Quote, instrument: Instrument, limit: int) -> int:
    """Return the limit of a child for the opening auction: 1 % beyond the last price; 0 without one."""
    last = quote.reference_price_nanos
    if not last:
        return 0
    if side is Side.BUY:
        return instrument.floor_to_tick(min(last + last // 100, limit or INT64_MAX))
    return instrument.ceil_to_tick(max(last - last // 100, limit))


def child_quantity(
    wanted: int, due: Due, room: int, min_child: int, unsent: int, instrument: Instrument
) -> int:
    """Return how much to send of `wanted`: whole lots, within the room; 0 when it is not worth a child.

    `room` is what the cap leaves, `unsent` what the parent has neither filled nor working. A quantity below
    the smallest child goes only when it is all that is left. Everything in 1e-9 shares.
    """
    largest = CATCH_UP_SLICES * due.slice_plan if due.slice_plan else unsent
    quantity = instrument.floor_to_lot(min(wanted, due.open, room, unsent, max(largest, min_child)))
    if quantity < instrument.min_quantity_nanos:
        return 0
    if quantity < min_child and quantity < unsent:
        return 0
    return quantity


def crossing_terms(
    symbol: str, side: Side, quantity: int, price: int, *, is_immediate: bool = True
) -> OrderTerms:
    """Return the terms of a crossing child.

    One that is not immediate stays for a while at its price: for venues where what crosses has to wait for
    somebody to trade with.
    """
    time_in_force = TimeInForce.IOC if is_immediate else TimeInForce.DAY
    return OrderTerms(symbol, side, OrderType.LIMIT, time_in_force, quantity, price)


def passive_terms(symbol: str, side: Side, quantity: int, price: int) -> OrderTerms:
    """Return the terms of a child that rests at the near touch."""
    return OrderTerms(symbol, side, OrderType.LIMIT, TimeInForce.DAY, quantity, price, is_post_only=True)


def closing_terms(symbol: str, side: Side, quantity: int, limit: int) -> OrderTerms:
    """Return the terms of a child for the closing auction, at the limit price where there is one."""
    order_type = OrderType.LIMIT_ON_CLOSE if limit else OrderType.MARKET_ON_CLOSE
    return OrderTerms(symbol, side, order_type, TimeInForce.DAY, quantity, limit)


def opening_terms(symbol: str, side: Side, quantity: int, price: int) -> OrderTerms:
    """Return the terms of a child for the opening auction: a limit order of the day."""
    return OrderTerms(symbol, side, OrderType.LIMIT, TimeInForce.DAY, quantity, price)


def _beyond_last(side: Side, quote: Quote, instrument: Instrument) -> int:
    # Without a quote on the far side the last eligible price stands in for it.
    if not quote.last_price_nanos:
        return 0
    if side is Side.BUY:
        return instrument.ceil_to_tick(quote.last_price_nanos)
    return instrument.floor_to_tick(quote.last_price_nanos)


def _reach(touch: int, level: int, instrument: Instrument) -> int:
    fraction = touch * REACHES_E4[level] // 10_000
    return max(fraction, instrument.tick_at(touch)) if level else 0
