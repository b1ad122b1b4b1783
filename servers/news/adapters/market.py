"""market_data: market time, the session, and who can be spoken of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from tapeline.marketdata.v1 import market_data_service_pb2 as pb
from tapeline.marketdata.v1 import market_data_service_pb2_grpc

from servers.news.ports import Log
from servers.runtime.channels import Channels
from servers.runtime.status import from_rpc_error

PAUSE_SECONDS = 0.5
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Session:
    """The session that is or comes next, UTC epoch nanoseconds, and what is traded in it."""

    open_time_nanos: int
    close_time_nanos: int
    names: dict[str, tuple[str, ...]]


class GrpcMarket:
    """`MarketTimes` over the market_data server's channel, and its reference data."""

    def __init__(self, channels: Channels, log: Log) -> None:
        self._stub = market_data_service_pb2_grpc.MarketDataServiceStub(channels.channel("market_data"))
        self._log = log

    async def names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of every instrument; waits until market_data answers."""
        while True:
            try:
                return await self._names()
            except grpc.aio.AioRpcError as error:
                self._log.info("market_data does not answer yet", reason=from_rpc_error(error).reason)
            await asyncio.sleep(PAUSE_SECONDS)

    async def session(self) -> Session:
        """Return the session that is or comes next, with its instruments. Raises TapelineError."""
        try:
            names = await self._names()
            answer = await self._stub.GetSession(pb.GetSessionRequest(symbol=min(names)))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return Session(answer.open_time_nanos, answer.close_time_nanos, names)

    async def follow(self) -> AsyncIterator[int]:
        last = 0
        while True:
            try:
                symbol = min(await self._names())
                async for message in self._stub.StreamQuotes(pb.StreamQuotesRequest(symbols=[symbol])):
                    if message.HasField("time") and message.time.event_time_nanos > last:
                        last = message.time.event_time_nanos
                        yield last
            except grpc.aio.AioRpcError as error:
                self._log.info("market time lost", reason=from_rpc_error(error).reason)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _names(self) -> dict[str, tuple[str, ...]]:
        names: dict[str, tuple[str, ...]] = {}
        token = ""
        while True:
            page = await self._stub.ListInstruments(
                pb.ListInstrumentsRequest(page_size=PAGE, page_token=token)
            )
            for one in page.instruments:
                names[one.symbol] = tuple(dict.fromkeys((one.display_name, *one.aliases)))
            token = page.next_page_token
            if not token:
                return names
