"""The orders server over gRPC, with its own journal on disk and a venue and risk in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from tapeline.orders.v1 import orders_service_pb2 as pb
from tapeline.orders.v1 import orders_service_pb2_grpc
from tapeline.trading.v1 import order_pb2, side_pb2

from servers.orders.__main__ import OrdersServer
from servers.orders.adapters.memory import MemoryRisk, MemoryVenue
from servers.orders.settings import OrdersSettings
from servers.runtime.running import RunningServer
from servers.runtime.server import make_context, start_server

NANO = 1_000_000_000


async def eventually(condition: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    ends = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < ends, "did not happen in time"
        await asyncio.sleep(0.002)


@dataclass
class Desk:
    """A running orders server with what is around it."""

    folder: Path
    venue: MemoryVenue
    risk: MemoryRisk
    server: RunningServer
    channel: grpc.aio.Channel
    stub: orders_service_pb2_grpc.OrdersServiceAsyncStub

    async def state(self, client_order_id: str, account: str = "MAIN") -> int:
        """Return the order's state."""
        return (await self.order(client_order_id, account)).state

    async def order(self, client_order_id: str, account: str = "MAIN") -> order_pb2.Order:
        """Return the order."""
        response = await self.stub.GetOrder(
            pb.GetOrderRequest(account=account, client_order_id=client_order_id)
        )
        return response.order

    @property
    def component(self) -> OrdersServer:
        """The server without its transport."""
        component = self.server._component
        assert isinstance(component, OrdersServer)
        return component

    async def becomes(self, client_order_id: str, state: int) -> order_pb2.Order:
        """Wait until the order is in `state` and return it."""
        return await self.becomes_of("MAIN", client_order_id, state)

    async def becomes_of(self, account: str, client_order_id: str, state: int) -> order_pb2.Order:
        """Wait until the order of an account is in `state` and return it."""
        ends = time.monotonic() + 10.0
        while (order := await self.order(client_order_id, account)).state != state:
            assert time.monotonic() < ends, f"{client_order_id} stays in {order.state}, not {state}"
            await asyncio.sleep(0.002)
        return order

    async def accepting(self) -> None:
        """Wait until new orders are accepted: until then they are refused as NOT_READY."""
        ends = time.monotonic() + 10.0
        while time.monotonic() < ends:
            try:
                await self.stub.SubmitOrder(pb.SubmitOrderRequest(order=new_order("probe")))
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.002)
            else:
                return
        raise AssertionError("the server never accepted orders")

    async def stop(self) -> None:
        await self.channel.close(None)
        await self.server.stop()

    async def crash(self) -> None:
        """Stop without draining."""
        await self.channel.close(None)
        await self.server.stop(is_failed=True)
        await self.server._component.stop()


def new_order(
    client_order_id: str,
    quantity: int = 100,
    price: int = 50,
    account: str = "MAIN",
    execution_id: str = "",
    symbol: str = "ACME",
    side: side_pb2.Side.ValueType = side_pb2.SIDE_BUY,
) -> pb.NewOrder:
    return pb.NewOrder(
        client_order_id=client_order_id,
        account=account,
        execution_id=execution_id,
        terms=order_pb2.OrderTerms(
            symbol=symbol,
            side=side,
            order_type=order_pb2.ORDER_TYPE_LIMIT,
            time_in_force=order_pb2.TIME_IN_FORCE_DAY,
            quantity_nanos=quantity * NANO,
            limit_price_nanos=price * NANO,
        ),
    )


async def start_desk(folder: Path, venue: MemoryVenue, risk: MemoryRisk, **options: object) -> Desk:
    settings = OrdersSettings(port=0, data_dir=folder, drain_notice_seconds=0, **options)  # type: ignore[arg-type]
    context = await make_context("orders", settings)
    server = await start_server(settings, context, OrdersServer(settings, context, risk, venue))
    channel = grpc.aio.insecure_channel(server.address)
    stub = orders_service_pb2_grpc.OrdersServiceStub(channel)
    return Desk(folder, venue, risk, server, channel, stub)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = await start_desk(tmp_path, MemoryVenue(), MemoryRisk())
    await desk.accepting()
    yield desk
    await desk.stop()
