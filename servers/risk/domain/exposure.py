"""What an account has at stake: positions, live orders, and the unsent rest of running parents.

A check that approves adds a reservation here; order events settle it and end it. The rest of a parent
is never told from outside: it is the parent's quantity less what its children have filled and still
have open, so that a share is counted with the parent or with the child and never with both, in
whatever order the two streams of events arrive.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from servers.model.order import OrderTerms, OrderType, Side, TimeInForce

ANY_PRICE_BUY = 2**63
"""The price of a buy without a limit, for comparison; a sell without one is at 0."""

_RESTING = (TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD)


@dataclass(slots=True)
class PendingReplace:
    """What a replace asks for, and when it was checked, in case its event never comes; 0 once it came."""

    leaves_nanos: int
    limit_price_nanos: int
    checked_at_nanos: int


class OpenOrder:
    """One live order of an account. `checked_at_nanos` is wall time, 0 once its event has been seen.

    `replaces` are those that were checked or asked for and not settled yet, by their request ids: a second
    one can be checked before the stream tells that the first is in force.
    """

    __slots__ = (
        "checked_at_nanos",
        "execution_id",
        "leaves_nanos",
        "order_id",
        "replaces",
        "reserved_nanos",
        "side",
        "symbol",
        "terms",
    )

    def __init__(
        self, order_id: str, terms: OrderTerms, leaves_nanos: int, execution_id: str, checked_at_nanos: int
    ) -> None:
        self.order_id = order_id
        self.terms = terms
        self.symbol = terms.symbol
        self.side = terms.side
        self.leaves_nanos = leaves_nanos
        self.reserved_nanos = 0
        self.execution_id = execution_id
        self.checked_at_nanos = checked_at_nanos
        self.replaces: dict[str, PendingReplace] = {}

    @property
    def needed_nanos(self) -> int:
        """What has to be reserved: the worst of the terms in force and those asked for."""
        return max(self.leaves_nanos, *(one.leaves_nanos for one in self.replaces.values()), 0)


@dataclass(slots=True)
class Parent:
    """A parent order. `checked_at_nanos` is wall time, 0 once its event has been seen."""

    execution_id: str
    symbol: str = ""
    side: Side = Side.BUY
    quantity_nanos: int = 0
    filled_nanos: int = 0
    open_nanos: int = 0
    reserved_nanos: int = 0
    is_running: bool = False
    is_final: bool = False
    checked_at_nanos: int = 0

    @property
    def rest_nanos(self) -> int:
        """What has not been sent and may still be."""
        if not self.is_running:
            return 0
        return max(0, self.quantity_nanos - self.filled_nanos - self.open_nanos)


class PastFill(NamedTuple):
    """A fill that a split may have to restate."""

    event_time_nanos: int
    signed_nanos: int


PAST_FILLS = 4_096
"""Fills that a split recorded later can still tell apart by their time."""

LEAST_SWEEP = 1_024
"""Entries of orders that have ended are swept out of a heap above this length."""


@dataclass(slots=True)
class SymbolExposure:
    """One symbol of one account, in 1e-9 shares; cash in 1e-18 currency units.

    `cash_attos` is what trading took in since the session began, `base_*` where the session began:
    profit is cash + position at the price now - position then at the price then.
    """

    position_nanos: int = 0
    open_buy_nanos: int = 0
    open_sell_nanos: int = 0
    rest_buy_nanos: int = 0
    rest_sell_nanos: int = 0
    cash_attos: int = 0
    base_position_nanos: int = 0
    base_price_nanos: int = 0
    session: str = ""
    last_price_nanos: int = 0
    past_fills: list[PastFill] = field(default_factory=list)
    splits: list[tuple[int, int, int]] = field(default_factory=list)
    _resting_buys: list[tuple[int, str]] = field(default_factory=list)
    _resting_sells: list[tuple[int, str]] = field(default_factory=list)

    @property
    def buys_nanos(self) -> int:
        """Open buys and the rest of buying parents."""
        return self.open_buy_nanos + self.rest_buy_nanos

    @property
    def sells_nanos(self) -> int:
        """Open sells and the rest of selling parents."""
        return self.open_sell_nanos + self.rest_sell_nanos

    @property
    def worst_nanos(self) -> int:
        """The largest position, long or short, that what is open can lead to."""
        position = self.position_nanos
        long = position + self.open_buy_nanos + self.rest_buy_nanos
        short = self.open_sell_nanos + self.rest_sell_nanos - position
        return max(long, short, position, -position)

    @property
    def taken_nanos(self) -> int:
        """Shares that take money: the position, and on both sides what does not merely close it."""
        position = self.position_nanos
        if position >= 0:
            return position + self.buys_nanos + max(0, self.sells_nanos - position)
        return -position + self.sells_nanos + max(0, self.buys_nanos + position)

    @property
    def is_empty(self) -> bool:
        return not (self.position_nanos or self.buys_nanos or self.sells_nanos)

    def profit_attos(self, price_nanos: int) -> int:
        """Return the profit of the session so far, at a price now."""
        base = self.base_position_nanos * (self.base_price_nanos or price_nanos)
        return self.cash_attos + self.position_nanos * price_nanos - base

    def rest(self, order: OpenOrder, orders: dict[str, OpenOrder]) -> None:
        """Remember that an order may rest in the book, at the limits it has or asks for."""
        terms = order.terms
        if terms.order_type is not OrderType.LIMIT or terms.time_in_force not in _RESTING:
            return
        prices = {terms.limit_price_nanos, *(one.limit_price_nanos for one in order.replaces.values())}
        heap, sign = (self._resting_buys, -1) if terms.side is Side.BUY else (self._resting_sells, 1)
        for price in prices:
            heapq.heappush(heap, (sign * price, order.order_id))
        if len(heap) > LEAST_SWEEP and len(heap) > 4 * len(orders):
            heap[:] = [entry for entry in heap if entry[1] in orders]
            heapq.heapify(heap)

    def resting_against(
        self, side: Side, limit_price_nanos: int, orders: dict[str, OpenOrder]
    ) -> OpenOrder | None:
        """Return an own resting order that an order of `side` up to its limit (0: any price) would meet."""
        if side is Side.BUY:
            heap, worst = self._resting_sells, limit_price_nanos or ANY_PRICE_BUY
        else:
            heap, worst = self._resting_buys, -limit_price_nanos
        while heap:
            price, order_id = heap[0]
            order = orders.get(order_id)
            if order is not None and order.leaves_nanos and _rests_at(order, abs(price)):
                return order if price <= worst else None
            heapq.heappop(heap)
        return None

    def restated(self, signed_nanos: int, event_time_nanos: int) -> int:
        """Return a past quantity in today's shares: times every split that took effect after it."""
        for effective_time_nanos, numerator, denominator in self.splits:
            if event_time_nanos < effective_time_nanos:
                signed_nanos = _times(signed_nanos, numerator, denominator)
        return signed_nanos

    def fill(self, signed_nanos: int, event_time_nanos: int) -> None:
        """Book a fill, or with the opposite sign undo one."""
        self.position_nanos += self.restated(signed_nanos, event_time_nanos)
        past = self.past_fills
        past.append(PastFill(event_time_nanos, signed_nanos))
        if len(past) >= 2 * PAST_FILLS:
            del past[:PAST_FILLS]

    def split(self, effective_time_nanos: int, numerator: int, denominator: int) -> None:
        """Restate the position: what was held before the effective time, the last fills apart."""
        since = sum(
            self.restated(past.signed_nanos, past.event_time_nanos)
            for past in self.past_fills
            if past.event_time_nanos >= effective_time_nanos
        )
        held = self.position_nanos - since
        self.position_nanos = _times(held, numerator, denominator) + since
        self.base_position_nanos = _times(self.base_position_nanos, numerator, denominator)
        self.base_price_nanos = _times(self.base_price_nanos, denominator, numerator)
        self.splits.append((effective_time_nanos, numerator, denominator))


