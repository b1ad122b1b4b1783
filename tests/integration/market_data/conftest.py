"""market_data over real gRPC, in process, following a venue that the test writes."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tapeline.marketdata.v1.market_data_service_pb2_grpc import MarketDataServiceStub

from servers.market_data.__main__ import MarketDataServer, build
from servers.market_data.settings import MarketDataSettings
from servers.runtime.running import RunningServer
from servers.runtime.server import make_context, start_server

_spec = importlib.util.spec_from_file_location("market_data_venue", Path(__file__).with_name("venue.py"))
assert _spec is not None
assert _spec.loader is not None
venue_module = importlib.util.module_from_spec(_spec)
sys.modules["market_data_venue"] = venue_module
_spec.loader.exec_module(venue_module)


class Running:
    """One market_data server and its client."""

    def __init__(self, server: RunningServer, component: MarketDataServer, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.component = component
        self.channel = channel
        self.stub: Any = MarketDataServiceStub(channel)

    async def in_step(self) -> None:
        assert await self.component._feed.wait_in_step(5.0)

    async def has(self, symbol: str, last_sequence: int) -> None:
        """Wait until the tape has come to a sequence."""
        market = self.component._market
        await eventually(
            lambda: symbol in market.tapes and market.tapes[symbol].last_sequence >= last_sequence
        )

    async def reached(self, time_nanos: int) -> None:
        """Wait until the venue's clock has been heard at a time."""
        await eventually(lambda: self.component._market.time.event_time_nanos >= time_nanos)

    async def stop(self) -> None:
        await self.channel.close(None)
        await self.server.stop()


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def venue() -> AsyncIterator[Any]:
    made = venue_module.PracticeVenue()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def start(venue: Any, tmp_path: Path) -> AsyncIterator[Start]:
    running: list[Running] = []

    async def start_one(**settings: Any) -> Running:
        chosen = MarketDataSettings(
            **{
                "data_dir": tmp_path / "market_data",
                "peers": {"exchange": f"127.0.0.1:{venue.port}"},
                "metrics_port": 0,
                "drain_notice_seconds": 0,
                "log_level": "error",
                **settings,
            }
        )
        context = await make_context("market_data", chosen)
        component = build(chosen, context)
        server = await start_server(chosen, context, component)
        one = Running(server, component, grpc.aio.insecure_channel(server.address))
        running.append(one)
        return one

    yield start_one
    for one in running:
        await one.stop()


@pytest.fixture
async def market_data(start: Start) -> Running:
    one = await start()
    await one.in_step()
    return one


async def eventually(is_it: Callable[[], Any], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not is_it():  # noqa: ASYNC110  # any state of the server may be the condition
            await asyncio.sleep(0.005)


@pytest.fixture(name="eventually")
def _eventually() -> Any:
    return eventually
