"""The exchange over gRPC, in this process, with its journal on disk, and a client of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from tapeline.exchange.v1 import exchange_service_pb2 as pb
from tapeline.exchange.v1 import exchange_service_pb2_grpc
from tapeline.trading.v1 import order_pb2

from servers.exchange.__main__ import build
from servers.exchange.settings import ExchangeSettings
from servers.runtime.server import make_context, start_server

NANO = 1_000_000_000
_ids = itertools.count(1)


async def eventually(condition: Callable[[], bool], timeout_seconds: float = 15.0) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    ends = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < ends, "did not happen in time"
        await asyncio.sleep(0.005)


@dataclass
class Client:
    """A participant and reader of a running exchange."""

    stub: Any
    reports: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    acknowledges: bool = True

    async def submit(self, symbol: str = "ACME", side: int = 1, shares: int = 100, **more: Any) -> Any:
        base: dict[str, Any] = {"order_type": 1, "time_in_force": 1, "quantity_nanos": shares * NANO}
        name = more.pop("client_order_id", f"c{next(_ids)}")
        terms = order_pb2.OrderTerms(symbol=symbol, side=side, **{**base, **more})  # type: ignore[arg-type]  # enum numbers
        entry = pb.OrderEntry(account="A", client_order_id=name, terms=terms)
        return (await self.stub.SubmitOrder(pb.SubmitOrderRequest(entry=entry))).report

    async def follow_reports(self, after: int = 0) -> None:
        request = pb.StreamExecutionReportsRequest(resume_after_sequence=after)
        async for message in self.stub.StreamExecutionReports(request):
            self.reports.extend(message.reports)

    async def follow_market(self, **first: Any) -> None:
        times: asyncio.Queue[int] = asyncio.Queue()

        async def requests() -> AsyncIterator[pb.StreamMarketDataRequest]:
            yield pb.StreamMarketDataRequest(subscriber="test", **first)
            while True:
                yield pb.StreamMarketDataRequest(acknowledged_time_nanos=await times.get())

        async for message in self.stub.StreamMarketData(requests()):
            self.events.append(message)
            if message.WhichOneof("event") == "time" and self.acknowledges:
                times.put_nowait(message.time.event_time_nanos)

    def of(self, kind: str) -> list[Any]:
        """Return the market data of one kind that has come."""
        return [getattr(event, kind) for event in self.events if event.WhichOneof("event") == kind]

    async def control(self, action: int, **more: Any) -> Any:
        request = pb.ControlSessionRequest(request_id=f"r{next(_ids)}", action=action, **more)  # type: ignore[arg-type]  # enum number
        return await self.stub.ControlSession(request)


Start = Callable[..., AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[Client]:
    """Run an exchange over `folder` and give a client of it."""
    options = ExchangeSettings(**{"data_dir": folder, "log_level": "error", "date": "2026-11-23", **settings})
    context = await make_context("exchange", options)
    server = await start_server(options, context, build(options, context))
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
    try:
        yield Client(exchange_service_pb2_grpc.ExchangeServiceStub(channel))
    finally:
        await channel.close(None)
        await server.stop()
