"""The books of all accounts, kept by what orders, executions and portfolio tell."""

from __future__ import annotations

from collections.abc import Iterator

from servers.model.order import Fill
from servers.risk.domain.exposure import AccountBook, OpenOrder, Parent, PendingReplace, SymbolExposure
from servers.risk.domain.facts import AdjustmentFact, AdjustmentKind, OrderEventKind, OrderFact, ParentFact
from servers.risk.domain.market import Market

FINISHED_PARENTS = 10_000
"""Parents that are over and still remembered, so that a late or replayed event does not revive them."""

_REPLACE_SETTLED = frozenset(
    {OrderEventKind.REPLACED, OrderEventKind.REPLACE_REJECTED, OrderEventKind.REJECTED}
)


class Books:
    """Positions, reservations and how far each source was read."""

    def __init__(self, market: Market) -> None:
        self.accounts: dict[str, AccountBook] = {}
        self.orders_sequence = 0
        self.executions_sequence = 0
        self.adjustments_sequence = 0
        self.renames: list[tuple[int, str, str]] = []
        self.splits: list[tuple[int, str, int, int]] = []
        self.unseen_orders: dict[tuple[str, str], OpenOrder] = {}
        self.unseen_parents: dict[tuple[str, str], Parent] = {}
        self.replacing: dict[tuple[str, str], OpenOrder] = {}
        self.unbased: set[tuple[str, str]] = set()
        self._finished: dict[tuple[str, str], None] = {}
        self._market = market

    def account(self, account: str) -> AccountBook:
        book = self.accounts.get(account)
        if book is None:
            book = self.accounts[account] = AccountBook(account, self._splits_of)
        return book

    def _splits_of(self, symbol: str) -> list[tuple[int, int, int]]:
        return [
            (at_nanos, numerator, denominator)
            for at_nanos, named, numerator, denominator in self.splits
            if self.renamed(named, at_nanos) == symbol
        ]

    # -- Orders -----------------------------------------------------------------------------------

    def apply_order(self, fact: OrderFact) -> None:
        """Take in one event of the order journal; one that was taken in before changes nothing."""
        if fact.sequence <= self.orders_sequence:
            return
        self.orders_sequence = fact.sequence
        book = self.account(fact.account)
        order = book.orders.get(fact.client_order_id)
        if order is not None and order.checked_at_nanos:
            order.checked_at_nanos = 0
            self.unseen_orders.pop((fact.account, fact.client_order_id), None)
        if order is None and not fact.is_final and fact.leaves_nanos:
            order = OpenOrder(fact.client_order_id, fact.terms, fact.leaves_nanos, fact.execution_id, 0)
            book.add_order(order)
        if order is not None:
            self._settle(book, order, fact)
        if fact.fill is not None:
            self._book_fills(book, fact)

    def _settle(self, book: AccountBook, order: OpenOrder, fact: OrderFact) -> None:
        if fact.is_final:
            self.replacing.pop((fact.account, order.order_id), None)
            book.end_order(order)
            return
        if fact.kind is OrderEventKind.REPLACE_REQUESTED:
            self._replace_requested(order, fact)
        elif fact.kind in _REPLACE_SETTLED:
            order.replaces.pop(fact.request_id, None)
        elif fact.fill is not None:
            for one in order.replaces.values():
                one.leaves_nanos = max(0, one.leaves_nanos + order_change(fact))
        self._watch_replaces(fact.account, order)
        if fact.kind is OrderEventKind.REPLACED:
            order.terms = fact.terms
            book.symbol(order.symbol).rest(order, book.orders)
        order.leaves_nanos = fact.leaves_nanos
        book.settle_order(order)

    def _replace_requested(self, order: OpenOrder, fact: OrderFact) -> None:
        """Note that a replace is on its way, also one that was checked before a restart.

        Orders lets one be on its way at a time, so that an earlier one is over.
        """
        order.replaces = {
            request_id: one
            for request_id, one in order.replaces.items()
            if one.checked_at_nanos or request_id == fact.request_id
        }
        pending = order.replaces.get(fact.request_id)
        if pending is not None:
            pending.checked_at_nanos = 0
        elif fact.requested_terms is not None:
            filled_nanos = fact.terms.quantity_nanos - fact.leaves_nanos
            order.replaces[fact.request_id] = PendingReplace(
                max(0, fact.requested_terms.quantity_nanos - filled_nanos),
                fact.requested_terms.limit_price_nanos,
                0,
            )
            self.account(fact.account).symbol(order.symbol).rest(order, self.account(fact.account).orders)

    def _watch_replaces(self, account: str, order: OpenOrder) -> None:
        """Keep the order among those with a replace whose event has not come, or out of them."""
        if any(one.checked_at_nanos for one in order.replaces.values()):
            self.replacing[account, order.order_id] = order
        else:
            self.replacing.pop((account, order.order_id), None)

    def add_replace(self, account: str, order: OpenOrder, request_id: str, replace: PendingReplace) -> None:
        """Note a replace that was approved; its reservation is settled by the caller."""
        order.replaces[request_id] = replace
        self._watch_replaces(account, order)

    def _book_fills(self, book: AccountBook, fact: OrderFact) -> None:
        fill = fact.fill
        assert fill is not None
        if fact.kind is OrderEventKind.FILLED:
            self._book_fill(book, fill, 1)
        elif fact.kind is OrderEventKind.BUSTED:
            self._book_fill(book, fill, -1)
        elif fact.kind is OrderEventKind.CORRECTED:
            self._book_fill(book, fill, -1)
            self._book_fill(book, fact.corrected_fill or fill, 1)
        if fact.execution_id:
            book.fill_child(fact.execution_id, -order_change(fact))

    def _book_fill(self, book: AccountBook, fill: Fill, times: int) -> None:
        symbol = self.renamed(fill.symbol, fill.event_time_nanos)
        exposure = book.symbol(symbol)
        session = self._market.session_of(symbol, fill.event_time_nanos)
        if session > exposure.session:
            roll(exposure, session, exposure.last_price_nanos)
        signed = fill.side.sign * times * fill.quantity_nanos
        exposure.fill(signed, fill.event_time_nanos)
        if session == exposure.session:
            exposure.cash_attos -= signed * fill.price_nanos + times * fill.fee.attos
        else:
            exposure.base_position_nanos += exposure.restated(signed, fill.event_time_nanos)
        exposure.last_price_nanos = fill.price_nanos

    # -- Parents ----------------------------------------------------------------------------------

    def apply_parent(self, fact: ParentFact) -> None:
        """Take in one event of the execution journal; one that was taken in before changes nothing."""
        if fact.sequence <= self.executions_sequence:
            return
        self.executions_sequence = fact.sequence
        book = self.account(fact.account)
        key = (fact.account, fact.execution_id)
        self.unseen_parents.pop(key, None)
        if fact.is_final:
            parent = book.parent(fact.execution_id)
            parent.symbol = parent.symbol or fact.symbol
            book.end_parent(parent)
            self.remember_finished(key)
        else:
            book.run_parent(fact.execution_id, fact.symbol, fact.side, fact.quantity_nanos, 0)

    def remember_finished(self, key: tuple[str, str]) -> None:
        """Keep a parent that is over, and let go of the one that has been over for longest."""
        self._finished[key] = None
        if len(self._finished) > FINISHED_PARENTS:
            account, execution_id = next(iter(self._finished))
            del self._finished[account, execution_id]
            old = self.accounts[account].parents.get(execution_id)
            if old is not None and not old.open_nanos:
                del self.accounts[account].parents[execution_id]

    # -- Adjustments ------------------------------------------------------------------------------

    def apply_adjustment(self, fact: AdjustmentFact) -> None:
        """Take in one of portfolio's adjustments; one that was taken in before changes nothing."""
        if fact.sequence <= self.adjustments_sequence:
            return
        self.adjustments_sequence = fact.sequence
        at_nanos = fact.effective_time_nanos
        if fact.kind is AdjustmentKind.OPENING and fact.symbol:
            symbol = self.renamed(fact.symbol, at_nanos)
            exposure = self.account(fact.account).symbol(symbol)
            exposure.fill(fact.quantity_nanos, at_nanos)
            exposure.base_position_nanos += exposure.restated(fact.quantity_nanos, at_nanos)
            self.unbased.add((fact.account, symbol))
        elif fact.kind is AdjustmentKind.SPLIT:
            symbol = self.renamed(fact.symbol, at_nanos)
            for book in self.accounts.values():
                if symbol in book.symbols:
                    book.symbols[symbol].split(at_nanos, fact.ratio_numerator, fact.ratio_denominator)
            self.splits.append((at_nanos, fact.symbol, fact.ratio_numerator, fact.ratio_denominator))
        elif fact.kind is AdjustmentKind.SYMBOL_CHANGE:
            self.renames.append((at_nanos, fact.symbol, fact.new_symbol))
            for book in self.accounts.values():
                book.rename(fact.symbol, fact.new_symbol)

    def renamed(self, symbol: str, time_nanos: int) -> str:
        """Return today's name of what was called `symbol` at a market time."""
        for effective_time_nanos, old, new in self.renames:
            if symbol == old and time_nanos < effective_time_nanos:
                symbol = new
        return symbol

    # -- Time -------------------------------------------------------------------------------------

    def roll_sessions(self) -> None:
        """Begin the session's profit anew for every symbol whose exchange has a new date."""
        market = self._market
        for book in self.accounts.values():
            for symbol, exposure in book.symbols.items():
                session = market.session_of(symbol, market.now_nanos)
                if session > exposure.session:
                    roll(exposure, session, market.price_nanos(symbol) or exposure.last_price_nanos)

    def take_base_prices(self) -> None:
        """Give opening positions their first price: what they made before is no profit of the session."""
        for account, symbol in list(self.unbased):
            price = self._market.price_nanos(symbol)
            if price:
                exposure = self.accounts[account].symbol(symbol)
                exposure.base_price_nanos = exposure.base_price_nanos or price
                self.unbased.discard((account, symbol))

    def expire_orders(self, heard_at_nanos: int, wait_nanos: int) -> Iterator[str]:
        """End the reservations of orders and replaces that the stream, heard since, never told of."""
        for key, order in list(self.unseen_orders.items()):
            if order.checked_at_nanos + wait_nanos < heard_at_nanos:
                del self.unseen_orders[key]
                self.accounts[key[0]].end_order(order)
                yield order.order_id
        for key, order in list(self.replacing.items()):
            late = [
                request_id
                for request_id, one in order.replaces.items()
                if one.checked_at_nanos and one.checked_at_nanos + wait_nanos < heard_at_nanos
            ]
            for request_id in late:
                del order.replaces[request_id]
            self._watch_replaces(key[0], order)
            if late:
                self.accounts[key[0]].settle_order(order)
                yield order.order_id

    def expire_parents(self, heard_at_nanos: int, wait_nanos: int) -> Iterator[str]:
        """End the reservations of parents that the stream, heard since, never told of."""
        for key, parent in list(self.unseen_parents.items()):
            if parent.checked_at_nanos + wait_nanos < heard_at_nanos:
                del self.unseen_parents[key]
                parent.is_running = False
                self.accounts[key[0]].settle_parent(parent)
                yield parent.execution_id


def order_change(fact: OrderFact) -> int:
    """Return by how much an event's fills change what is left of the order: a fill makes it less."""
    if fact.fill is None:
        return 0
    if fact.kind is OrderEventKind.FILLED:
        return -fact.fill.quantity_nanos
    if fact.kind is OrderEventKind.BUSTED:
        return fact.fill.quantity_nanos
    corrected = fact.corrected_fill or fact.fill
    return fact.fill.quantity_nanos - corrected.quantity_nanos


def roll(exposure: SymbolExposure, session: str, price_nanos: int) -> None:
    """Begin a session: profit counts from the position and the price that it begins with."""
    exposure.session = session
    exposure.base_position_nanos = exposure.position_nanos
    exposure.base_price_nanos = price_nanos
    exposure.cash_attos = 0
