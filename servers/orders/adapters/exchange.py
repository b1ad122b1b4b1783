"""The practice venue over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc
from tapeline.exchange.v1 import exchange_service_pb2, exchange_service_pb2_grpc

from servers.model.errors import TapelineError, Unavailable
from servers.model.order import OrderTerms, Rejection
from servers.orders import wire
from servers.orders.domain import NewOrder, OrderKey
from servers.orders.ports import ReportPage, Submission, VenueOrder
from servers.runtime.status import from_rpc_error
from servers.runtime.tracing import CLIENT, Span, Tracer, is_sampled, is_traceparent

_REFUSALS = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "PERMISSION_DENIED"}
)
"""Statuses that are the venue's word; every other one leaves the outcome open."""

_ACCEPTED = Submission()


class ExchangeVenue:
    """`Venue` over the exchange's channel."""

    name = "PRACTICE"

    def __init__(self, channel: grpc.aio.Channel, tracer: Tracer) -> None:
        self._stub = exchange_service_pb2_grpc.ExchangeServiceStub(channel)
        self._tracer = tracer

    async def submit(self, orders: Sequence[NewOrder]) -> Sequence[Submission]:
        spans = [self._span(order) for order in orders]
        entries = [
            wire.entry_to_wire(order if span is None else order._replace(traceparent=span.traceparent))
            for order, span in zip(orders, spans, strict=True)
        ]
        try:
            await self._stub.SubmitOrders(exchange_service_pb2.SubmitOrdersRequest(entries=entries))
        except grpc.aio.AioRpcError as error:
            refusal = _refusal_or_raise(error)
            if len(orders) == 1:
                return [Submission(refusal)]
            # One of them made the venue refuse all: each gets an answer of its own.
            return [(await self.submit([order]))[0] for order in orders]
        finally:
            for span in spans:
                if span is not None:
                    span.end()
        return [_ACCEPTED] * len(orders)

    def _span(self, order: NewOrder) -> Span | None:
        """Start the span of one order's way to the venue; None when its trace is not sampled."""
        parent = order.traceparent
        if not (parent and is_traceparent(parent) and is_sampled(parent)):
            return None
        span = self._tracer.begin("route order", CLIENT, parent)
        span.set(client_order_id=order.client_order_id, venue=self.name)
        return span

    async def cancel(self, order: OrderKey, request_id: str) -> Rejection | None:
        request = exchange_service_pb2.CancelOrderRequest(
            request_id=request_id, account=order[0], client_order_id=order[1]
        )
        try:
            await self._stub.CancelOrder(request)
        except grpc.aio.AioRpcError as error:
            return _refusal_or_raise(error)
        return None

    async def replace(self, order: OrderKey, request_id: str, terms: OrderTerms) -> Rejection | None:
        request = exchange_service_pb2.ReplaceOrderRequest(
            request_id=request_id,
            account=order[0],
            client_order_id=order[1],
            quantity_nanos=terms.quantity_nanos,
            limit_price_nanos=terms.limit_price_nanos,
            display_quantity_nanos=terms.display_quantity_nanos,
        )
        try:
            await self._stub.ReplaceOrder(request)
        except grpc.aio.AioRpcError as error:
            return _refusal_or_raise(error)
        return None

    async def order(self, order: OrderKey) -> VenueOrder | None:
        request = exchange_service_pb2.GetOrderRequest(account=order[0], client_order_id=order[1])
        try:
            response = await self._stub.GetOrder(request)
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error)
            if refusal.reason == "ORDER_NOT_FOUND":
                return None
            raise _unknown(refusal) from error
        return wire.venue_order_from_wire(response.order)

    async def last_report_sequence(self) -> int:
        try:
            response = await self._stub.GetSession(exchange_service_pb2.GetSessionRequest())
        except grpc.aio.AioRpcError as error:
            raise _unknown(from_rpc_error(error)) from error
        return int(response.last_sequence)

    async def reports(self, after_sequence: int) -> AsyncIterator[ReportPage]:
        request = exchange_service_pb2.StreamExecutionReportsRequest(resume_after_sequence=after_sequence)
        try:
            async for message in self._stub.StreamExecutionReports(request):
                reports = [wire.report_from_wire(report) for report in message.reports]
                yield ReportPage(reports, message.sequence_reached)
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error)
            if refusal.status == "OUT_OF_RANGE" and refusal.reason != "STREAM_TOO_SLOW":
                raise refusal from error
            raise _unknown(refusal) from error


def _refusal_or_raise(error: grpc.aio.AioRpcError) -> Rejection:
    """Return the venue's refusal; raises Unavailable when the outcome is open."""
    refusal = from_rpc_error(error)
    if refusal.status in _REFUSALS:
        return Rejection(refusal.reason, refusal.message)
    raise _unknown(refusal) from error


def _unknown(refusal: TapelineError) -> Unavailable:
    return Unavailable("PEER_UNAVAILABLE", f"the venue did not answer: {refusal.message}")
