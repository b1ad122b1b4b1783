"""The exchange's RPCs."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from tapeline.exchange.v1 import exchange_service_pb2 as pb
from tapeline.exchange.v1 import report_pb2
from tapeline.trading.v1 import market_pb2

from servers.runtime.status import from_rpc_error
from tests.integration.exchange.exchange_client import NANO, Start, eventually


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc_error(caught.value)
    return error.status, error.reason


async def test_an_order_fills_and_its_reports_and_prints_go_out(start: Start, background: Any) -> None:
    async with start(speed=500) as client:
        background(client.follow_reports())
        background(client.follow_market(pace=True, include_depth=True, resume_after_sequence={"ACME": 0}))
        await eventually(lambda: len(client.of("trades")) > 20 and len(client.of("depth")) > 5)
        report = await client.submit(shares=500)
        assert report.kind == report_pb2.REPORT_KIND_ACCEPTED
        await eventually(lambda: sum(r.fill.quantity_nanos for r in client.reports) == 500 * NANO)
        assert [r.sequence for r in client.reports] == list(range(1, len(client.reports) + 1))
        assert all(quote.count for quote in client.of("quotes"))
        times = [time.event_time_nanos for time in client.of("time")]
        assert times == sorted(times)
        fill = next(r.fill for r in client.reports if r.HasField("fill"))

        def own_print() -> bool:
            return any(
                fill.event_time_nanos in np.frombuffer(batch.event_time_nanos, np.int64)
                for batch in client.of("trades")
                if batch.symbol == "ACME"
            )

        await eventually(own_print)


async def test_the_tape_is_the_same_from_the_stream_and_from_the_list(start: Start, background: Any) -> None:
    async with start(speed=1000, symbols="ACME") as client:
        background(client.follow_market(resume_after_sequence={"ACME": 0}))
        await eventually(lambda: sum(batch.count for batch in client.of("trades")) > 2_500)
        await client.control(pb.SESSION_ACTION_HOLD)
        last = (await client.stub.GetSession(pb.GetSessionRequest())).time.event_time_nanos
        await eventually(lambda: client.of("time")[-1].event_time_nanos >= last)
        streamed = b"".join(batch.price_nanos for batch in client.of("trades"))
        listed, token = b"", ""
        while True:
            page = await client.stub.ListTrades(
                pb.ListTradesRequest(symbol="ACME", page_size=1, page_token=token)
            )
            listed += b"".join(batch.price_nanos for batch in page.batches)
            token = page.next_page_token
            if not token:
                break
        assert listed == streamed
        again = await client.stub.ListTrades(pb.ListTradesRequest(symbol="ACME", after_sequence=1_000))
        assert again.batches[0].first_sequence == 1_001


async def test_orders_are_cancelled_replaced_and_looked_up(start: Start) -> None:
    async with start(speed=50, hold=True) as client:
        order = await client.submit(order_type=2, limit_price_nanos=49 * NANO, shares=300)
        key = {"account": "A", "client_order_id": order.client_order_id}
        replaced = await client.stub.ReplaceOrder(
            pb.ReplaceOrderRequest(request_id="r1", quantity_nanos=200 * NANO, **key)
        )
        assert replaced.report.leaves_quantity_nanos == 200 * NANO
        held = await client.stub.GetOrder(pb.GetOrderRequest(**key))
        assert (held.order.leaves_quantity_nanos, held.last_sequence) == (200 * NANO, 2)
        cancelled = await client.stub.CancelOrder(pb.CancelOrderRequest(request_id="c1", **key))
        assert cancelled.report.reason == "REQUESTED"
        again = await client.stub.CancelOrder(pb.CancelOrderRequest(request_id="c1", **key))
        assert again.report == cancelled.report
        page = await client.stub.ListExecutions(pb.ListExecutionsRequest(page_size=2))
        assert ([r.sequence for r in page.reports], page.last_sequence) == ([1, 2], 3)
        rest = await client.stub.ListExecutions(pb.ListExecutionsRequest(page_token=page.next_page_token))
        assert ([r.sequence for r in rest.reports], rest.next_page_token) == ([3], "")
        assert not (await client.stub.ListExecutions(pb.ListExecutionsRequest(account="B"))).reports


async def test_a_basket_is_answered_in_its_order(start: Start) -> None:
    async with start(hold=True) as client:
        first = await client.submit(client_order_id="x", order_type=2, limit_price_nanos=49 * NANO)
        entry = pb.OrderEntry(account="A", client_order_id="x", terms=first.terms)
        other = pb.OrderEntry(account="A", client_order_id="y", terms=first.terms)
        changed = pb.OrderEntry(account="A", client_order_id="x", terms=first.terms, execution_id="other")
        response = await client.stub.SubmitOrders(pb.SubmitOrdersRequest(entries=[entry, other, changed]))
        kinds = [report.kind for report in response.reports]
        assert kinds == [1, 1, 2]
        assert response.reports[0] == first
        assert response.reports[2].rejection.reason == "REQUEST_ID_REUSED"


async def test_fills_are_busted_by_operators(start: Start, background: Any) -> None:
    async with start(speed=500) as client:
        background(client.follow_reports())
        background(client.follow_market())
        await eventually(
            lambda: any(s.phase == market_pb2.MARKET_PHASE_CONTINUOUS for s in client.of("status"))
        )
        await client.submit()
        await eventually(lambda: any(r.HasField("fill") for r in client.reports))
        fill = next(r.fill for r in client.reports if r.HasField("fill"))
        request = pb.AmendExecutionRequest(
            request_id="b1", account="A", venue_execution_id=fill.venue_execution_id
        )
        busted = (await client.stub.AmendExecution(request)).report
        assert (busted.kind, busted.fill) == (report_pb2.REPORT_KIND_BUSTED, fill)


async def test_history_is_paged(start: Start) -> None:
    async with start(hold=True) as client:
        page = await client.stub.ListHistoryBars(
            pb.ListHistoryBarsRequest(symbol="ACME", sessions=2, page_size=500)
        )
        rest = await client.stub.ListHistoryBars(
            pb.ListHistoryBarsRequest(symbol="ACME", sessions=2, page_token=page.next_page_token)
        )
        starts = [bar.start_time_nanos for bar in [*page.bars, *rest.bars]]
        assert len(page.bars) == 500
        assert starts == sorted(set(starts))
        session = await client.stub.GetSession(pb.GetSessionRequest())
        assert starts[-1] < session.statuses[0].session_open_time_nanos


async def test_the_session_is_controlled(start: Start, background: Any) -> None:
    async with start(speed=500, hold=True) as client:
        background(client.follow_market())
        session = await client.stub.GetSession(pb.GetSessionRequest())
        assert (session.time.held, session.flow, session.session_date) == (True, "simulated", "2026-11-23")
        assert {status.phase for status in session.statuses} == {market_pb2.MARKET_PHASE_PRE_OPEN}
        released = await client.control(pb.SESSION_ACTION_RELEASE)
        assert not released.time.held
        continuous = market_pb2.MARKET_PHASE_CONTINUOUS
        await eventually(lambda: sum(status.phase == continuous for status in client.of("status")) == 4)
        await client.control(pb.SESSION_ACTION_HALT, symbol="BOLT", reason="news")
        await client.control(pb.SESSION_ACTION_SET_SPEED, speed=1000.0)
        await client.control(pb.SESSION_ACTION_RESUME, symbol="BOLT")
        await eventually(lambda: sum(status.phase == continuous for status in client.of("status")) == 5)
        phases = [status.phase for status in client.of("status") if status.symbol == "BOLT"]
        assert phases[-3:] == [
            market_pb2.MARKET_PHASE_HALTED,
            market_pb2.MARKET_PHASE_REOPENING_AUCTION,
            market_pb2.MARKET_PHASE_CONTINUOUS,
        ]
        request = pb.ControlSessionRequest(request_id="same", action=pb.SESSION_ACTION_SET_SPEED, speed=10)
        await client.stub.ControlSession(request)
        await client.stub.ControlSession(request)
        request.speed = 20
        assert await refusal(client.stub.ControlSession(request)) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_a_pacer_that_does_not_acknowledge_holds_the_venue_and_is_dropped(
    start: Start, background: Any
) -> None:
    async with start(speed=1000, symbols="ACME", pacer_silence_seconds=0.5) as client:
        client.acknowledges = False
        background(client.follow_market(pace=True))
        await eventually(lambda: len(client.of("time")) > 1)
        begun = client.of("time")[0].event_time_nanos
        await eventually(lambda: client.of("time")[-1].event_time_nanos >= begun + 5 * NANO)
        held = {time.event_time_nanos for time in client.of("time")}
        assert begun + 5 * NANO in held
        await eventually(lambda: client.of("time")[-1].event_time_nanos > begun + 30 * NANO)


async def test_what_can_never_be_right_is_refused_with_a_reason(start: Start) -> None:
    async with start(hold=True) as client:
        stub, invalid = client.stub, "INVALID_ARGUMENT"
        terms = (await client.submit(order_type=2, limit_price_nanos=49 * NANO)).terms
        entry = pb.OrderEntry(account="A", client_order_id="z", terms=terms, execution_id="x" * 200)
        cases = [
            (stub.SubmitOrder(pb.SubmitOrderRequest()), invalid, "FIELD_MISSING"),
            (
                stub.SubmitOrder(pb.SubmitOrderRequest(entry=pb.OrderEntry(account="A"))),
                invalid,
                "FIELD_MISSING",
            ),
            (stub.SubmitOrder(pb.SubmitOrderRequest(entry=entry)), invalid, "FIELD_INVALID"),
            (stub.SubmitOrders(pb.SubmitOrdersRequest()), invalid, "VALUE_OUT_OF_RANGE"),
            (
                stub.CancelOrder(pb.CancelOrderRequest(account="A", client_order_id="z")),
                invalid,
                "REQUEST_ID_MISSING",
            ),
            (
                stub.GetOrder(pb.GetOrderRequest(account="A", client_order_id="never")),
                "NOT_FOUND",
                "ORDER_NOT_FOUND",
            ),
            (stub.ListTrades(pb.ListTradesRequest(symbol="NONE")), "NOT_FOUND", "SYMBOL_UNKNOWN"),
            (
                stub.ListTrades(pb.ListTradesRequest(symbol="ACME", after_sequence=9)),
                "OUT_OF_RANGE",
                "SEQUENCE_AHEAD",
            ),
            (
                stub.ListTrades(pb.ListTradesRequest(symbol="ACME", page_size=-1)),
                invalid,
                "PAGE_SIZE_INVALID",
            ),
            (stub.ListExecutions(pb.ListExecutionsRequest(page_token="x")), invalid, "PAGE_TOKEN_INVALID"),
            (
                stub.ListExecutions(pb.ListExecutionsRequest(after_sequence=99)),
                "OUT_OF_RANGE",
                "SEQUENCE_AHEAD",
            ),
            (client.control(0), invalid, "ENUM_UNSPECIFIED"),
            (client.control(pb.SESSION_ACTION_SET_SPEED, speed=float("nan")), invalid, "VALUE_OUT_OF_RANGE"),
            (client.control(pb.SESSION_ACTION_RESUME), "FAILED_PRECONDITION", "MARKET_CLOSED"),
        ]
        for call, status, reason in cases:
            assert await refusal(call) == (status, reason)
        with pytest.raises(grpc.aio.AioRpcError):
            await client.follow_market(symbols=["NONE"])
        with pytest.raises(grpc.aio.AioRpcError):
            await client.follow_market(resume_after_sequence={"ACME": 10**9})
        with pytest.raises(grpc.aio.AioRpcError):
            await client.follow_market(symbols=["ACME"] * 1_001)
        with pytest.raises(grpc.aio.AioRpcError):
            await client.follow_reports(after=10**9)


async def test_a_stopped_venue_goes_on_where_it_was(start: Start, background: Any) -> None:
    async with start(speed=500) as client:
        background(client.follow_market())
        await eventually(lambda: len(client.of("trades")) > 20)
        await client.submit()
        working = await client.submit(order_type=2, limit_price_nanos=45 * NANO, client_order_id="keep")
        time = client.of("time")[-1].event_time_nanos
        first = await client.stub.ListExecutions(pb.ListExecutionsRequest())
    async with start(speed=500, hold=True) as client:
        session = await client.stub.GetSession(pb.GetSessionRequest())
        assert session.time.event_time_nanos >= time
        assert not session.time.held
        reports = (await client.stub.ListExecutions(pb.ListExecutionsRequest())).reports
        assert list(reports[: len(first.reports)]) == list(first.reports)
        assert (reports[-1].client_order_id, reports[-1].reason) == ("keep", "VENUE_RESTARTED")
        again = await client.submit(order_type=2, limit_price_nanos=45 * NANO, client_order_id="keep")
        assert again == working
