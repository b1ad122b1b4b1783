"""All orders and fills of the journal, found by id, in the order of their first event, and by parent.

The book is what `apply` makes of the events; it holds nothing that is not in them. A `Draft` over it
takes events that are not committed yet, so that a whole group can be decided before it is written, and
dropped when it cannot be.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from servers.model.order import Fill
from servers.orders.domain import EventKind, FillKey, OrderEvent, OrderKey, OrderRecord, apply, fill_key


@dataclass(slots=True)
class BookedFill:
    """A fill as it is now. `sequence` is that of its first event; a busted one is kept and left out."""

    sequence: int
    fill: Fill
    is_busted: bool = False


@dataclass(slots=True)
class _Index:
    # Keys in the order of their sequences, both ascending.
    sequences: list[int] = field(default_factory=list)
    orders: list[OrderKey] = field(default_factory=list)

    def add(self, sequence: int, key: OrderKey) -> None:
        self.sequences.append(sequence)
        self.orders.append(key)


class OrderBook:
    """The committed state."""

    def __init__(self) -> None:
        self.last_sequence = 0
        self.venue_report_sequence = 0
        self._orders: dict[OrderKey, OrderRecord] = {}
        self._working: dict[OrderKey, None] = {}
        self._all = _Index()
        self._by_execution: dict[str, _Index] = {}
        self._fills: dict[FillKey, BookedFill] = {}
        self._fill_order: list[BookedFill] = []
        self._fills_by_execution: dict[str, list[BookedFill]] = {}

    def order(self, key: OrderKey) -> OrderRecord | None:
        """Return the order, or None."""
        return self._orders.get(key)

    def fill(self, key: FillKey) -> BookedFill | None:
        """Return the fill that is booked under `key`, or None."""
        return self._fills.get(key)

    def working(self) -> list[OrderRecord]:
        """Return the orders that have not ended, oldest first."""
        return [self._orders[key] for key in self._working]

    @property
    def order_count(self) -> int:
        return len(self._orders)

    @property
    def working_count(self) -> int:
        return len(self._working)

    def take(self, event: OrderEvent, sequence: int) -> OrderRecord:
        """Apply a committed event and return the order after it."""
        record = apply(self._orders.get(event.key), event, sequence)
        self.settle(event, record, sequence)
        return record

    def settle(self, event: OrderEvent, record: OrderRecord, sequence: int) -> None:
        """Enter what `apply` made of a committed event."""
        key = record.key
        self._orders[key] = record
        self.last_sequence = sequence
        self.venue_report_sequence = max(self.venue_report_sequence, event.venue_report_sequence)
        if record.first_sequence == sequence:
            self._all.add(sequence, key)
            if record.execution_id:
                self._by_execution.setdefault(record.execution_id, _Index()).add(sequence, key)
        if record.is_final:
            self._working.pop(key, None)
        elif record.first_sequence == sequence:
            self._working[key] = None
        if event.fill is not None:
            self._settle_fill(event, event.fill, sequence)

    def _settle_fill(self, event: OrderEvent, fill: Fill, sequence: int) -> None:
        if event.kind is EventKind.FILLED:
            booked = BookedFill(sequence, fill)
            self._fills[fill_key(fill)] = booked
            self._fill_order.append(booked)
            if fill.execution_id:
                self._fills_by_execution.setdefault(fill.execution_id, []).append(booked)
        elif event.kind is EventKind.BUSTED:
            self._fills[fill_key(fill)].is_busted = True
        elif event.corrected_fill is not None:
            self._fills[fill_key(fill)].fill = event.corrected_fill

    def orders_after(
        self,
        first_sequence: int,
        account: str = "",
        execution_id: str = "",
        symbol: str = "",
        *,
        is_working_only: bool = False,
    ) -> Iterator[OrderRecord]:
        """Yield the orders whose first event lies above `first_sequence`, in that order."""
        if is_working_only:
            found: Iterator[OrderRecord] = (self._orders[key] for key in self._working)
        else:
            index = self._by_execution.get(execution_id, _Index()) if execution_id else self._all
            start = bisect_right(index.sequences, first_sequence)
            found = (self._orders[index.orders[place]] for place in range(start, len(index.orders)))
        for record in found:
            if (
                record.first_sequence > first_sequence
                and (not account or record.account == account)
                and (not execution_id or record.execution_id == execution_id)
                and (not symbol or record.terms.symbol == symbol)
            ):
                yield record

    def fills_after(self, sequence: int, account: str = "", execution_id: str = "") -> Iterator[BookedFill]:
        """Yield the fills that stand whose event lies above `sequence`, oldest first."""
        fills: Sequence[BookedFill] = self._fill_order
        if execution_id:
            fills = self._fills_by_execution.get(execution_id, [])
        start = bisect_right(fills, sequence, key=lambda booked: booked.sequence)
        for booked in islice(fills, start, None):
            if not booked.is_busted and (not account or booked.fill.account == account):
                yield booked


class Draft:
    """Events on top of a book, decided and not committed."""

    def __init__(self, book: OrderBook) -> None:
        self._book = book
        self._orders: dict[OrderKey, OrderRecord] = {}
        self._fills: dict[FillKey, BookedFill] = {}
        self.events: list[OrderEvent] = []
        self.records: list[OrderRecord] = []

    def order(self, key: OrderKey) -> OrderRecord | None:
        """Return the order with the draft's events, or None."""
        return self._orders.get(key) or self._book.order(key)

    def fill(self, key: FillKey) -> BookedFill | None:
        """Return the fill with the draft's events, or None."""
        return self._fills.get(key) or self._book.fill(key)

    def add(self, event: OrderEvent) -> OrderRecord:
        """Put one more event on top and return the order after it."""
        key = event.key
        sequence = self._book.last_sequence + len(self.events) + 1
        record = apply(self.order(key), event, sequence)
        self._orders[key] = record
        self.events.append(event)
        self.records.append(record)
        if event.fill is not None:
            now = event.corrected_fill or event.fill
            self._fills[fill_key(event.fill)] = BookedFill(sequence, now, event.kind is EventKind.BUSTED)
        return record

    def commit(self) -> None:
        """Enter the events, which are committed now, into the book."""
        first = self._book.last_sequence + 1
        for sequence, (event, record) in enumerate(zip(self.events, self.records, strict=True), first):
            self._book.settle(event, record, sequence)