def _times(value: int, numerator: int, denominator: int) -> int:
    """Return value x numerator / denominator, rounded half away from zero to the nano."""
    scaled = 2 * abs(value) * numerator + denominator
    rounded = scaled // (2 * denominator)
    return rounded if value >= 0 else -rounded


def _rests_at(order: OpenOrder, price_nanos: int) -> bool:
    if order.terms.limit_price_nanos == price_nanos:
        return True
    return any(one.limit_price_nanos == price_nanos for one in order.replaces.values())


class AccountBook:
    """Everything that one account has at stake. All changes go through here, so that sums hold.

    Args:
        account: its name.
        splits_of: returns the splits of a symbol, (effective time, numerator, denominator), that were
            recorded before the account heard of the symbol.
    """

    def __init__(
        self, account: str, splits_of: Callable[[str], list[tuple[int, int, int]]] = lambda _: []
    ) -> None:
        self.account = account
        self._splits_of = splits_of
        self.symbols: dict[str, SymbolExposure] = {}
        self.orders: dict[str, OpenOrder] = {}
        self.parents: dict[str, Parent] = {}

    def symbol(self, symbol: str) -> SymbolExposure:
        exposure = self.symbols.get(symbol)
        if exposure is None:
            exposure = self.symbols[symbol] = SymbolExposure(splits=self._splits_of(symbol))
        return exposure

    # -- Orders -----------------------------------------------------------------------------------

    def add_order(self, order: OpenOrder) -> None:
        """Reserve a new order; a child takes its share from its parent."""
        self.orders[order.order_id] = order
        self.settle_order(order)
        self.symbol(order.symbol).rest(order, self.orders)

    def settle_order(self, order: OpenOrder) -> None:
        """Bring the reservation to what the order needs now, and its parent's rest with it."""
        change = order.needed_nanos - order.reserved_nanos
        if not change:
            return
        order.reserved_nanos += change
        exposure = self.symbol(order.symbol)
        if order.side is Side.BUY:
            exposure.open_buy_nanos += change
        else:
            exposure.open_sell_nanos += change
        if order.execution_id:
            parent = self.parent(order.execution_id)
            parent.open_nanos += change
            self.settle_parent(parent)

    def end_order(self, order: OpenOrder) -> None:
        """Release an order's reservation; an unfilled child's share goes back to its parent."""
        order.leaves_nanos = 0
        order.replaces.clear()
        self.settle_order(order)
        self.orders.pop(order.order_id, None)

    # -- Parents ----------------------------------------------------------------------------------

    def parent(self, execution_id: str) -> Parent:
        parent = self.parents.get(execution_id)
        if parent is None:
            parent = self.parents[execution_id] = Parent(execution_id)
        return parent

    def run_parent(
        self, execution_id: str, symbol: str, side: Side, quantity_nanos: int, checked_at_nanos: int
    ) -> Parent:
        """Reserve a parent's rest."""
        parent = self.parent(execution_id)
        parent.symbol, parent.side, parent.quantity_nanos = symbol, side, quantity_nanos
        parent.is_running = not parent.is_final
        parent.checked_at_nanos = checked_at_nanos
        self.settle_parent(parent)
        return parent

    def end_parent(self, parent: Parent) -> None:
        """Release a parent's rest. Its children keep their own reservations."""
        parent.is_running, parent.is_final = False, True
        self.settle_parent(parent)

    def settle_parent(self, parent: Parent) -> None:
        """Bring the reservation to the parent's present rest."""
        change = parent.rest_nanos - parent.reserved_nanos
        if not change:
            return
        parent.reserved_nanos += change
        exposure = self.symbol(parent.symbol)
        if parent.side is Side.BUY:
            exposure.rest_buy_nanos += change
        else:
            exposure.rest_sell_nanos += change

    def fill_child(self, execution_id: str, quantity_nanos: int) -> None:
        """Count what a child has filled (negative: a bust) as done by its parent."""
        parent = self.parent(execution_id)
        parent.filled_nanos += quantity_nanos
        self.settle_parent(parent)

    def rename(self, symbol: str, new_symbol: str) -> None:
        """Move a symbol's position, and what is carried with it, to its new name."""
        old = self.symbols.get(symbol)
        if old is None:
            return
        new = self.symbol(new_symbol)
        new.position_nanos += old.position_nanos
        new.base_position_nanos += old.base_position_nanos
        new.base_price_nanos = new.base_price_nanos or old.base_price_nanos
        new.session = new.session or old.session
        new.last_price_nanos = new.last_price_nanos or old.last_price_nanos
        new.cash_attos += old.cash_attos
        new.past_fills.extend(old.past_fills)
        new.splits.extend(split for split in old.splits if split not in new.splits)
        old.position_nanos = old.base_position_nanos = old.cash_attos = 0
        old.past_fills.clear()
