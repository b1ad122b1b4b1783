"""Order events, records and requests as protobuf and back."""

from __future__ import annotations

from collections.abc import Sequence

from tapeline.exchange.v1 import exchange_service_pb2, report_pb2
from tapeline.orders.v1 import order_event_pb2, orders_service_pb2
from tapeline.risk.v1 import risk_service_pb2
from tapeline.trading.v1 import order_pb2

from servers.model.errors import InvalidInput
from servers.model.order import (
    CLIENT_ORDER_ID,
    OrderState,
    check_account,
    check_client_order_id,
    check_range,
    check_request_id,
)
from servers.orders.decisions import Cancel, Replace
from servers.orders.domain import EventKind, NewOrder, OrderEvent, OrderRecord
from servers.orders.ports import Answer, OrderCheck, Report, ReportKind, VenueOrder
from servers.runtime.tracing import is_traceparent
from servers.wire.money import nanos_from_timestamp, timestamp_from_nanos
from servers.wire.trading import (
    fill_from_wire,
    fill_to_wire,
    rejection_from_wire,
    rejection_to_wire,
    terms_from_wire,
    terms_to_wire,
)

MAX_BASKET = 256

# -- Requests --------------------------------------------------------------------------------------


def new_order_from_wire(message: orders_service_pb2.NewOrder, traceparent: str) -> NewOrder:
    """Return a validated order; `traceparent` is that of the call, for an order that brings none."""
    client_order_id = check_client_order_id(message.client_order_id)
    account = check_account(message.account)
    if not message.HasField("terms"):
        raise InvalidInput("FIELD_MISSING", "terms are missing", field="terms")
    execution_id = message.execution_id
    if execution_id:
        _check_execution_id(execution_id)
    return NewOrder(
        account,
        client_order_id,
        terms_from_wire(message.terms),
        execution_id,
        _traceparent(message.traceparent) or traceparent,
    )


def basket_from_wire(request: orders_service_pb2.SubmitOrdersRequest, traceparent: str) -> list[NewOrder]:
    """Return 1 to 256 validated orders; raises InvalidInput that names the row."""
    check_range("orders", len(request.orders), 1, MAX_BASKET)
    orders: list[NewOrder] = []
    for row, message in enumerate(request.orders):
        try:
            orders.append(new_order_from_wire(message, traceparent))
        except InvalidInput as error:
            raise InvalidInput(
                error.reason, f"orders[{row}]: {error.message}", **{**error.metadata, "row": row}
            ) from error
    return orders


def cancel_from_wire(request: orders_service_pb2.CancelOrderRequest) -> Cancel:
    """Return a validated cancel."""
    return Cancel(
        check_account(request.account),
        check_client_order_id(request.client_order_id),
        check_request_id(request.request_id),
    )


def replace_from_wire(request: orders_service_pb2.ReplaceOrderRequest) -> Replace:
    """Return a replace whose fields are in range."""
    most = 2**63 - 1
    return Replace(
        check_account(request.account),
        check_client_order_id(request.client_order_id),
        check_request_id(request.request_id),
        check_range("quantity_nanos", request.quantity_nanos, 0, most),
        check_range("limit_price_nanos", request.limit_price_nanos, 0, most),
        check_range("display_quantity_nanos", request.display_quantity_nanos, 0, most),
    )


def _check_execution_id(value: str) -> None:
    if not CLIENT_ORDER_ID.fullmatch(value):
        raise InvalidInput(
            "FIELD_INVALID",
            f"execution_id {value[:80]!r}: takes 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.', ':'",
            field="execution_id",
        )


def _traceparent(value: str) -> str:
    if value and not is_traceparent(value):
        raise InvalidInput("FIELD_INVALID", "traceparent is not a W3C traceparent", field="traceparent")
    return value


# -- Orders and events -----------------------------------------------------------------------------


