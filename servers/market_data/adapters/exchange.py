"""The practice exchange as a `Venue`, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import grpc
from tapeline.exchange.v1 import exchange_service_pb2 as pb
from tapeline.exchange.v1.exchange_service_pb2_grpc import ExchangeServiceStub

from servers.market_data import wire
from servers.market_data.domain import Acknowledgement, Prints, VenueEvent, VenueSession
from servers.market_data.history import BarColumns
from servers.model.errors import Unavailable
from servers.runtime.status import from_rpc_error

if TYPE_CHECKING:
    from tapeline.exchange.v1.exchange_service_pb2_grpc import ExchangeServiceAsyncStub

PAGE_BATCHES = 100
PAGE_BARS = 5_000
SUBSCRIBER = "market_data"


class ExchangeVenue:
    """`servers.market_data.ports.Venue` over `ExchangeService`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: ExchangeServiceAsyncStub = ExchangeServiceStub(channel)

    async def session(self) -> VenueSession:
        try:
            return wire.venue_session_from_wire(await self._stub.GetSession(pb.GetSessionRequest()))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def list_trades(self, symbol: str, after_sequence: int) -> AsyncIterator[Prints]:
        token = ""
        while True:
            request = pb.ListTradesRequest(
                symbol=symbol, after_sequence=after_sequence, page_size=PAGE_BATCHES, page_token=token
            )
            try:
                page = await self._stub.ListTrades(request)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error
            for batch in page.batches:
                yield wire.prints_from_wire(batch)
            token = page.next_page_token
            if not token:
                return

    async def follow(
        self, resume_after: Mapping[str, int], acknowledgements: AsyncIterator[Acknowledgement]
    ) -> AsyncIterator[VenueEvent]:
        async def requests() -> AsyncIterator[pb.StreamMarketDataRequest]:
            first = pb.StreamMarketDataRequest(
                pace=True, subscriber=SUBSCRIBER, idle=True, resume_after_sequence=resume_after
            )
            async for acknowledgement in acknowledgements:
                request = first
                request.acknowledged_time_nanos = acknowledgement.time_nanos
                request.idle = acknowledgement.is_idle
                yield request
                first = pb.StreamMarketDataRequest()

        call = self._stub.StreamMarketData(requests())
        try:
            async for response in call:
                event = wire.venue_event_from_wire(response)
                if event is not None:
                    yield event
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()
        raise Unavailable("PEER_UNAVAILABLE", "the venue ended its feed")

    async def history(self, symbol: str, sessions: int) -> BarColumns:
        bars: list[pb.HistoryBar] = []
        token = ""
        while True:
            request = pb.ListHistoryBarsRequest(
                symbol=symbol, sessions=sessions, page_size=PAGE_BARS, page_token=token
            )
            try:
                page = await self._stub.ListHistoryBars(request)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error
            bars.extend(page.bars)
            token = page.next_page_token
            if not token:
                return wire.history_from_wire(bars)
