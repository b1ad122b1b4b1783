"""What an order is, what can happen to it, and what it is afterwards.

`apply(record, event)` is the whole state machine. The journal keeps events; every state, here and after
a restart, is what `apply` makes of them. An order's state is not stored but follows from facts: whether
it ended, whether the venue knows it, what is asked of the venue and not answered yet, what is filled.
That is why a fill during a cancel, a refused cancel or a venue's own cancel need no rules of their own.

                  +-> REJECTED
    (submit) -> PENDING_NEW <-> UNKNOWN
                  |
                  v              request              the venue's answer
                 NEW ----------> PENDING_CANCEL  ---> CANCELLED, or back
                  |  ----------> PENDING_REPLACE ---> with other terms, or as it was
                  v
           PARTIALLY_FILLED ---> FILLED            (any working state) -> CANCELLED, EXPIRED, DONE_FOR_DAY
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeVar

from servers.model.nanos import divide_half_even
from servers.model.order import Fill, OrderState, OrderTerms, Rejection

Fact = TypeVar("Fact")

OrderKey = tuple[str, str]
"""Account and client order id."""

FillKey = tuple[str, str, str]
"""Venue, account and the venue's execution id: a fill is booked once under it."""


class EventKind(IntEnum):
    """The numbers are those of tapeline.orders.v1.OrderEventKind."""

    ACCEPTED = 1
    REJECTED = 2
    CONFIRMED = 3
    FILLED = 4
    CANCEL_REQUESTED = 5
    CANCELLED = 6
    CANCEL_REJECTED = 7
    REPLACE_REQUESTED = 8
    REPLACED = 9
    REPLACE_REJECTED = 10
    EXPIRED = 11
    DONE_FOR_DAY = 12
    UNKNOWN = 13
    BUSTED = 14
    CORRECTED = 15


class NewOrder(NamedTuple):
    """An order as its author writes it. `traceparent` is no part of its content."""

    account: str
    client_order_id: str
    terms: OrderTerms
    execution_id: str = ""
    traceparent: str = ""

    @property
    def key(self) -> OrderKey:
        return self.account, self.client_order_id


class OrderRecord(NamedTuple):
    """An order and what has become of it. Quantities in 1e-9 shares, notional in 1e-18 currency units."""

    account: str
    client_order_id: str
    terms: OrderTerms
    first_terms: OrderTerms
    execution_id: str
    traceparent: str
    create_time_nanos: int
    first_sequence: int
    last_sequence: int
    leaves_quantity_nanos: int
    filled_quantity_nanos: int = 0
    filled_notional_attos: int = 0
    venue_order_id: str = ""
    outcome: OrderState | None = None
    rejection: Rejection | None = None
    is_confirmed: bool = False
    is_unknown: bool = False
    is_done_for_day: bool = False
    cancel_request_id: str = ""
    replace_request_id: str = ""
    requested_terms: OrderTerms | None = None

    @property
    def key(self) -> OrderKey:
        return self.account, self.client_order_id

    @property
    def is_final(self) -> bool:
        return self.outcome is not None

    @property
    def state(self) -> OrderState:
        """Return where the order stands."""
        if self.outcome is not None:
            return self.outcome
        if self.is_unknown:
            return OrderState.UNKNOWN
        if self.cancel_request_id:
            return OrderState.PENDING_CANCEL
        if self.replace_request_id:
            return OrderState.PENDING_REPLACE
        if self.is_done_for_day:
            return OrderState.DONE_FOR_DAY
        if self.filled_quantity_nanos:
            return OrderState.PARTIALLY_FILLED
        return OrderState.NEW if self.is_confirmed else OrderState.PENDING_NEW

    @property
    def average_price_nanos(self) -> int:
        """Return the average fill price, rounded half to even; 0 when nothing is filled."""
        if not self.filled_quantity_nanos:
            return 0
        return divide_half_even(self.filled_notional_attos, self.filled_quantity_nanos)

    def as_first_answered(self) -> OrderRecord:
        """Return the order as its submission was answered, whatever came after."""
        if self.last_sequence == self.first_sequence:
            return self
        return OrderRecord(
            self.account,
            self.client_order_id,
            self.first_terms,
            self.first_terms,
            self.execution_id,
            self.traceparent,
            self.create_time_nanos,
            self.first_sequence,
            self.first_sequence,
            self.first_terms.quantity_nanos,
        )

    def has_content_of(self, order: NewOrder) -> bool:
        """Return whether `order`, under the same id, asks for what this one first asked for."""
        return self.first_terms == order.terms and self.execution_id == order.execution_id


class OrderEvent(NamedTuple):
    """One fact about one order. What a kind does not need stays empty.

    Args:
        order: the new order, for ACCEPTED and for a REJECTED that is its first event.
        terms: those asked for (REPLACE_REQUESTED) or in force now (REPLACED).
        leaves_quantity_nanos: what works under the new terms (REPLACED).
        reason: why it was cancelled.
    """

    kind: EventKind
    account: str
    client_order_id: str
    create_time_nanos: int
    order: NewOrder | None = None
    fill: Fill | None = None
    corrected_fill: Fill | None = None
    terms: OrderTerms | None = None
    leaves_quantity_nanos: int = 0
    rejection: Rejection | None = None
    reason: str = ""
    request_id: str = ""
    venue_order_id: str = ""
    venue_report_sequence: int = 0
    event_time_nanos: int = 0

    @property
    def key(self) -> OrderKey:
        return self.account, self.client_order_id


