"""Events to protobuf and back, and the bytes that streams send."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tapeline.exchange.v1 import report_pb2
from tapeline.orders.v1 import order_event_pb2
from tapeline.orders.v1 import orders_service_pb2 as pb
from tapeline.trading.v1 import order_pb2, side_pb2

from servers.model.errors import InvalidInput
from servers.model.nanos import NANO, Money
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
from servers.orders import wire
from servers.orders.domain import EventKind, NewOrder, OrderEvent, OrderRecord, apply
from servers.orders.ports import Answer, ReportKind
from servers.wire.trading import fill_to_wire, terms_to_wire

int64 = st.integers(1, 2**63 - 1)
word = st.text("ABCXYZ019", min_size=1, max_size=12)
terms = st.builds(
    lambda symbol, side, quantity, price: OrderTerms(
        symbol, side, OrderType.LIMIT, TimeInForce.DAY, quantity, price
    ),
    word,
    st.sampled_from(Side),
    st.integers(10**6, 2**63 - 1),
    int64,
)
orders = st.builds(NewOrder, word, word, terms, st.one_of(st.just(""), word), st.just(""))
rejections = st.builds(Rejection, word, word, word, word, word)
fills = st.builds(
    Fill, word, word, word, word, word, word, st.sampled_from(Side), int64, int64,
    st.builds(Money, st.just("USD"), st.integers(-(10**15), 10**15).map(lambda nanos: nanos * NANO)),
    st.sampled_from(Liquidity), int64,
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[OrderEvent]:
    """Draw an order's life as a venue and its author could make it."""
    order = draw(orders)

    def event(kind: EventKind, **facts: object) -> OrderEvent:
        return OrderEvent(kind, *order.key, draw(int64))._replace(**facts)  # type: ignore[arg-type]

    if draw(st.booleans()):
        return [event(EventKind.REJECTED, order=order, rejection=draw(rejections))]
    new_terms = changed(order.terms, quantity_nanos=draw(st.integers(1, 2**63 - 1)))
    fill = draw(fills)
    from_venue = {"venue_order_id": draw(word), "venue_report_sequence": draw(int64), "event_time_nanos": 9}
    events = [event(EventKind.ACCEPTED, order=order), event(EventKind.CONFIRMED, **from_venue)]
    middle = [
        event(EventKind.UNKNOWN),
        event(EventKind.CANCEL_REQUESTED, request_id=draw(word), reason="REQUESTED"),
        event(EventKind.CANCEL_REJECTED, request_id=draw(word), rejection=draw(rejections), **from_venue),
        event(EventKind.REPLACE_REQUESTED, request_id=draw(word), terms=new_terms),
        event(EventKind.REPLACE_REJECTED, request_id=draw(word), rejection=draw(rejections), terms=new_terms),
        event(EventKind.DONE_FOR_DAY, **from_venue),
        event(EventKind.FILLED, fill=fill, **from_venue),
        event(EventKind.BUSTED, fill=fill, **from_venue),
        event(EventKind.CORRECTED, fill=fill, corrected_fill=draw(fills), **from_venue),
        event(EventKind.REPLACED, terms=new_terms, leaves_quantity_nanos=draw(int64), **from_venue),
    ]
    events += [draw(st.sampled_from(middle)) for _ in range(draw(st.integers(0, 6)))]
    ends = [
        event(EventKind.CANCELLED, reason="VENUE_RESTARTED", **from_venue),
        event(EventKind.EXPIRED, **from_venue),
        event(EventKind.REJECTED, rejection=draw(rejections), **from_venue),
        event(EventKind.REJECTED, rejection=draw(rejections)),
    ]
    return [*events, draw(st.sampled_from(ends))]


@given(histories())
def test_the_journalled_bytes_give_the_same_orders_again(events: list[OrderEvent]) -> None:
    record: OrderRecord | None = None
    again: OrderRecord | None = None
    for sequence, event in enumerate(events, 1):
        try:
            record = apply(record, event, sequence)
            payload = wire.event_to_wire(event, record).SerializeToString()
        except ValueError:
            return  # the drawn numbers do not fit the wire: the venue would not have sent them
        read = wire.event_from_wire(order_event_pb2.OrderEvent.FromString(payload))
        again = apply(again, read, sequence)
        assert again == record


@given(histories(), st.integers(1, 2**63 - 1))
def test_a_stored_event_goes_out_as_it_is_with_its_sequence_behind_it(
    events: list[OrderEvent], sequence: int
) -> None:
    record = apply(None, events[0], sequence)
    message = wire.event_to_wire(events[0], record)
    payload = message.SerializeToString()
    page = pb.StreamOrderEventsResponse.FromString(
        wire.page_of_events([wire.sequenced(payload, sequence)] * 2, sequence)
    )
    message.sequence = sequence
    assert list(page.events) == [message, message]
    assert page.sequence_reached == sequence
    assert len(pb.StreamOrderEventsResponse.FromString(wire.page_of_events([], 0)).events) == 0


