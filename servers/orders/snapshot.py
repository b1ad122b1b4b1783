"""The book as rows and back: a short cut for a restart, which may be thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from servers.journal.parts import Image, Kept, SnapshotBroken
from servers.model.nanos import Money
from servers.model.order import (
    Fill,
    Liquidity,
    OrderState,
    OrderTerms,
    OrderType,
    Rejection,
    Side,
    TimeInForce,
)
from servers.orders.book import BookedFill, Changes, OrderBook
from servers.orders.domain import OrderRecord, fill_key

NAME = "book"
VERSION = 1

_SIDES = {int(one): one for one in Side}
_TYPES = {int(one): one for one in OrderType}
_TIMES_IN_FORCE = {int(one): one for one in TimeInForce}
_LIQUIDITIES = {int(one): one for one in Liquidity}
_STATES = {int(one): one for one in OrderState}


class BookState:
    """The book as what a snapshot is made of."""

    def __init__(self, book: OrderBook) -> None:
        self._book = book

    @property
    def sequence(self) -> int:
        """The sequence of the last event in the book; 0, which is never saved, when one broke off in it."""
        return self._book.last_sequence if self._book.is_whole else 0

    def capture(self) -> Image:
        """Return the book with the parts that changed since the last call."""
        book = self._book
        changes, book.changes = book.changes, Changes()
        parts: dict[tuple[str, int], Any] = {
            ("orders", part): partial(_order_rows, book.orders_of(part)) for part in sorted(changes.orders)
        }
        parts.update(
            (("fills", part), partial(_fill_rows, book.fills_of(part))) for part in sorted(changes.fills)
        )
        facts = {"venue_reports": book.venue_report_sequence, "working": book.working_count}
        counts = {"orders": book.order_count, "fills": book.fill_count}
        return Image(book.last_sequence, facts, counts, parts, changes)

    def give_back(self, image: Image) -> None:
        """Count as changed again what was not saved."""
        self._book.changes.orders |= image.changes.orders
        self._book.changes.fills |= image.changes.fills

    def restore(self, kept: Kept) -> None:
        """Fill the book, which is empty. Raises SnapshotBroken, and then leaves it empty."""
        try:
            records = [_record(row) for row in kept.rows["orders"]]
            fills = [_booked(row) for row in kept.rows["fills"]]
            working, reports = kept.facts["working"], kept.facts["venue_reports"]
            _check(kept.sequence, working, records, fills)
        except (LookupError, ValueError, TypeError) as error:
            raise SnapshotBroken(f"a row cannot be read: {error!r}") from error
        self._book.restore(kept.sequence, reports, records, fills)


def _check(sequence: int, working: int, records: Sequence[OrderRecord], fills: Sequence[BookedFill]) -> None:
    starts = [record.first_sequence for record in records]
    books = [booked.sequence for booked in fills]
    newest = max([*books[-1:], *(record.last_sequence for record in records)], default=0)
    if not (
        newest == sequence
        and _ascend(starts)
        and _ascend(books)
        and len({record.key for record in records}) == len(records)
        and len({fill_key(booked.as_booked) for booked in fills}) == len(fills)
        and sum(not record.is_final for record in records) == working
    ):
        raise SnapshotBroken("its rows do not fit together")


def _ascend(numbers: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(numbers))


# -- Rows ------------------------------------------------------------------------------------------


def _order_rows(records: Sequence[OrderRecord]) -> list[Any]:
    return [_order_row(record) for record in records]


def _order_row(record: OrderRecord) -> list[Any]:
    row: list[Any] = list(record)
    row[2] = _terms_row(record.terms)
    row[3] = None if record.first_terms == record.terms else _terms_row(record.first_terms)
    row[14] = None if record.rejection is None else _rejection_row(record.rejection)
    row[20] = None if record.requested_terms is None else _terms_row(record.requested_terms)
    return row


def _record(row: list[Any]) -> OrderRecord:
    row[2] = terms = _terms(row[2])
    row[3] = terms if row[3] is None else _terms(row[3])
    row[13] = None if row[13] is None else _STATES[row[13]]
    row[14] = None if row[14] is None else Rejection(*row[14])
    row[20] = None if row[20] is None else _terms(row[20])
    return OrderRecord(*row)


def _terms_row(terms: OrderTerms) -> list[Any]:
    return [
        terms.symbol,
        terms.side,
        terms.order_type,
        terms.time_in_force,
        terms.quantity_nanos,
        terms.limit_price_nanos,
        terms.display_quantity_nanos,
        terms.is_post_only,
        terms.expire_time_nanos,
    ]


def _terms(row: list[Any]) -> OrderTerms:
    symbol, side, order_type, time_in_force, *rest = row
    return OrderTerms(symbol, _SIDES[side], _TYPES[order_type], _TIMES_IN_FORCE[time_in_force], *rest)


def _rejection_row(rejection: Rejection) -> list[str]:
    return [rejection.reason, rejection.message, rejection.limit, rejection.value, rejection.bound]


def _fill_rows(fills: Sequence[BookedFill]) -> list[Any]:
    return [
        [
            booked.sequence,
            booked.is_busted,
            _fill_row(booked.as_booked),
            None if booked.fill is booked.as_booked else _fill_row(booked.fill),
        ]
        for booked in fills
    ]


def _booked(row: list[Any]) -> BookedFill:
    sequence, is_busted, first, now = row
    as_booked = _fill(first)
    return BookedFill(sequence, as_booked, as_booked if now is None else _fill(now), is_busted)


def _fill_row(fill: Fill) -> list[Any]:
    return [
        fill.venue,
        fill.venue_execution_id,
        fill.account,
        fill.client_order_id,
        fill.execution_id,
        fill.symbol,
        fill.side,
        fill.quantity_nanos,
        fill.price_nanos,
        fill.fee.currency_code,
        fill.fee.attos,
        fill.liquidity,
        fill.event_time_nanos,
    ]


def _fill(row: list[Any]) -> Fill:
    row[9:11] = [Money(*row[9:11])]
    row[6], row[10] = _SIDES[row[6]], _LIQUIDITIES[row[10]]
    return Fill(*row)