def fill_key(fill: Fill) -> FillKey:
    """Return what a fill is booked under."""
    return fill.venue, fill.account, fill.venue_execution_id


def apply(record: OrderRecord | None, event: OrderEvent, sequence: int) -> OrderRecord:
    """Return the order after `event`, which stands at `sequence` in the journal.

    `record` is None for an order's first event alone. Raises ValueError for an event that cannot follow:
    a journal that holds one was not written by these rules.
    """
    if record is None:
        return _first(event, sequence)
    if event.order is not None:
        raise ValueError(f"{event.key} was accepted before")
    return _AFTER[event.kind](record, event)._replace(last_sequence=sequence)


def _first(event: OrderEvent, sequence: int) -> OrderRecord:
    order = event.order
    if order is None:
        raise ValueError(f"{event.kind.name} of {event.key}, which was never accepted")
    is_rejected = event.kind is EventKind.REJECTED
    return OrderRecord(
        order.account,
        order.client_order_id,
        order.terms,
        order.terms,
        order.execution_id,
        order.traceparent,
        event.create_time_nanos,
        sequence,
        sequence,
        0 if is_rejected else order.terms.quantity_nanos,
        outcome=OrderState.REJECTED if is_rejected else None,
        rejection=event.rejection,
    )


def _stated(fact: Fact | None) -> Fact:
    if fact is None:
        raise ValueError("an event lacks what its kind is about")
    return fact


def _ended(record: OrderRecord, outcome: OrderState) -> OrderRecord:
    return record._replace(
        outcome=outcome,
        leaves_quantity_nanos=0,
        is_unknown=False,
        is_done_for_day=False,
        cancel_request_id="",
        replace_request_id="",
        requested_terms=None,
    )


def _rejected(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return _ended(record, OrderState.REJECTED)._replace(rejection=event.rejection)


def _confirmed(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return record._replace(
        is_confirmed=True, is_unknown=False, is_done_for_day=False, venue_order_id=event.venue_order_id
    )


def _filled(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    fill = _stated(event.fill)
    # A fill that comes late, after a cancel, is a fill all the same; one above the order's quantity too.
    leaves_nanos = max(0, record.leaves_quantity_nanos - fill.quantity_nanos)
    record = record._replace(
        filled_quantity_nanos=record.filled_quantity_nanos + fill.quantity_nanos,
        filled_notional_attos=record.filled_notional_attos + fill.notional_attos,
        leaves_quantity_nanos=leaves_nanos,
        is_confirmed=True,
        is_unknown=False,
        is_done_for_day=False,
        venue_order_id=event.venue_order_id or record.venue_order_id,
    )
    is_whole = record.filled_quantity_nanos >= record.terms.quantity_nanos
    works_no_more = record.outcome is None and leaves_nanos == 0
    return _ended(record, OrderState.FILLED) if is_whole or works_no_more else record


def _cancel_requested(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return record._replace(cancel_request_id=event.request_id)


def _cancelled(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return _ended(record, OrderState.CANCELLED)


def _cancel_rejected(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return record._replace(cancel_request_id="")


def _replace_requested(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return record._replace(replace_request_id=event.request_id, requested_terms=event.terms)


def _replaced(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    record = record._replace(
        terms=_stated(event.terms),
        leaves_quantity_nanos=event.leaves_quantity_nanos,
        replace_request_id="",
        requested_terms=None,
    )
    return _ended(record, OrderState.FILLED) if event.leaves_quantity_nanos == 0 else record


def _replace_rejected(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return record._replace(replace_request_id="", requested_terms=None)


def _expired(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return _ended(record, OrderState.EXPIRED)


def _done_for_day(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return record._replace(is_done_for_day=True)


def _unknown(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    return record._replace(is_unknown=True)


def _busted(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    # What was busted does not work again: leaves stay, and an order that ended stays ended.
    fill = _stated(event.fill)
    return record._replace(
        filled_quantity_nanos=record.filled_quantity_nanos - fill.quantity_nanos,
        filled_notional_attos=record.filled_notional_attos - fill.notional_attos,
    )


def _corrected(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    was, now = _stated(event.fill), _stated(event.corrected_fill)
    return record._replace(
        filled_quantity_nanos=record.filled_quantity_nanos + now.quantity_nanos - was.quantity_nanos,
        filled_notional_attos=record.filled_notional_attos + now.notional_attos - was.notional_attos,
    )


_AFTER = {
    EventKind.REJECTED: _rejected,
    EventKind.CONFIRMED: _confirmed,
    EventKind.FILLED: _filled,
    EventKind.CANCEL_REQUESTED: _cancel_requested,
    EventKind.CANCELLED: _cancelled,
    EventKind.CANCEL_REJECTED: _cancel_rejected,
    EventKind.REPLACE_REQUESTED: _replace_requested,
    EventKind.REPLACED: _replaced,
    EventKind.REPLACE_REJECTED: _replace_rejected,
    EventKind.EXPIRED: _expired,
    EventKind.DONE_FOR_DAY: _done_for_day,
    EventKind.UNKNOWN: _unknown,
    EventKind.BUSTED: _busted,
    EventKind.CORRECTED: _corrected,
}
