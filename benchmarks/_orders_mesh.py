"""The part of the mesh that `benchmarks/orders.py` measures: each server a process of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from tapeline.exchange.v1 import exchange_service_pb2, exchange_service_pb2_grpc
from tapeline.trading.v1 import market_pb2

from benchmarks._servers import READY_SECONDS, ServerProcess, start_server, stop_servers, until_serving
from servers.local.mesh import RECEIVER, ServerPlace, pick_places

SERVERS = (RECEIVER, "exchange", "market_data", "portfolio", "risk", "orders")
SETTINGS = {
    # A session that is open from its first seconds, at live speed, so that prices are never stale.
    "exchange": {"pre_open_seconds": "1", "symbols": "ACME,BOLT"},
    "risk": {"follow_execution": "false"},
}


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[dict[str, ServerPlace]]:
    """Run the servers as `tapeline up` does, telemetry included; yield their addresses."""
    places = pick_places(SERVERS, 0)
    processes: list[ServerProcess] = []
    try:
        processes.extend(start_server(name, places, folder, SETTINGS.get(name, {})) for name in SERVERS)
        for name, place in places.items():
            await until_serving(name, place.address, folder)
        yield places
    finally:
        await stop_servers(processes)


async def market_is_open(exchange: str) -> None:
    """Wait until every symbol trades continuously."""
    ends = time.monotonic() + READY_SECONDS
    async with grpc.aio.insecure_channel(exchange) as channel:
        stub = exchange_service_pb2_grpc.ExchangeServiceStub(channel)
        while time.monotonic() < ends:
            session = await stub.GetSession(exchange_service_pb2.GetSessionRequest())
            phases = {status.phase for status in session.statuses}
            if phases == {market_pb2.MARKET_PHASE_CONTINUOUS}:
                return
            await asyncio.sleep(0.2)
    raise RuntimeError("the practice market did not open")
