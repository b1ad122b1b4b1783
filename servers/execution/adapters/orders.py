"""The orders server over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc
from tapeline.orders.v1 import order_event_pb2, orders_service_pb2, orders_service_pb2_grpc

from servers.execution.domain.events import Child
from servers.execution.ports import OrderFact, OrderFactKind, OrderFacts
from servers.model.errors import Unavailable
from servers.model.order import OrderState
from servers.runtime.status import from_rpc_error
from servers.wire.trading import fill_from_wire, rejection_from_wire, terms_to_wire

MAX_BASKET = 256
_KINDS = {kind.value: kind for kind in OrderFactKind}
_NOTHING_TO_CANCEL = ("ORDER_NOT_FOUND", "ORDER_FINAL", "ORDER_PENDING")


class GrpcOrders:
    """`Orders` over the orders server's channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = orders_service_pb2_grpc.OrdersServiceStub(channel)

    async def submit(self, account: str, execution_id: str, children: Sequence[Child]) -> None:
        for first in range(0, len(children), MAX_BASKET):
            request = orders_service_pb2.SubmitOrdersRequest(
                orders=[
                    orders_service_pb2.NewOrder(
                        client_order_id=child.client_order_id,
                        account=account,
                        terms=terms_to_wire(child.terms),
                        execution_id=execution_id,
                        traceparent=child.traceparent,
                    )
                    for child in children[first : first + MAX_BASKET]
                ]
            )
            try:
                await self._stub.SubmitOrders(request)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error

    async def cancel(self, account: str, client_order_id: str, request_id: str) -> bool:
        request = orders_service_pb2.CancelOrderRequest(
            request_id=request_id, account=account, client_order_id=client_order_id
        )
        try:
            await self._stub.CancelOrder(request)
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error)
            if refusal.reason in _NOTHING_TO_CANCEL:
                return refusal.reason == "ORDER_PENDING"
            raise refusal from error
        return True

    async def facts(self, after_sequence: int) -> AsyncIterator[OrderFacts]:
        request = orders_service_pb2.StreamOrderEventsRequest(
            children_only=True, resume_after_sequence=after_sequence
        )
        try:
            async for response in self._stub.StreamOrderEvents(request):
                yield OrderFacts(
                    [fact_from_wire(event) for event in response.events], response.sequence_reached
                )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        raise Unavailable("PEER_UNAVAILABLE", "orders ended the stream")


def fact_from_wire(event: order_event_pb2.OrderEvent) -> OrderFact:
    """Return what an order event says about a child."""
    order = event.order
    return OrderFact(
        event.sequence,
        _KINDS.get(event.kind, OrderFactKind.OTHER),
        order.execution_id,
        order.client_order_id,
        OrderState(order.state),
        fill_from_wire(event.fill) if event.HasField("fill") else None,
        fill_from_wire(event.corrected_fill) if event.HasField("corrected_fill") else None,
        rejection_from_wire(order.rejection) if order.HasField("rejection") else None,
        event.reason,
    )
