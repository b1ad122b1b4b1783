"""The gRPC edge of market data: single answers here, streams in `streams.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from tapeline.marketdata.v1 import market_data_service_pb2 as pb
from tapeline.marketdata.v1 import market_data_service_pb2_grpc

from servers.market_data import wire
from servers.market_data.engine import MarketDataEngine
from servers.market_data.streams import MarketStreams
from servers.model.clock import Clock
from servers.wire.trading import instrument_to_wire, quote_to_wire

Call = grpc.aio.ServicerContext[Any, Any]


class MarketDataService(market_data_service_pb2_grpc.MarketDataServiceServicer):
    """`tapeline.marketdata.v1.MarketDataService`."""

    def __init__(self, engine: MarketDataEngine, streams: MarketStreams, wall_clock: Clock) -> None:
        self._engine = engine
        self._streams = streams
        self._wall_clock = wall_clock

    def GetQuote(self, request: pb.GetQuoteRequest, context: Call) -> pb.GetQuoteResponse:
        quote = self._engine.quote(request.symbol)
        return pb.GetQuoteResponse(
            quote=quote_to_wire(quote), event_time_nanos=self._engine.market_time_nanos()
        )

    async def ListBars(self, request: pb.ListBarsRequest, context: Call) -> pb.ListBarsResponse:
        bars, token = await self._engine.list_bars(
            request.symbol,
            request.length_nanos,
            request.start_time_nanos,
            request.end_time_nanos,
            request.page_size,
            request.page_token,
        )
        return pb.ListBarsResponse(
            bars=[wire.bar_to_wire(request.symbol, bar) for bar in bars], next_page_token=token
        )

    def ListTrades(self, request: pb.ListTradesRequest, context: Call) -> pb.ListTradesResponse:
        runs, token = self._engine.list_trades(
            request.symbol,
            request.after_sequence,
            request.start_time_nanos,
            request.end_time_nanos,
            request.page_size,
            request.page_token,
        )
        return pb.ListTradesResponse(
            batches=[wire.prints_to_wire(prints, self._wall_clock.now_nanos()) for prints in runs],
            next_page_token=token,
        )

    def ListInstruments(
        self, request: pb.ListInstrumentsRequest, context: Call
    ) -> pb.ListInstrumentsResponse:
        instruments, token = self._engine.list_instruments(
            request.symbols, request.page_size, request.page_token
        )
        return pb.ListInstrumentsResponse(
            instruments=[instrument_to_wire(instrument) for instrument in instruments], next_page_token=token
        )

    async def GetIndicators(
        self, request: pb.GetIndicatorsRequest, context: Call
    ) -> pb.GetIndicatorsResponse:
        starts, series = await self._engine.indicators(
            request.symbol, request.length_nanos, request.bar_count, wire.specs_from_wire(request.indicators)
        )
        return wire.indicators_to_wire(starts, series)

    def GetVolumeProfile(
        self, request: pb.GetVolumeProfileRequest, context: Call
    ) -> pb.GetVolumeProfileResponse:
        profile = self._engine.profile(
            request.symbol,
            request.start_time_nanos,
            request.end_time_nanos,
            request.price_step_nanos,
            request.value_area_share,
        )
        return wire.profile_to_wire(profile)

    async def GetVolumeCurve(
        self, request: pb.GetVolumeCurveRequest, context: Call
    ) -> pb.GetVolumeCurveResponse:
        return wire.curve_to_wire(
            await self._engine.curve(request.symbol, request.bin_nanos, request.sessions)
        )

    def GetVwap(self, request: pb.GetVwapRequest, context: Call) -> pb.GetVwapResponse:
        vwap = self._engine.vwap(
            request.symbol,
            request.start_time_nanos,
            request.end_time_nanos,
            without_auctions=request.exclude_auctions,
        )
        return wire.vwap_to_wire(
            vwap,
            without_auctions=request.exclude_auctions,
            own_fills_on_tape=self._engine.own_fills_on_tape(),
            eligibility_rule=self._engine.eligibility_rule(),
        )

    async def GetSession(self, request: pb.GetSessionRequest, context: Call) -> pb.GetSessionResponse:
        return wire.session_to_wire(
            *await self._engine.session(request.calendar, request.symbol, request.date)
        )

    async def StreamTrades(
        self, request: pb.StreamTradesRequest, context: Call
    ) -> AsyncIterator[pb.StreamTradesResponse]:
        async with aclosing(self._streams.trades(request.symbols, request.resume_after_sequence)) as events:
            async for event in events:
                yield wire.trades_to_wire(event)

    async def StreamQuotes(
        self, request: pb.StreamQuotesRequest, context: Call
    ) -> AsyncIterator[pb.StreamQuotesResponse]:
        async with aclosing(self._streams.quotes(request.symbols)) as updates:
            async for update in updates:
                yield wire.quotes_to_wire(update)

    async def StreamMarket(
        self, request_iterator: AsyncIterator[pb.StreamMarketRequest], context: Call
    ) -> AsyncIterator[pb.StreamMarketResponse]:
        requests = (wire.market_request_from_wire(request) async for request in request_iterator)
        async with aclosing(self._streams.market(requests)) as events:
            async for event in events:
                yield wire.market_event_to_wire(event)