def record_to_wire(record: OrderRecord) -> order_pb2.Order:
    """Return the order as callers see it."""
    return order_pb2.Order(
        client_order_id=record.client_order_id,
        account=record.account,
        terms=terms_to_wire(record.terms),
        state=record.state,  # type: ignore[arg-type]  # the enum's numbers are the wire's
        filled_quantity_nanos=record.filled_quantity_nanos,
        leaves_quantity_nanos=record.leaves_quantity_nanos,
        average_price_nanos=record.average_price_nanos,
        execution_id=record.execution_id,
        venue_order_id=record.venue_order_id,
        rejection=rejection_to_wire(record.rejection) if record.rejection else None,
        create_time=timestamp_from_nanos(record.create_time_nanos),
        last_sequence=record.last_sequence,
        traceparent=record.traceparent,
    )


def record_from_wire(message: order_pb2.Order) -> OrderRecord:
    """Return an order as an answer showed it. It looks the same again and holds no more than that."""
    state = OrderState(message.state)
    terms = terms_from_wire(message.terms)
    return OrderRecord(
        message.account,
        message.client_order_id,
        terms,
        terms,
        message.execution_id,
        message.traceparent,
        nanos_from_timestamp(message.create_time),
        message.last_sequence,
        message.last_sequence,
        message.leaves_quantity_nanos,
        message.filled_quantity_nanos,
        message.average_price_nanos * message.filled_quantity_nanos,
        message.venue_order_id,
        state if state.is_final else None,
        rejection_from_wire(message.rejection) if message.HasField("rejection") else None,
        is_confirmed=state is not OrderState.PENDING_NEW,
        is_unknown=state is OrderState.UNKNOWN,
        is_done_for_day=state is OrderState.DONE_FOR_DAY,
        cancel_request_id="asked" if state is OrderState.PENDING_CANCEL else "",
        replace_request_id="asked" if state is OrderState.PENDING_REPLACE else "",
    )


def answer_to_bytes(answer: Answer) -> bytes:
    """Return the first answer to a cancel or a replace as it is kept."""
    return replace_response_to_wire(answer).SerializeToString()


def answer_from_bytes(kept: bytes) -> Answer:
    """Return a kept answer."""
    message = orders_service_pb2.ReplaceOrderResponse.FromString(kept)
    rejection = rejection_from_wire(message.rejection) if message.HasField("rejection") else None
    return Answer(record_from_wire(message.order), rejection)


def replace_response_to_wire(answer: Answer) -> orders_service_pb2.ReplaceOrderResponse:
    """Return the answer to a replace."""
    return orders_service_pb2.ReplaceOrderResponse(
        order=record_to_wire(answer.order),
        rejection=rejection_to_wire(answer.rejection) if answer.rejection else None,
    )


def event_to_wire(event: OrderEvent, record: OrderRecord) -> order_event_pb2.OrderEvent:
    """Return the event with the order after it. Its own sequence is the journal's to say."""
    is_replace = event.kind in (EventKind.REPLACE_REQUESTED, EventKind.REPLACE_REJECTED)
    is_first = event.order is not None
    return order_event_pb2.OrderEvent(
        kind=event.kind,  # type: ignore[arg-type]  # the enum's numbers are the wire's
        order=record_to_wire(record),
        fill=fill_to_wire(event.fill) if event.fill else None,
        corrected_fill=fill_to_wire(event.corrected_fill) if event.corrected_fill else None,
        requested_terms=terms_to_wire(event.terms) if is_replace and event.terms else None,
        rejection=rejection_to_wire(event.rejection) if event.rejection and not is_first else None,
        reason=event.reason,
        request_id=event.request_id,
        venue_report_sequence=event.venue_report_sequence,
        event_time_nanos=event.event_time_nanos,
        create_time=timestamp_from_nanos(event.create_time_nanos),
    )


