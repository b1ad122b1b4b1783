"""All orders and fills of the journal, found by id, in the order of their first event, and by parent.

The book is what `apply` makes of the events; it holds nothing that is not in them. A `Draft` over it
takes events that are not committed yet, so that a whole group can be decided before it is written, and
dropped when it cannot be.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from servers.model.order import Fill
from servers.orders.domain import EventKind, FillKey, OrderEvent, OrderKey, OrderRecord, apply, fill_key


class BookedFill(NamedTuple):
    """A fill as it is now. `sequence` is that of its first event; a busted one is kept and left out.

    `as_booked` is the fill of that first event: under its key the fill is found.
    """

    sequence: int
    as_booked: Fill
    fill: Fill
    is_busted: bool = False


@dataclass(slots=True)
class Changes:
    """Numbers of the parts of PART_ROWS orders and fills, in the book's order, that changed."""

    orders: set[int] = field(default_factory=set)
    fills: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Index:
    # Keys in the order of their sequences, both ascending.
    sequences: list[int] = field(default_factory=list)
    orders: list[OrderKey] = field(default_factory=list)

    def add(self, sequence: int, key: OrderKey) -> None:
        self.sequences.append(sequence)
        self.orders.append(key)


PART_ROWS = 256
"""Orders, and fills, of which a snapshot writes all when one of them changed."""

_sequence_of = itemgetter(0)


class OrderBook:
    """The committed state."""

    def __init__(self) -> None:
        self.last_sequence = 0
        self.venue_report_sequence = 0
        self.changes = Changes()
        self._begun = 0
        self._settled = 0
        self._orders: dict[OrderKey, OrderRecord] = {}
        self._working: dict[OrderKey, None] = {}
        # In the order of their first event, with its sequences: both ascend.
        self._starts: list[int] = []
        self._records: list[OrderRecord] = []
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

    @property
    def is_whole(self) -> bool:
        """Whether no event broke off while it was entered."""
        return self._begun == self._settled

    @property
    def fill_count(self) -> int:
        return len(self._fill_order)

    def orders_of(self, part: int) -> list[OrderRecord]:
        """Return the orders of a part, in the order of their first event."""
        start = part * PART_ROWS
        return self._records[start : start + PART_ROWS]

    def fills_of(self, part: int) -> list[BookedFill]:
        """Return the fills of a part, oldest first, busted ones too."""
        start = part * PART_ROWS
        return self._fill_order[start : start + PART_ROWS]

    def take(self, event: OrderEvent, sequence: int) -> OrderRecord:
        """Apply a committed event and return the order after it."""
        record = apply(self._orders.get(event.key), event, sequence)
        self.settle(event, record, sequence)
        return record

    def settle(self, event: OrderEvent, record: OrderRecord, sequence: int) -> None:
        """Enter what `apply` made of a committed event."""
        self._begun += 1
        key = record.key
        self._orders[key] = record
        self.last_sequence = sequence
        self.venue_report_sequence = max(self.venue_report_sequence, event.venue_report_sequence)
        if record.first_sequence == sequence:
            place = len(self._records)
            self._index(record)
        else:
            place = bisect_left(self._starts, record.first_sequence)
            self._records[place] = record
        self.changes.orders.add(place // PART_ROWS)
        if record.is_final:
            self._working.pop(key, None)
        elif record.first_sequence == sequence:
            self._working[key] = None
        if event.fill is not None:
            self._settle_fill(event, event.fill, sequence)
        self._settled += 1

    def restore(
        self,
        last_sequence: int,
        venue_report_sequence: int,
        records: Sequence[OrderRecord],
        fills: Sequence[BookedFill],
    ) -> None:
        """Fill an empty book with what it held at `last_sequence`, in its order."""
        self.last_sequence = last_sequence
        self.venue_report_sequence = venue_report_sequence
        for record in records:
            self._orders[record.key] = record
            self._index(record)
            if not record.is_final:
                self._working[record.key] = None
        for booked in fills:
            self._index_fill(booked)

    def _index(self, record: OrderRecord) -> None:
        self._starts.append(record.first_sequence)
        self._records.append(record)
        if record.execution_id:
            index = self._by_execution.setdefault(record.execution_id, _Index())
            index.add(record.first_sequence, record.key)

    def _index_fill(self, booked: BookedFill) -> None:
        first = booked.as_booked
        self._fills[fill_key(first)] = booked
        self._fill_order.append(booked)
        if first.execution_id:
            self._fills_by_execution.setdefault(first.execution_id, []).append(booked)

    def _settle_fill(self, event: OrderEvent, fill: Fill, sequence: int) -> None:
        if event.kind is EventKind.FILLED:
            place = len(self._fill_order)
            self._index_fill(BookedFill(sequence, fill, fill))
        else:
            booked = self._fills[fill_key(fill)]
            if event.kind is EventKind.BUSTED:
                now = booked._replace(is_busted=True)
            else:
                now = booked._replace(fill=event.corrected_fill or booked.fill)
            place = _put(self._fill_order, now)
            self._fills[fill_key(now.as_booked)] = now
            if now.as_booked.execution_id:
                _put(self._fills_by_execution[now.as_booked.execution_id], now)
        self.changes.fills.add(place // PART_ROWS)

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
        elif not execution_id:
            start = bisect_right(self._starts, first_sequence)
            found = (self._records[place] for place in range(start, len(self._records)))
        else:
            index = self._by_execution.get(execution_id, _Index())
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
        start = bisect_right(fills, sequence, key=_sequence_of)
        for booked in islice(fills, start, None):
            if not booked.is_busted and (not account or booked.fill.account == account):
                yield booked


def _put(fills: list[BookedFill], booked: BookedFill) -> int:
    """Put a fill in the place of what it was before, and return the place."""
    place = bisect_left(fills, booked.sequence, key=_sequence_of)
    fills[place] = booked
    return place


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
            is_busted = event.kind is EventKind.BUSTED
            self._fills[fill_key(event.fill)] = BookedFill(sequence, event.fill, now, is_busted)
        return record

    def commit(self) -> None:
        """Enter the events, which are committed now, into the book."""
        first = self._book.last_sequence + 1
        for sequence, (event, record) in enumerate(zip(self.events, self.records, strict=True), first):
            self._book.settle(event, record, sequence)
