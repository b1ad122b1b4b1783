"""What a command or a venue's report does to an order: pure, from what is known to the event that follows.

A decision raises the refusal that the caller gets, or returns events; none of them changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

from servers.model.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from servers.model.order import OrderTerms, Rejection
from servers.orders.book import BookedFill
from servers.orders.domain import EventKind, FillKey, NewOrder, OrderEvent, OrderKey, OrderRecord, fill_key
from servers.orders.ports import Report, ReportKind

KILL_SWITCH = "KILL_SWITCH"
"""Why an order was cancelled that its author did not cancel; also how such request ids begin."""


class Cancel(NamedTuple):
    """A request to take an order out."""

    account: str
    client_order_id: str
    request_id: str
    reason: str = "REQUESTED"

    @property
    def key(self) -> OrderKey:
        return self.account, self.client_order_id

    def content_hash(self) -> bytes:
        """Return the hash that tells a repeat from another request under the same id."""
        return _hash("cancel", self.client_order_id)


class Replace(NamedTuple):
    """A request for other terms; 0 keeps what is."""

    account: str
    client_order_id: str
    request_id: str
    quantity_nanos: int = 0
    limit_price_nanos: int = 0
    display_quantity_nanos: int = 0

    @property
    def key(self) -> OrderKey:
        return self.account, self.client_order_id

    def content_hash(self) -> bytes:
        """Return the hash that tells a repeat from another request under the same id."""
        return _hash(
            "replace",
            self.client_order_id,
            self.quantity_nanos,
            self.limit_price_nanos,
            self.display_quantity_nanos,
        )


def _hash(*values: object) -> bytes:
    return sha256("\n".join(map(str, values)).encode()).digest()


def reused(request_id: str) -> AlreadyExists:
    """Return the refusal of an id that was used with other content."""
    return AlreadyExists("REQUEST_ID_REUSED", request_id=request_id)


def repeated(record: OrderRecord, order: NewOrder) -> OrderRecord:
    """Return the first answer to a submission that comes again; raises AlreadyExists for other content."""
    if not record.has_content_of(order):
        raise reused(order.client_order_id)
    return record.as_first_answered()


def accept(order: NewOrder, rejection: Rejection | None, now_nanos: int) -> OrderEvent:
    """Return the first event of an order that risk approved, or did not."""
    kind = EventKind.ACCEPTED if rejection is None else EventKind.REJECTED
    return OrderEvent(kind, *order.key, now_nanos, order=order, rejection=rejection)


def request_cancel(record: OrderRecord | None, cancel: Cancel, now_nanos: int) -> OrderEvent:
    """Return the event that asks the venue for a cancel. It is allowed during a replace."""
    record = _open(record, cancel.key)
    if record.cancel_request_id:
        raise FailedPrecondition(
            "ORDER_PENDING", "a cancel is on its way", pending_request_id=record.cancel_request_id
        )
    return OrderEvent(
        EventKind.CANCEL_REQUESTED,
        *cancel.key,
        now_nanos,
        request_id=cancel.request_id,
        reason=cancel.reason,
    )


def replaced_terms(record: OrderRecord | None, replace: Replace) -> OrderTerms:
    """Return the terms that a replace asks for; raises when it cannot be asked for now."""
    record = _open(record, replace.key)
    pending = record.cancel_request_id or record.replace_request_id
    if pending:
        raise FailedPrecondition("ORDER_PENDING", pending_request_id=pending)
    terms = record.terms
    new = OrderTerms(
        terms.symbol,
        terms.side,
        terms.order_type,
        terms.time_in_force,
        replace.quantity_nanos or terms.quantity_nanos,
        replace.limit_price_nanos or terms.limit_price_nanos,
        replace.display_quantity_nanos or terms.display_quantity_nanos,
        terms.is_post_only,
        terms.expire_time_nanos,
    )
    new.validate()
    if new == terms:
        raise InvalidInput("FIELD_INVALID", "the replace changes nothing", field="quantity_nanos")
    if new.quantity_nanos <= record.filled_quantity_nanos:
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE",
            "the new quantity has to be above what is filled",
            field="quantity_nanos",
            value=new.quantity_nanos,
            filled=record.filled_quantity_nanos,
        )
    return new


def request_replace(
    replace: Replace, terms: OrderTerms, rejection: Rejection | None, now_nanos: int
) -> OrderEvent:
    """Return the event that asks the venue for other terms, or says that risk refused them."""
    kind = EventKind.REPLACE_REQUESTED if rejection is None else EventKind.REPLACE_REJECTED
    return OrderEvent(
        kind, *replace.key, now_nanos, terms=terms, rejection=rejection, request_id=replace.request_id
    )


def _open(record: OrderRecord | None, key: OrderKey) -> OrderRecord:
    if record is None:
        raise NotFound("ORDER_NOT_FOUND", account=key[0], client_order_id=key[1])
    if record.is_final:
        raise FailedPrecondition("ORDER_FINAL", state=record.state.name)
    return record


def from_report(
    record: OrderRecord, report: Report, fills: Callable[[FillKey], BookedFill | None], now_nanos: int
) -> OrderEvent | None:
    """Return what a venue's report means for an order; None when that is known already.

    `fills` returns what is booked under a key. A report is taken in once, by its sequence; the checks
    here hold also when a venue says the same thing under another one.
    """
    kind = _EVENT_OF[report.kind]
    fill, corrected_fill, terms, reason = report.fill, None, None, report.reason
    if kind is EventKind.CONFIRMED:
        if record.is_confirmed and not (record.is_unknown or record.is_done_for_day):
            return None
    elif kind in _CHANGES_OF_FILLS:
        if fill is None:
            return None
        booked = fills(fill_key(fill))
        if kind is EventKind.FILLED:
            if booked is not None:
                return None
        else:
            if booked is None or booked.is_busted:
                return None
            # What is undone is what we booked, so that it comes out exactly.
            fill = booked.fill
            if kind is EventKind.CORRECTED:
                if report.corrected_fill is None:
                    return None
                # A fill keeps for life the id that it was booked under; everyone behind finds it by that.
                corrected_fill = replace(
                    report.corrected_fill,
                    venue=fill.venue,
                    account=fill.account,
                    venue_execution_id=fill.venue_execution_id,
                )
                if corrected_fill == fill:
                    return None
    elif record.is_final:
        return None
    elif kind is EventKind.REPLACED:
        if report.terms is None:
            return None
        terms = report.terms
    elif kind is EventKind.CANCELLED and record.cancel_request_id.startswith(KILL_SWITCH):
        reason = KILL_SWITCH
    return OrderEvent(
        kind,
        *record.key,
        now_nanos,
        fill=fill,
        corrected_fill=corrected_fill,
        terms=terms,
        leaves_quantity_nanos=report.leaves_quantity_nanos,
        rejection=report.rejection,
        reason=reason,
        request_id=report.request_id,
        venue_order_id=report.venue_order_id,
        venue_report_sequence=report.sequence,
        event_time_nanos=report.event_time_nanos,
    )


_CHANGES_OF_FILLS = frozenset({EventKind.FILLED, EventKind.BUSTED, EventKind.CORRECTED})

_EVENT_OF = {
    ReportKind.ACCEPTED: EventKind.CONFIRMED,
    ReportKind.REJECTED: EventKind.REJECTED,
    ReportKind.FILL: EventKind.FILLED,
    ReportKind.CANCELLED: EventKind.CANCELLED,
    ReportKind.REPLACED: EventKind.REPLACED,
    ReportKind.CANCEL_REJECTED: EventKind.CANCEL_REJECTED,
    ReportKind.REPLACE_REJECTED: EventKind.REPLACE_REJECTED,
    ReportKind.EXPIRED: EventKind.EXPIRED,
    ReportKind.DONE_FOR_DAY: EventKind.DONE_FOR_DAY,
    ReportKind.BUSTED: EventKind.BUSTED,
    ReportKind.CORRECTED: EventKind.CORRECTED,
}
