"""The gRPC edge of the orders server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

from tapeline.orders.v1 import order_event_pb2, orders_service_pb2, orders_service_pb2_grpc

from servers.journal import Journal, Record
from servers.model.errors import InvalidInput, NotFound
from servers.model.nanos import INT64_MAX
from servers.model.order import check_account, check_client_order_id, check_range
from servers.orders import wire
from servers.orders.engine import OrderEngine
from servers.orders.paging import page_size, page_token, place_of
from servers.runtime.tracing import current_traceparent
from servers.wire.trading import fill_to_wire

ORDERS_A_PAGE = 100
FILLS_A_PAGE = 500
EVENTS_A_PAGE = 500
EVENTS_A_MESSAGE = 256
HEARTBEAT_SECONDS = 0.5
LINGER_SECONDS = 0.01
"""How long an event may wait for others to share its message: each message costs its reader and us as much
as a hundred events."""


class OrdersService(orders_service_pb2_grpc.OrdersServiceServicer):
    """`tapeline.orders.v1.OrdersService`. The runtime admits no call before the server has started."""

    _engine: OrderEngine
    _journal: Journal

    def serve(self, engine: OrderEngine, journal: Journal) -> None:
        """Answer over this engine from now on."""
        self._engine = engine
        self._journal = journal

    async def SubmitOrder(
        self, request: orders_service_pb2.SubmitOrderRequest, context: Any
    ) -> orders_service_pb2.SubmitOrderResponse:
        if not request.HasField("order"):
            raise InvalidInput("FIELD_MISSING", "order is missing", field="order")
        order = wire.new_order_from_wire(request.order, current_traceparent())
        (record,) = await self._engine.submit([order])
        return orders_service_pb2.SubmitOrderResponse(order=wire.record_to_wire(record))

    async def SubmitOrders(
        self, request: orders_service_pb2.SubmitOrdersRequest, context: Any
    ) -> orders_service_pb2.SubmitOrdersResponse:
        orders = wire.basket_from_wire(request, current_traceparent())
        records = await self._engine.submit(orders)
        return orders_service_pb2.SubmitOrdersResponse(
            orders=[wire.record_to_wire(record) for record in records]
        )

    async def CancelOrder(
        self, request: orders_service_pb2.CancelOrderRequest, context: Any
    ) -> orders_service_pb2.CancelOrderResponse:
        record = await self._engine.cancel(wire.cancel_from_wire(request))
        return orders_service_pb2.CancelOrderResponse(order=wire.record_to_wire(record))

    async def ReplaceOrder(
        self, request: orders_service_pb2.ReplaceOrderRequest, context: Any
    ) -> orders_service_pb2.ReplaceOrderResponse:
        return wire.replace_response_to_wire(await self._engine.replace(wire.replace_from_wire(request)))

    def GetOrder(
        self, request: orders_service_pb2.GetOrderRequest, context: Any
    ) -> orders_service_pb2.GetOrderResponse:
        key = check_account(request.account), check_client_order_id(request.client_order_id)
        record = self._engine.book.order(key)
        if record is None:
            raise NotFound("ORDER_NOT_FOUND", account=key[0], client_order_id=key[1])
        return orders_service_pb2.GetOrderResponse(order=wire.record_to_wire(record))

    def ListOrders(
        self, request: orders_service_pb2.ListOrdersRequest, context: Any
    ) -> orders_service_pb2.ListOrdersResponse:
        filters = request.account, request.execution_id, request.symbol
        size = page_size(request.page_size, ORDERS_A_PAGE)
        after = place_of(request.page_token, "orders", *filters, request.working_only)
        found = self._engine.book.orders_after(after, *filters, is_working_only=request.working_only)
        rows = list(islice(found, size + 1))
        following = ""
        if len(rows) > size:
            rows.pop()
            following = page_token(rows[-1].first_sequence, "orders", *filters, request.working_only)
        return orders_service_pb2.ListOrdersResponse(
            orders=[wire.record_to_wire(record) for record in rows], next_page_token=following
        )

    def ListFills(
        self, request: orders_service_pb2.ListFillsRequest, context: Any
    ) -> orders_service_pb2.ListFillsResponse:
        filters = request.account, request.execution_id
        size = page_size(request.page_size, FILLS_A_PAGE)
        after = place_of(request.page_token, "fills", *filters)
        rows = list(islice(self._engine.book.fills_after(after, *filters), size + 1))
        following = ""
        if len(rows) > size:
            rows.pop()
            following = page_token(rows[-1].sequence, "fills", *filters)
        return orders_service_pb2.ListFillsResponse(
            fills=[fill_to_wire(booked.fill) for booked in rows], next_page_token=following
        )

    async def ListOrderEvents(
        self, request: orders_service_pb2.ListOrderEventsRequest, context: Any
    ) -> orders_service_pb2.ListOrderEventsResponse:
        _check_sequence("after_sequence", request.after_sequence)
        filters = request.account, request.execution_id, request.after_sequence
        size = page_size(request.page_size, EVENTS_A_PAGE)
        after = max(place_of(request.page_token, "events", *filters), request.after_sequence)
        last_sequence = self._journal.last_sequence
        is_wanted = _EventFilter(request.account, request.execution_id)
        events: list[bytes] = []
        following = ""
        async for record in self._journal.read(after, last_sequence):
            if is_wanted(record):
                if len(events) == size:
                    following = page_token(record.sequence - 1, "events", *filters)
                    break
                events.append(wire.sequenced(record.payload, record.sequence))
        return orders_service_pb2.ListOrderEventsResponse(
            events=map(order_event_pb2.OrderEvent.FromString, events),
            next_page_token=following,
            last_sequence=last_sequence,
        )

    async def StreamOrderEvents(
        self, request: orders_service_pb2.StreamOrderEventsRequest, context: Any
    ) -> AsyncIterator[orders_service_pb2.StreamOrderEventsResponse]:
        _check_sequence("resume_after_sequence", request.resume_after_sequence)
        is_wanted = _EventFilter(request.account, request.execution_id, request.children_only)
        reached = request.resume_after_sequence
        sent_at = 0.0
        groups = self._journal.follow_groups(reached, EVENTS_A_MESSAGE, HEARTBEAT_SECONDS, LINGER_SECONDS)
        async for records in groups:
            if records:
                reached = records[-1].sequence
            events = [
                wire.sequenced(record.payload, record.sequence) for record in records if is_wanted(record)
            ]
            now = time.monotonic()
            if events or not records or now - sent_at >= HEARTBEAT_SECONDS:
                sent_at = now
                yield orders_service_pb2.StreamOrderEventsResponse.FromString(
                    wire.page_of_events(events, reached)
                )


def _check_sequence(field: str, value: int) -> None:
    check_range(field, value, 0, INT64_MAX)


class _EventFilter:
    """Whether a journalled event is one that a reader asked for."""

    def __init__(self, account: str, execution_id: str, children_only: bool = False) -> None:
        self._account = account
        self._execution_id = execution_id
        self._children_only = children_only
        self._takes_all = not (account or execution_id or children_only)

    def __call__(self, record: Record) -> bool:
        if self._takes_all:
            return True
        order = order_event_pb2.OrderEvent.FromString(record.payload).order
        if self._account and order.account != self._account:
            return False
        if self._execution_id and order.execution_id != self._execution_id:
            return False
        return not self._children_only or bool(order.execution_id)