@given(orders, st.sampled_from(OrderState), rejections)
def test_a_kept_answer_looks_the_same_again(order: NewOrder, state: OrderState, rejection: Rejection) -> None:
    record = apply(None, OrderEvent(EventKind.ACCEPTED, *order.key, 1, order=order), 3)
    record = record._replace(
        outcome=state if state.is_final else None,
        is_unknown=state is OrderState.UNKNOWN,
        is_confirmed=True,
        is_done_for_day=state is OrderState.DONE_FOR_DAY,
        cancel_request_id="c" if state is OrderState.PENDING_CANCEL else "",
        replace_request_id="r" if state is OrderState.PENDING_REPLACE else "",
        filled_quantity_nanos=5 if state is OrderState.PARTIALLY_FILLED else 0,
        filled_notional_attos=50 if state is OrderState.PARTIALLY_FILLED else 0,
    )
    answer = Answer(record, rejection)
    kept = wire.answer_from_bytes(wire.answer_to_bytes(answer))
    assert wire.replace_response_to_wire(kept) == wire.replace_response_to_wire(answer)


def order_message(**changes: object) -> pb.NewOrder:
    message = pb.NewOrder(
        client_order_id="one",
        account="MAIN",
        terms=order_pb2.OrderTerms(
            symbol="ACME",
            side=side_pb2.SIDE_BUY,
            order_type=order_pb2.ORDER_TYPE_LIMIT,
            time_in_force=order_pb2.TIME_IN_FORCE_DAY,
            quantity_nanos=5,
            limit_price_nanos=7,
        ),
    )
    message.MergeFrom(pb.NewOrder(**changes))  # type: ignore[arg-type]
    return message


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (pb.NewOrder(), "REQUEST_ID_MISSING"),
        (order_message(client_order_id="a b"), "FIELD_INVALID"),
        (order_message(client_order_id="x" * 65), "FIELD_INVALID"),
        (order_message(account="a/b"), "FIELD_INVALID"),
        (pb.NewOrder(client_order_id="one"), "FIELD_MISSING"),
        (pb.NewOrder(client_order_id="one", account="MAIN"), "FIELD_MISSING"),
        (order_message(terms=order_pb2.OrderTerms(side=side_pb2.Side.ValueType(77))), "ENUM_UNSPECIFIED"),
        (order_message(terms=order_pb2.OrderTerms(quantity_nanos=-5)), "VALUE_OUT_OF_RANGE"),
        (order_message(execution_id="no spaces"), "FIELD_INVALID"),
        (order_message(execution_id="x" * 65), "FIELD_INVALID"),
        (order_message(traceparent="short"), "FIELD_INVALID"),
        (order_message(traceparent="x" * 55), "FIELD_INVALID"),
    ],
)
def test_an_order_that_can_never_be_right_is_refused_with_its_reason(
    message: pb.NewOrder, reason: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        wire.new_order_from_wire(message, "")
    assert refused.value.reason == reason
    with pytest.raises(InvalidInput) as refused:
        wire.basket_from_wire(pb.SubmitOrdersRequest(orders=[order_message(), message]), "")
    assert refused.value.reason == reason
    assert refused.value.metadata["row"] == "1"


@pytest.mark.parametrize("count", [0, 257])
def test_a_basket_has_1_to_256_orders(count: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        wire.basket_from_wire(pb.SubmitOrdersRequest(orders=[order_message()] * count), "")
    assert refused.value.reason == "VALUE_OUT_OF_RANGE"


def test_an_order_without_a_trace_takes_that_of_its_call() -> None:
    traceparent = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    assert wire.new_order_from_wire(order_message(), traceparent).traceparent == traceparent
    own = "00-" + "3" * 32 + "-" + "4" * 16 + "-01"
    assert wire.new_order_from_wire(order_message(traceparent=own), traceparent).traceparent == own


def test_requests_name_an_account_an_order_and_a_request() -> None:
    with pytest.raises(InvalidInput):
        wire.cancel_from_wire(pb.CancelOrderRequest(account="MAIN", client_order_id="one"))
    with pytest.raises(InvalidInput):
        wire.replace_from_wire(
            pb.ReplaceOrderRequest(request_id="r", account="MAIN", client_order_id="one", quantity_nanos=-1)
        )


def test_a_report_keeps_what_its_kind_is_about() -> None:
    one = Fill("V", "X", "MAIN", "one", "", "ACME", Side.SELL, 5, 7, Money("USD"), Liquidity.TAKER, 3)
    new_terms = wire.new_order_from_wire(order_message(), "").terms
    report = wire.report_from_wire(
        report_pb2.ExecutionReport(
            sequence=4,
            kind=report_pb2.REPORT_KIND_CORRECTED,
            account="MAIN",
            client_order_id="one",
            fill=fill_to_wire(one),
            corrected_fill=fill_to_wire(one),
            terms=terms_to_wire(new_terms),
        )
    )
    assert (report.kind, report.fill, report.corrected_fill) == (ReportKind.CORRECTED, one, one)
    assert report.terms is None
    replaced = wire.report_from_wire(
        report_pb2.ExecutionReport(kind=report_pb2.REPORT_KIND_REPLACED, terms=terms_to_wire(new_terms))
    )
    assert replaced.terms == new_terms
