"""The gRPC adapters of risk and of the practice venue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog
from tapeline.exchange.v1 import exchange_service_pb2 as exchange_pb2
from tapeline.exchange.v1 import exchange_service_pb2_grpc, report_pb2
from tapeline.risk.v1 import risk_service_pb2 as risk_pb2
from tapeline.risk.v1 import risk_service_pb2_grpc
from tapeline.trading.v1 import order_pb2

from servers.model.errors import (
    Internal,
    InvalidInput,
    NotFound,
    OutOfRange,
    TapelineError,
    Unavailable,
)
from servers.model.kill_switch import KillSwitches
from servers.model.nanos import NANO
from servers.model.order import OrderState, OrderTerms, OrderType, Rejection, Side, TimeInForce
from servers.orders.adapters.exchange import ExchangeVenue
from servers.orders.adapters.risk import GrpcRisk
from servers.orders.domain import NewOrder
from servers.orders.ports import OrderCheck, ReportKind, Submission, VenueOrder
from servers.runtime.tracing import Span, Tracer
from tests.integration.orders.peers import PlainRisk, PlainVenue, serve

TERMS = OrderTerms("ACME", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, 100 * NANO, 50 * NANO)
TRACED = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
KEY = ("MAIN", "one")


@pytest.fixture
async def risk() -> AsyncIterator[tuple[PlainRisk, GrpcRisk]]:
    servicer = PlainRisk()  # type: ignore[abstract]  # it serves what the adapter calls
    server, address = await serve(risk_service_pb2_grpc.add_RiskServiceServicer_to_server, servicer)
    async with grpc.aio.insecure_channel(address) as channel:
        yield servicer, GrpcRisk(channel, structlog.get_logger())
    await server.stop(None)


@pytest.fixture
def spans() -> list[Span]:
    return []


@pytest.fixture
async def venue(spans: list[Span]) -> AsyncIterator[tuple[PlainVenue, ExchangeVenue]]:
    servicer = PlainVenue()  # type: ignore[abstract]  # it serves what the adapter calls
    server, address = await serve(exchange_service_pb2_grpc.add_ExchangeServiceServicer_to_server, servicer)
    async with grpc.aio.insecure_channel(address) as channel:
        yield servicer, ExchangeVenue(channel, Tracer(spans.append))
    await server.stop(None)


def order(client_order_id: str = "one", traceparent: str = "") -> NewOrder:
    return NewOrder("MAIN", client_order_id, TERMS, "PARENT", traceparent)


async def test_risk_approves_and_refuses_with_the_limit(risk: tuple[PlainRisk, GrpcRisk]) -> None:
    servicer, adapter = risk
    broken = order_pb2.Rejection(reason="R", message="m", limit="l", value="v", bound="b")
    servicer.verdicts = [risk_pb2.Verdict(is_approved=True), risk_pb2.Verdict(rejection=broken)]
    checks = [OrderCheck("MAIN", "one", TERMS, "PARENT"), OrderCheck("MAIN", "two", TERMS, "", "replace")]
    assert await adapter.check(checks) == [None, Rejection("R", "m", "l", "v", "b")]
    assert [check.execution_id for check in servicer.checked] == ["PARENT", ""]
    assert servicer.checked[1].replace_request_id == "replace"
    assert servicer.checked[0].terms.quantity_nanos == 100 * NANO


async def test_risk_that_does_not_answer_is_unavailable(risk: tuple[PlainRisk, GrpcRisk]) -> None:
    servicer, adapter = risk
    for refusal in (Unavailable("NOT_READY"), Internal("BUG")):
        servicer.refusal = refusal
        with pytest.raises(Unavailable) as refused:
            await adapter.check([OrderCheck("MAIN", "one", TERMS)])
        assert refused.value.reason == "RISK_UNAVAILABLE"
    servicer.refusal, servicer.verdicts = None, []
    with pytest.raises(Unavailable):
        await adapter.check([OrderCheck("MAIN", "one", TERMS)])


async def test_kill_switches_are_followed_over_a_lost_connection(risk: tuple[PlainRisk, GrpcRisk]) -> None:
    servicer, adapter = risk
    state, switch = risk_pb2.StreamRiskStateResponse, risk_pb2.KillSwitch
    servicer.states = [
        [
            state(is_snapshot=True, kill_switches=[switch(account="MAIN", is_on=True)]),
            state(sequence=5),
            state(kill_switches=[switch(account="", is_on=True), switch(account="MAIN", is_on=False)]),
        ],
        [state(is_snapshot=True, kill_switches=[switch(account="OTHER", is_on=True)])],
    ]
    seen: list[KillSwitches] = []
    async for switches in adapter.kill_switches():
        seen.append(switches)
        if len(seen) == 3:
            break
    assert seen == [
        KillSwitches(False, frozenset({"MAIN"})),
        KillSwitches(True, frozenset()),
        KillSwitches(False, frozenset({"OTHER"})),
    ]
    assert seen[1].stop("ANY")
    assert not seen[2].stop("MAIN")


async def test_orders_go_out_in_one_message_with_a_span_each(
    venue: tuple[PlainVenue, ExchangeVenue], spans: list[Span]
) -> None:
    servicer, adapter = venue
    answers = await adapter.submit([order("one", TRACED), order("two")])
    assert answers == [Submission(), Submission()]
    (request,) = servicer.received
    assert [entry.client_order_id for entry in request.entries] == ["one", "two"]
    assert request.entries[0].execution_id == "PARENT"
    (span,) = spans
    assert span.parent == TRACED
    assert request.entries[0].traceparent == span.traceparent
    assert request.entries[1].traceparent == ""


async def test_one_order_that_the_venue_cannot_take_does_not_hold_the_others(
    venue: tuple[PlainVenue, ExchangeVenue],
) -> None:
    servicer, adapter = venue

    def refusal(request: Any) -> TapelineError | None:
        bad = any(entry.client_order_id == "bad" for entry in request.entries)
        return InvalidInput("SYMBOL_UNKNOWN", "no such instrument") if bad else None

    servicer.refusal = refusal
    assert await adapter.submit([order("one"), order("bad"), order("two")]) == [
        Submission(),
        Submission(Rejection("SYMBOL_UNKNOWN", "no such instrument")),
        Submission(),
    ]


async def test_requests_carry_their_ids_and_a_refusal_is_the_venues_word(
    venue: tuple[PlainVenue, ExchangeVenue],
) -> None:
    servicer, adapter = venue
    assert await adapter.cancel(KEY, "c") is None
    assert await adapter.replace(KEY, "r", TERMS) is None
    cancel, replace = servicer.received
    assert (cancel.request_id, cancel.account, cancel.client_order_id) == ("c", *KEY)
    assert (replace.request_id, replace.quantity_nanos) == ("r", 100 * NANO)
    servicer.refusal = lambda request: NotFound("ORDER_NOT_FOUND", "gone")
    assert await adapter.cancel(KEY, "c") == Rejection("ORDER_NOT_FOUND", "gone")
    assert await adapter.replace(KEY, "r", TERMS) == Rejection("ORDER_NOT_FOUND", "gone")
    assert await adapter.order(KEY) is None


async def test_every_other_failure_leaves_the_outcome_open(
    venue: tuple[PlainVenue, ExchangeVenue],
) -> None:
    servicer, adapter = venue
    for refusal in (Unavailable("NOT_READY"), Internal("BUG")):
        servicer.refusal = lambda request, refusal=refusal: refusal  # type: ignore[misc]  # binds each
        for call in (
            adapter.submit([order("one"), order("two")]),
            adapter.cancel(KEY, "c"),
            adapter.replace(KEY, "r", TERMS),
            adapter.order(KEY),
            adapter.last_report_sequence(),
            anext(adapter.reports(0)),
        ):
            with pytest.raises(Unavailable):
                await call


async def test_the_venue_says_what_it_holds_and_how_far_it_is(
    venue: tuple[PlainVenue, ExchangeVenue],
) -> None:
    servicer, adapter = venue
    assert await adapter.order(KEY) == VenueOrder(OrderState.NEW, "V1")
    servicer.log = [report_pb2.ExecutionReport(sequence=1, kind=report_pb2.REPORT_KIND_ACCEPTED)] * 3
    assert await adapter.last_report_sequence() == 3


async def test_reports_come_after_a_sequence_until_the_connection_ends(
    venue: tuple[PlainVenue, ExchangeVenue],
) -> None:
    servicer, adapter = venue
    servicer.log = [
        report_pb2.ExecutionReport(sequence=n, kind=report_pb2.REPORT_KIND_ACCEPTED) for n in (1, 2, 3)
    ]
    pages = [page async for page in adapter.reports(1)]
    assert [report.sequence for report in pages[0].reports] == [2, 3]
    assert pages[0].reports[0].kind is ReportKind.ACCEPTED
    assert pages[0].sequence_reached == 3
    assert isinstance(servicer.received[0], exchange_pb2.StreamExecutionReportsRequest)
    servicer.refusal = lambda request: OutOfRange("SEQUENCE_AHEAD")
    with pytest.raises(OutOfRange):
        await anext(adapter.reports(9))
    servicer.refusal = lambda request: OutOfRange("STREAM_TOO_SLOW")
    with pytest.raises(Unavailable):
        await anext(adapter.reports(9))