def event_from_wire(message: order_event_pb2.OrderEvent) -> OrderEvent:
    """Return the fact that the journal kept; the order after it follows from the facts."""
    kind, order = EventKind(message.kind), message.order
    rejection = rejection_from_wire(message.rejection) if message.HasField("rejection") else None
    is_first = kind is EventKind.ACCEPTED or (
        kind is EventKind.REJECTED and not message.venue_report_sequence and rejection is None
    )
    new: NewOrder | None = None
    terms = None
    if is_first:
        new = NewOrder(
            order.account,
            order.client_order_id,
            terms_from_wire(order.terms),
            order.execution_id,
            order.traceparent,
        )
        rejection = rejection_from_wire(order.rejection) if order.HasField("rejection") else None
    elif kind is EventKind.REPLACED:
        terms = terms_from_wire(order.terms)
    elif message.HasField("requested_terms"):
        terms = terms_from_wire(message.requested_terms)
    return OrderEvent(
        kind,
        order.account,
        order.client_order_id,
        nanos_from_timestamp(message.create_time),
        order=new,
        fill=fill_from_wire(message.fill) if message.HasField("fill") else None,
        corrected_fill=fill_from_wire(message.corrected_fill) if message.HasField("corrected_fill") else None,
        terms=terms,
        leaves_quantity_nanos=order.leaves_quantity_nanos if kind is EventKind.REPLACED else 0,
        rejection=rejection,
        reason=message.reason,
        request_id=message.request_id,
        venue_order_id=order.venue_order_id,
        venue_report_sequence=message.venue_report_sequence,
        event_time_nanos=message.event_time_nanos,
    )


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def sequenced(payload: bytes, sequence: int) -> bytes:
    """Return a journalled OrderEvent with its sequence, as bytes.

    A field that follows an encoded message belongs to it (protobuf encoding, "last one wins"), so the
    stored bytes go out as they are: field 1, `sequence`, is put behind them.
    """
    return payload + b"\x08" + _varint(sequence)


def page_of_events(events: Sequence[bytes], sequence_reached: int) -> bytes:
    """Return the bytes of a StreamOrderEventsResponse over encoded events (fields 1 and 2)."""
    parts: list[bytes] = []
    for event in events:
        parts += (b"\x0a", _varint(len(event)), event)
    parts += (b"\x10", _varint(sequence_reached))
    return b"".join(parts)


# -- The peers -------------------------------------------------------------------------------------


def check_to_wire(check: OrderCheck) -> risk_service_pb2.OrderCheck:
    """Return the check for risk."""
    return risk_service_pb2.OrderCheck(
        account=check.account,
        client_order_id=check.client_order_id,
        terms=terms_to_wire(check.terms),
        execution_id=check.execution_id,
        replace_request_id=check.replace_request_id,
    )


def entry_to_wire(order: NewOrder) -> exchange_service_pb2.OrderEntry:
    """Return the order as the practice venue takes it."""
    return exchange_service_pb2.OrderEntry(
        account=order.account,
        client_order_id=order.client_order_id,
        execution_id=order.execution_id,
        terms=terms_to_wire(order.terms),
        traceparent=order.traceparent,
    )


def report_from_wire(message: report_pb2.ExecutionReport) -> Report:
    """Return a report that the venue vouches for."""
    kind = ReportKind(message.kind)
    return Report(
        message.sequence,
        kind,
        message.account,
        message.client_order_id,
        message.event_time_nanos,
        message.venue_order_id,
        terms_from_wire(message.terms) if kind is ReportKind.REPLACED else None,
        message.leaves_quantity_nanos,
        fill_from_wire(message.fill) if message.HasField("fill") else None,
        fill_from_wire(message.corrected_fill) if message.HasField("corrected_fill") else None,
        rejection_from_wire(message.rejection) if message.HasField("rejection") else None,
        message.reason,
        message.request_id,
    )


def venue_order_from_wire(message: order_pb2.Order) -> VenueOrder:
    """Return an order as the venue holds it."""
    return VenueOrder(OrderState(message.state), message.venue_order_id)
