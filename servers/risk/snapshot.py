"""The books as bytes and back: a short cut for a restart, which may be thrown away."""

from __future__ import annotations

import json
from typing import Any

from servers.model.order import OrderTerms, OrderType, Side, TimeInForce
from servers.risk.books import Books
from servers.risk.domain.exposure import AccountBook, OpenOrder, PastFill, PendingReplace

VERSION = 2
_EXPOSURE_NUMBERS = (
    "position_nanos",
    "cash_attos",
    "base_position_nanos",
    "base_price_nanos",
    "last_price_nanos",
)


def books_to_bytes(books: Books) -> bytes:
    """Return everything that the streams gave, with the sequences that it reflects."""
    return json.dumps(
        {
            "version": VERSION,
            "orders": books.orders_sequence,
            "executions": books.executions_sequence,
            "adjustments": books.adjustments_sequence,
            "renames": books.renames,
            "splits": books.splits,
            "unbased": sorted(books.unbased),
            "accounts": {name: _account(book) for name, book in books.accounts.items()},
        },
        separators=(",", ":"),
    ).encode()


def _account(book: AccountBook) -> dict[str, Any]:
    return {
        "symbols": {
            symbol: [
                *(getattr(exposure, name) for name in _EXPOSURE_NUMBERS),
                exposure.session,
                exposure.past_fills,
                exposure.splits,
            ]
            for symbol, exposure in book.symbols.items()
        },
        "orders": [_order(order) for order in book.orders.values()],
        "parents": [
            [
                parent.execution_id,
                parent.symbol,
                parent.side,
                parent.quantity_nanos,
                parent.filled_nanos,
                parent.is_running,
                parent.is_final,
                parent.checked_at_nanos,
            ]
            for parent in book.parents.values()
        ],
    }


def _order(order: OpenOrder) -> list[Any]:
    terms = order.terms
    return [
        order.order_id,
        [
            terms.symbol,
            terms.side,
            terms.order_type,
            terms.time_in_force,
            terms.quantity_nanos,
            terms.limit_price_nanos,
        ],
        order.leaves_nanos,
        order.execution_id,
        order.checked_at_nanos,
        [
            [request_id, one.leaves_nanos, one.limit_price_nanos, one.checked_at_nanos]
            for request_id, one in order.replaces.items()
        ],
    ]


def restore_books(books: Books, payload: bytes) -> bool:
    """Fill empty books from a snapshot; False, and nothing changed, when it is of another version."""
    state = json.loads(payload)
    if state.get("version") != VERSION:
        return False
    books.orders_sequence = state["orders"]
    books.executions_sequence = state["executions"]
    books.adjustments_sequence = state["adjustments"]
    books.renames = [(at, old, new) for at, old, new in state["renames"]]
    books.splits = [
        (at, symbol, numerator, denominator) for at, symbol, numerator, denominator in state["splits"]
    ]
    books.unbased = {(account, symbol) for account, symbol in state["unbased"]}
    for name, saved in state["accounts"].items():
        _restore_account(books, books.account(name), saved)
    return True


def _restore_account(books: Books, book: AccountBook, saved: dict[str, Any]) -> None:
    for symbol, values in saved["symbols"].items():
        exposure = book.symbol(symbol)
        *numbers, exposure.session, past_fills, splits = values
        for name, number in zip(_EXPOSURE_NUMBERS, numbers, strict=True):
            setattr(exposure, name, number)
        exposure.past_fills = [PastFill(*past) for past in past_fills]
        exposure.splits = [(at, numerator, denominator) for at, numerator, denominator in splits]
    for values in saved["parents"]:
        execution_id, symbol, side, quantity, filled, is_running, is_final, checked_at = values
        parent = book.parent(execution_id)
        parent.filled_nanos, parent.is_final = filled, is_final
        parent.symbol, parent.side, parent.quantity_nanos = symbol, Side(side), quantity
        if is_running:
            book.run_parent(execution_id, symbol, Side(side), quantity, checked_at)
            if checked_at:
                books.unseen_parents[book.account, execution_id] = parent
        elif is_final:
            books.remember_finished((book.account, execution_id))
    for order_id, terms, leaves, execution_id, checked_at, replaces in saved["orders"]:
        symbol, side, order_type, time_in_force, quantity, price = terms
        order = OpenOrder(
            order_id,
            OrderTerms(
                symbol, Side(side), OrderType(order_type), TimeInForce(time_in_force), quantity, price
            ),
            leaves,
            execution_id,
            checked_at,
        )
        for request_id, *figures in replaces:
            books.add_replace(book.account, order, request_id, PendingReplace(*figures))
        book.add_order(order)
        if checked_at:
            books.unseen_orders[book.account, order_id] = order
