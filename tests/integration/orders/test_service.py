"""The orders server through its RPCs."""

from __future__ import annotations

from tapeline.orders.v1 import orders_service_pb2 as pb
from tapeline.trading.v1 import order_pb2

from tests.integration.orders.conftest import NANO, Desk, new_order


async def test_an_order_goes_from_submission_to_filled(desk: Desk) -> None:
    response = await desk.stub.SubmitOrder(pb.SubmitOrderRequest(order=new_order("one")))
    assert response.order.state == order_pb2.ORDER_STATE_PENDING_NEW
    assert response.order.leaves_quantity_nanos == 100 * NANO
    await desk.becomes("one", order_pb2.ORDER_STATE_NEW)
    desk.venue.fill(("MAIN", "one"), 40 * NANO, 50 * NANO)
    await desk.becomes("one", order_pb2.ORDER_STATE_PARTIALLY_FILLED)
    desk.venue.fill(("MAIN", "one"), 60 * NANO, 49 * NANO)
    order = await desk.becomes("one", order_pb2.ORDER_STATE_FILLED)
    assert order.filled_quantity_nanos == 100 * NANO
    assert order.average_price_nanos == 49_400_000_000
    fills = await desk.stub.ListFills(pb.ListFillsRequest(account="MAIN"))
    assert [fill.quantity_nanos for fill in fills.fills] == [40 * NANO, 60 * NANO]
