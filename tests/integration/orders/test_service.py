"""The orders server through its RPCs, on a journal on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import generate_latest
from tapeline.orders.v1 import order_event_pb2
from tapeline.orders.v1 import orders_service_pb2 as pb
from tapeline.trading.v1 import order_pb2, side_pb2

from servers.journal import Journal
from servers.model.clock import WallClock
from servers.model.kill_switch import KillSwitches
from servers.model.order import Rejection
from servers.orders.adapters.memory import MemoryRisk, MemoryVenue
from servers.runtime.status import reason_of
from tests.integration.orders.conftest import NANO, Desk, eventually, new_order, start_desk

KEY = ("MAIN", "one")


async def refusal(call: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code().name, reason_of(refused.value)


async def submit(desk: Desk, *names: str, **changes: Any) -> None:
    for name in names:
        await desk.stub.SubmitOrder(pb.SubmitOrderRequest(order=new_order(name, **changes)))


async def test_an_order_goes_from_submission_to_filled(desk: Desk) -> None:
    response = await desk.stub.SubmitOrder(pb.SubmitOrderRequest(order=new_order("one")))
    assert response.order.state == order_pb2.ORDER_STATE_PENDING_NEW
    assert response.order.leaves_quantity_nanos == 100 * NANO
    await desk.becomes("one", order_pb2.ORDER_STATE_NEW)
    desk.venue.fill(KEY, 40 * NANO, 50 * NANO)
    await desk.becomes("one", order_pb2.ORDER_STATE_PARTIALLY_FILLED)
    desk.venue.fill(KEY, 60 * NANO, 49 * NANO)
    order = await desk.becomes("one", order_pb2.ORDER_STATE_FILLED)
    assert order.filled_quantity_nanos == 100 * NANO
    assert order.average_price_nanos == 49_400_000_000
    fills = await desk.stub.ListFills(pb.ListFillsRequest(account="MAIN"))
    assert [fill.quantity_nanos for fill in fills.fills] == [40 * NANO, 60 * NANO]


async def test_a_repeat_gets_the_first_answer_and_other_content_is_refused(desk: Desk) -> None:
    request = pb.SubmitOrderRequest(order=new_order("one"))
    first = await desk.stub.SubmitOrder(request)
    await desk.becomes("one", order_pb2.ORDER_STATE_NEW)
    assert await desk.stub.SubmitOrder(request) == first
    other = pb.SubmitOrderRequest(order=new_order("one", quantity=1))
    assert await refusal(desk.stub.SubmitOrder(other)) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_a_basket_comes_back_in_the_order_given(desk: Desk) -> None:
    desk.risk.verdict = lambda check: (
        Rejection("ORDER_QUANTITY_ABOVE_LIMIT", "too much", "max_order_quantity_nanos", "2", "1")
        if check.client_order_id == "n7"
        else None
    )
    names = [f"n{n}" for n in range(256)]
    response = await desk.stub.SubmitOrders(pb.SubmitOrdersRequest(orders=map(new_order, names)))
    assert [order.client_order_id for order in response.orders] == names
    assert response.orders[7].state == order_pb2.ORDER_STATE_REJECTED
    assert response.orders[7].rejection.limit == "max_order_quantity_nanos"
    assert [order.last_sequence for order in response.orders] == sorted(
        order.last_sequence for order in response.orders
    )
    await desk.becomes("n255", order_pb2.ORDER_STATE_NEW)


async def test_cancel_and_replace_answer_pending_and_end_as_events(desk: Desk) -> None:
    await submit(desk, "one", "two")
    await desk.becomes("two", order_pb2.ORDER_STATE_NEW)
    replace = pb.ReplaceOrderRequest(
        request_id="r", account="MAIN", client_order_id="two", quantity_nanos=60 * NANO
    )
    replaced = await desk.stub.ReplaceOrder(replace)
    assert replaced.order.state == order_pb2.ORDER_STATE_PENDING_REPLACE
    cancel = pb.CancelOrderRequest(request_id="c", account="MAIN", client_order_id="one")
    cancelled = await desk.stub.CancelOrder(cancel)
    assert cancelled.order.state == order_pb2.ORDER_STATE_PENDING_CANCEL
    await desk.becomes("one", order_pb2.ORDER_STATE_CANCELLED)
    order = await desk.becomes("two", order_pb2.ORDER_STATE_NEW)
    assert order.terms.quantity_nanos == 60 * NANO
    assert await desk.stub.CancelOrder(cancel) == cancelled
    assert await desk.stub.ReplaceOrder(replace) == replaced


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda s: s.SubmitOrder(pb.SubmitOrderRequest()), ("INVALID_ARGUMENT", "FIELD_MISSING")),
        (
            lambda s: s.SubmitOrder(pb.SubmitOrderRequest(order=new_order("one", quantity=-1))),
            ("INVALID_ARGUMENT", "VALUE_OUT_OF_RANGE"),
        ),
        (lambda s: s.SubmitOrders(pb.SubmitOrdersRequest()), ("INVALID_ARGUMENT", "VALUE_OUT_OF_RANGE")),
        (
            lambda s: s.CancelOrder(pb.CancelOrderRequest(account="MAIN", client_order_id="one")),
            ("INVALID_ARGUMENT", "REQUEST_ID_MISSING"),
        ),
        (
            lambda s: s.CancelOrder(
                pb.CancelOrderRequest(request_id="c", account="MAIN", client_order_id="none")
            ),
            ("NOT_FOUND", "ORDER_NOT_FOUND"),
        ),
        (
            lambda s: s.GetOrder(pb.GetOrderRequest(account="MAIN", client_order_id="none")),
            ("NOT_FOUND", "ORDER_NOT_FOUND"),
        ),
        (
            lambda s: s.ListOrders(pb.ListOrdersRequest(page_size=1_001)),
            ("INVALID_ARGUMENT", "PAGE_SIZE_INVALID"),
        ),
        (
            lambda s: s.ListFills(pb.ListFillsRequest(page_token="abc-xyz")),
            ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"),
        ),
        (
            lambda s: s.ListOrderEvents(pb.ListOrderEventsRequest(after_sequence=1_000)),
            ("OUT_OF_RANGE", "SEQUENCE_AHEAD"),
        ),
        (
            lambda s: s.ListOrderEvents(pb.ListOrderEventsRequest(after_sequence=-1)),
            ("INVALID_ARGUMENT", "VALUE_OUT_OF_RANGE"),
        ),
    ],
)
async def test_a_request_that_cannot_be_is_refused_with_its_reason(
    call: Callable[[Any], Any], expected: tuple[str, str], desk: Desk
) -> None:
    assert await refusal(call(desk.stub)) == expected


async def test_lists_go_by_page_and_filter(desk: Desk) -> None:
    for n in range(7):
        await submit(desk, f"a{n}", account="MAIN", execution_id="PARENT" if n % 2 else "", symbol="ACME")
    await submit(desk, "b", account="OTHER", symbol="ZORK")
    await desk.becomes("a6", order_pb2.ORDER_STATE_NEW)
    for n in range(7):
        desk.venue.fill(("MAIN", f"a{n}"), (100 if n < 3 else 10) * NANO, 50 * NANO)
    await desk.becomes("a6", order_pb2.ORDER_STATE_PARTIALLY_FILLED)

    async def orders(**filters: Any) -> list[str]:
        names: list[str] = []
        token = ""
        while True:
            request = pb.ListOrdersRequest(page_size=2, page_token=token, **filters)
            response = await desk.stub.ListOrders(request)
            names += [order.client_order_id for order in response.orders]
            token = response.next_page_token
            if not token:
                return names

    assert await orders() == ["probe", *(f"a{n}" for n in range(7)), "b"]
    assert await orders(account="MAIN", symbol="ACME", execution_id="PARENT") == ["a1", "a3", "a5"]
    assert await orders(account="OTHER") == ["b"]
    assert await orders(symbol="ZORK") == ["b"]
    assert await orders(working_only=True) == ["probe", "a3", "a4", "a5", "a6", "b"]
    assert await orders(execution_id="NOBODY") == []
    page = await desk.stub.ListFills(pb.ListFillsRequest(page_size=3, execution_id="PARENT"))
    assert [fill.client_order_id for fill in page.fills] == ["a1", "a3", "a5"]
    assert page.next_page_token == ""
    page = await desk.stub.ListFills(pb.ListFillsRequest(page_size=3))
    token = page.next_page_token
    rest = await desk.stub.ListFills(pb.ListFillsRequest(page_size=1_000, page_token=token))
    assert [fill.client_order_id for fill in rest.fills] == ["a3", "a4", "a5", "a6"]
    foreign = pb.ListFillsRequest(account="OTHER", page_token=token)
    assert await refusal(desk.stub.ListFills(foreign)) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def collect(
    stream: AsyncIterable[pb.StreamOrderEventsResponse], until_sequence: int
) -> list[order_event_pb2.OrderEvent]:
    events: list[order_event_pb2.OrderEvent] = []
    async for message in stream:
        events += message.events
        if message.sequence_reached >= until_sequence:
            return events
    raise AssertionError("the stream ended")


async def test_a_stream_sends_what_was_and_what_comes_and_resumes_anywhere(desk: Desk) -> None:
    await submit(desk, "one")
    await desk.becomes("one", order_pb2.ORDER_STATE_NEW)
    live = asyncio.create_task(collect(desk.stub.StreamOrderEvents(pb.StreamOrderEventsRequest()), 6))
    await submit(desk, "two")
    events = await asyncio.wait_for(live, 10)
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    for after in range(6):
        request = pb.StreamOrderEventsRequest(resume_after_sequence=after)
        assert await collect(desk.stub.StreamOrderEvents(request), 6) == events[after:]
    listed = await desk.stub.ListOrderEvents(pb.ListOrderEventsRequest(page_size=4))
    rest = await desk.stub.ListOrderEvents(
        pb.ListOrderEventsRequest(page_size=4, page_token=listed.next_page_token)
    )
    assert [*listed.events, *rest.events] == events
    assert (rest.next_page_token, rest.last_sequence) == ("", 6)
    ahead = desk.stub.StreamOrderEvents(pb.StreamOrderEventsRequest(resume_after_sequence=7))
    assert await refusal(collect(ahead, 8)) == ("OUT_OF_RANGE", "SEQUENCE_AHEAD")
    negative = desk.stub.StreamOrderEvents(pb.StreamOrderEventsRequest(resume_after_sequence=-1))
    assert await refusal(collect(negative, 8)) == ("INVALID_ARGUMENT", "VALUE_OUT_OF_RANGE")


async def test_a_filtered_stream_says_how_far_it_has_come(desk: Desk) -> None:
    await submit(desk, "one", account="MAIN")
    await submit(desk, "two", account="OTHER", execution_id="PARENT")
    await desk.becomes("one", order_pb2.ORDER_STATE_NEW)
    await eventually(lambda: len(desk.venue.log) == 3)

    async def names(**filters: Any) -> set[str]:
        stream = desk.stub.StreamOrderEvents(pb.StreamOrderEventsRequest(**filters))
        return {event.order.client_order_id for event in await collect(stream, 6)}

    assert await names(account="OTHER") == {"two"}
    assert await names(account="MAIN") == {"probe", "one"}
    assert await names(children_only=True) == {"two"}
    assert await names(execution_id="PARENT") == {"two"}
    assert await names(account="NOBODY") == set()
    page = await desk.stub.ListOrderEvents(pb.ListOrderEventsRequest(account="OTHER"))
    assert {event.order.client_order_id for event in page.events} == {"two"}


async def test_the_trace_of_the_call_or_of_the_order_is_kept(desk: Desk) -> None:
    own = "00-" + "3" * 32 + "-" + "4" * 16 + "-01"
    order = new_order("one")
    order.traceparent = own
    await desk.stub.SubmitOrder(pb.SubmitOrderRequest(order=order))
    called = ("traceparent", "00-" + "5" * 32 + "-" + "6" * 16 + "-01")
    await desk.stub.SubmitOrder(pb.SubmitOrderRequest(order=new_order("two")), metadata=[called])
    assert (await desk.order("one")).traceparent == own
    assert (await desk.order("two")).traceparent[:35] == called[1][:35]
    await desk.becomes("one", order_pb2.ORDER_STATE_NEW)
    desk.venue.fill(KEY, 100 * NANO, 50 * NANO)
    await desk.becomes("one", order_pb2.ORDER_STATE_FILLED)


async def test_without_risk_orders_are_refused_and_cancels_pass(desk: Desk) -> None:
    await submit(desk, "one")
    await desk.becomes("one", order_pb2.ORDER_STATE_NEW)
    desk.risk.is_available = False
    two = pb.SubmitOrderRequest(order=new_order("two"))
    assert await refusal(desk.stub.SubmitOrder(two)) == ("UNAVAILABLE", "RISK_UNAVAILABLE")
    await desk.stub.CancelOrder(pb.CancelOrderRequest(request_id="c", account="MAIN", client_order_id="one"))
    await desk.becomes("one", order_pb2.ORDER_STATE_CANCELLED)


async def test_the_kill_switch_cancels_and_refuses(desk: Desk) -> None:
    await submit(desk, "one")
    await desk.becomes("one", order_pb2.ORDER_STATE_NEW)
    desk.risk.switch(KillSwitches(everywhere=True))
    await desk.becomes("one", order_pb2.ORDER_STATE_CANCELLED)
    two = pb.SubmitOrderRequest(order=new_order("two"))
    assert await refusal(desk.stub.SubmitOrder(two)) == ("FAILED_PRECONDITION", "KILL_SWITCH_ON")


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    venue, risk = MemoryVenue(), MemoryRisk()
    desk = await start_desk(tmp_path, venue, risk)
    await desk.accepting()
    await submit(desk, "one", "two", side=side_pb2.SIDE_SELL)
    await desk.becomes("two", order_pb2.ORDER_STATE_NEW)
    cancel = pb.CancelOrderRequest(request_id="c", account="MAIN", client_order_id="two")
    cancelled = await desk.stub.CancelOrder(cancel)
    await desk.becomes("two", order_pb2.ORDER_STATE_CANCELLED)
    before = await desk.stub.ListOrders(pb.ListOrdersRequest())
    await desk.crash()
    venue.fill(KEY, 100 * NANO, 50 * NANO)
    again = await start_desk(tmp_path, venue, risk, check_whole_journal=True)
    assert await again.stub.CancelOrder(cancel) == cancelled
    await again.becomes("one", order_pb2.ORDER_STATE_FILLED)
    after = await again.stub.ListOrders(pb.ListOrdersRequest())
    assert after.orders[0] == before.orders[0]
    assert after.orders[2] == before.orders[2]
    await again.stop()


async def test_a_stop_sends_first_what_was_acknowledged(tmp_path: Path) -> None:
    venue = MemoryVenue()
    desk = await start_desk(tmp_path, venue, MemoryRisk(), outbox_drain_seconds=0.05)
    await desk.accepting()
    names = [f"n{n}" for n in range(200)]
    await desk.stub.SubmitOrders(pb.SubmitOrdersRequest(orders=map(new_order, names)))
    await desk.stop()
    assert {("MAIN", name) for name in names} <= venue.holds()
    venue.is_reachable = False
    unsent = await start_desk(tmp_path, venue, MemoryRisk(), outbox_drain_seconds=0.01)
    await unsent.stop()


async def test_a_second_writer_ends_the_first(desk: Desk) -> None:
    other = await Journal.open(
        desk.folder / "orders.journal", writer="other", clock=WallClock(), on_failure=lambda _: None
    )
    # Refused, or left without an answer by a process that is told to end; never acknowledged.
    answer = asyncio.ensure_future(
        refusal(desk.stub.SubmitOrder(pb.SubmitOrderRequest(order=new_order("one")), timeout=5))
    )
    await asyncio.wait_for(asyncio.shield(desk.server.failure), 10)
    code, reason = await answer
    assert reason in ("STALE_EPOCH", "SHUTTING_DOWN") or code == "DEADLINE_EXCEEDED"
    await other.close()


async def test_figures_are_shown(desk: Desk) -> None:
    await submit(desk, "one")
    await desk.becomes("one", order_pb2.ORDER_STATE_NEW)
    shown = generate_latest(desk.server.context.telemetry.registry).decode()
    assert "tapeline_orders_accepted_total 2.0" in shown
    assert "tapeline_orders_working 2.0" in shown
    assert "tapeline_orders_accepting 1.0" in shown
