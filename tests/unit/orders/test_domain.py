"""The state machine: from facts to states."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.model.nanos import NANO, Money
from servers.model.order import Fill, Liquidity, OrderState, Rejection, Side
from servers.orders.book import Draft, OrderBook
from servers.orders.domain import EventKind, OrderEvent, OrderRecord, apply
from tests.unit.orders.conftest import ACCOUNT, new_order

KEY = (ACCOUNT, "one")


def event(kind: EventKind, **facts: object) -> OrderEvent:
    return OrderEvent(kind, *KEY, 5)._replace(**facts)  # type: ignore[arg-type]


def fill(name: str = "X1", quantity: int = 10, price: int = 50) -> Fill:
    return Fill(
        "PRACTICE", name, *KEY, "", "ACME", Side.BUY, quantity * NANO, price * NANO, Money("USD"),
        Liquidity.MAKER, 7,
    )  # fmt: skip


ACCEPTED = event(EventKind.ACCEPTED, order=new_order())
CONFIRMED = event(EventKind.CONFIRMED, venue_order_id="V1")
ASKED_CANCEL = event(EventKind.CANCEL_REQUESTED, request_id="c")
SMALLER = changed(new_order().terms, quantity_nanos=60 * NANO)
ASKED_REPLACE = event(EventKind.REPLACE_REQUESTED, request_id="r", terms=SMALLER)
REPLACED = event(EventKind.REPLACED, terms=SMALLER, leaves_quantity_nanos=60 * NANO)
PART = event(EventKind.FILLED, fill=fill())
WHOLE = event(EventKind.FILLED, fill=fill(quantity=100))
OUT = event(EventKind.CANCELLED, reason="REQUESTED")


def after(*events: OrderEvent) -> OrderRecord:
    record: OrderRecord | None = None
    for sequence, one in enumerate(events, 1):
        record = apply(record, one, sequence)
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((), OrderState.PENDING_NEW),
        ((CONFIRMED,), OrderState.NEW),
        ((PART,), OrderState.PARTIALLY_FILLED),
        ((CONFIRMED, WHOLE), OrderState.FILLED),
        ((ASKED_CANCEL,), OrderState.PENDING_CANCEL),
        ((CONFIRMED, ASKED_CANCEL, PART), OrderState.PENDING_CANCEL),
        ((CONFIRMED, ASKED_CANCEL, WHOLE), OrderState.FILLED),
        ((CONFIRMED, ASKED_CANCEL, OUT), OrderState.CANCELLED),
        ((CONFIRMED, ASKED_CANCEL, event(EventKind.CANCEL_REJECTED)), OrderState.NEW),
        ((CONFIRMED, PART, ASKED_CANCEL, event(EventKind.CANCEL_REJECTED)), OrderState.PARTIALLY_FILLED),
        ((ASKED_CANCEL, event(EventKind.CANCEL_REJECTED)), OrderState.PENDING_NEW),
        ((CONFIRMED, OUT), OrderState.CANCELLED),
        ((CONFIRMED, OUT, PART), OrderState.CANCELLED),
        ((CONFIRMED, OUT, WHOLE), OrderState.FILLED),
        ((CONFIRMED, ASKED_REPLACE), OrderState.PENDING_REPLACE),
        ((CONFIRMED, ASKED_REPLACE, ASKED_CANCEL), OrderState.PENDING_CANCEL),
        ((CONFIRMED, ASKED_REPLACE, REPLACED), OrderState.NEW),
        ((CONFIRMED, ASKED_REPLACE, REPLACED._replace(leaves_quantity_nanos=0)), OrderState.FILLED),
        ((CONFIRMED, ASKED_REPLACE, event(EventKind.REPLACE_REJECTED)), OrderState.NEW),
        ((event(EventKind.REJECTED, rejection=Rejection("X")),), OrderState.REJECTED),
        ((CONFIRMED, event(EventKind.EXPIRED)), OrderState.EXPIRED),
        ((CONFIRMED, event(EventKind.DONE_FOR_DAY)), OrderState.DONE_FOR_DAY),
        ((CONFIRMED, event(EventKind.DONE_FOR_DAY), ASKED_CANCEL), OrderState.PENDING_CANCEL),
        ((CONFIRMED, event(EventKind.DONE_FOR_DAY), CONFIRMED), OrderState.NEW),
        ((CONFIRMED, event(EventKind.DONE_FOR_DAY), PART), OrderState.PARTIALLY_FILLED),
        ((event(EventKind.UNKNOWN),), OrderState.UNKNOWN),
        ((event(EventKind.UNKNOWN), CONFIRMED), OrderState.NEW),
        ((event(EventKind.UNKNOWN), PART), OrderState.PARTIALLY_FILLED),
        ((event(EventKind.UNKNOWN), OUT), OrderState.CANCELLED),
        ((CONFIRMED, PART, event(EventKind.BUSTED, fill=fill())), OrderState.NEW),
        ((CONFIRMED, WHOLE, event(EventKind.BUSTED, fill=fill(quantity=100))), OrderState.FILLED),
    ],
)
def test_states_follow_from_facts(events: tuple[OrderEvent, ...], state: OrderState) -> None:
    record = after(ACCEPTED, *events)
    assert record.state is state
    assert record.is_final == state.is_final
    if record.is_final:
        assert record.leaves_quantity_nanos == 0
    assert record.first_sequence == 1
    assert record.last_sequence == len(events) + 1


def test_an_order_that_risk_refused_is_final_from_its_first_event() -> None:
    record = after(event(EventKind.REJECTED, order=new_order(), rejection=Rejection("LIMIT")))
    assert (record.state, record.rejection) == (OrderState.REJECTED, Rejection("LIMIT"))


@pytest.mark.parametrize("kind", set(EventKind) - {EventKind.ACCEPTED, EventKind.REJECTED})
def test_nothing_happens_to_an_order_before_it_is_accepted(kind: EventKind) -> None:
    with pytest.raises(ValueError, match="never accepted"):
        apply(None, event(kind), 1)


def test_an_order_is_accepted_once() -> None:
    with pytest.raises(ValueError, match="accepted before"):
        after(ACCEPTED, ACCEPTED)


@pytest.mark.parametrize(
    "kind", [EventKind.FILLED, EventKind.BUSTED, EventKind.CORRECTED, EventKind.REPLACED]
)
def test_an_event_without_what_it_is_about_is_refused(kind: EventKind) -> None:
    with pytest.raises(ValueError, match="lacks"):
        after(ACCEPTED, event(kind))


def test_busted_quantity_does_not_work_again() -> None:
    record = after(ACCEPTED, PART, event(EventKind.BUSTED, fill=fill()))
    assert (record.filled_quantity_nanos, record.leaves_quantity_nanos) == (0, 90 * NANO)
    ended = apply(record, event(EventKind.FILLED, fill=fill("X2", 90)), 4)
    assert ended.state is OrderState.FILLED


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10**9), st.integers(1, 10**12), st.sampled_from(["keep", "bust", "correct"])
        ),
        max_size=8,
    )
)
def test_what_is_filled_is_the_exact_sum_of_the_fills_that_stand(
    trades: list[tuple[int, int, str]],
) -> None:
    book = OrderBook()
    quantity_nanos = 10**10
    book.take(
        event(EventKind.ACCEPTED, order=new_order()._replace(
            terms=changed(new_order().terms, quantity_nanos=quantity_nanos)
        )), 1
    )  # fmt: skip
    expected_quantity = expected_notional = 0
    for number, (size, price, fate) in enumerate(trades):
        one = changed(fill(f"X{number}"), quantity_nanos=size, price_nanos=price)
        draft = Draft(book)
        draft.add(event(EventKind.FILLED, fill=one))
        if fate == "bust":
            draft.add(event(EventKind.BUSTED, fill=one))
        elif fate == "correct":
            now = changed(one, quantity_nanos=size + 1, price_nanos=price + 3)
            draft.add(event(EventKind.CORRECTED, fill=one, corrected_fill=now))
            one = now
        draft.commit()
        if fate != "bust":
            expected_quantity += one.quantity_nanos
            expected_notional += one.quantity_nanos * one.price_nanos
    record = book.order(KEY)
    assert record is not None
    assert record.filled_quantity_nanos == expected_quantity
    assert record.filled_notional_attos == expected_notional
    assert sum(booked.fill.notional_attos for booked in book.fills_after(0)) == expected_notional
    assert record.leaves_quantity_nanos == quantity_nanos - sum(size for size, _, _ in trades)


def test_a_draft_that_is_dropped_leaves_no_trace() -> None:
    book = OrderBook()
    book.take(ACCEPTED, 1)
    before = book.order(KEY)
    draft = Draft(book)
    draft.add(WHOLE)
    draft_order = draft.order(KEY)
    assert draft_order is not None
    assert draft_order.state is OrderState.FILLED
    assert book.order(KEY) == before
    assert list(book.fills_after(0)) == []
