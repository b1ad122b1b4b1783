"""market_data: quotes and market time as they come, and what the past says of a symbol."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import grpc
from tapeline.marketdata.v1 import market_data_service_pb2 as pb
from tapeline.marketdata.v1 import market_data_service_pb2_grpc

from servers.decision.market import MarketView
from servers.decision.ports import Log, SymbolFacts
from servers.model.clock import NANOS_PER_SECOND
from servers.model.errors import NotFound
from servers.model.instrument import Instrument, ListingState, ShortSaleState
from servers.runtime.channels import Channels
from servers.runtime.follow import Follower
from servers.runtime.status import from_rpc_error
from servers.wire.trading import instrument_from_wire, quote_from_wire

DAY_NANOS = 24 * 3600 * NANOS_PER_SECOND
SESSIONS, LEAST_SESSIONS = 20, 5
STREAM_SYMBOLS = 500


class GrpcHistory:
    """`History` over the market_data server's channel. What it says holds until the session closes."""

    def __init__(self, channels: Channels) -> None:
        self._stub = market_data_service_pb2_grpc.MarketDataServiceStub(channels.channel("market_data"))
        self._facts: dict[str, SymbolFacts] = {}

    async def facts(self, symbol: str, now_nanos: int) -> SymbolFacts:
        known = self._facts.get(symbol)
        if known is not None and now_nanos < known.session_close_nanos:
            return known
        try:
            self._facts[symbol] = await self._ask(symbol)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return self._facts[symbol]

    async def _ask(self, symbol: str) -> SymbolFacts:
        instrument = await self._instrument(symbol)
        session = await self._stub.GetSession(pb.GetSessionRequest(symbol=symbol))
        curve = await self._stub.GetVolumeCurve(pb.GetVolumeCurveRequest(symbol=symbol, sessions=SESSIONS))
        bars = await self._stub.ListBars(
            pb.ListBarsRequest(
                symbol=symbol,
                length_nanos=DAY_NANOS,
                start_time_nanos=session.open_time_nanos - 2 * SESSIONS * DAY_NANOS,
                end_time_nanos=session.open_time_nanos,
            )
        )
        is_listed = instrument.listing_state is ListingState.LISTED
        return SymbolFacts(
            daily_volatility([bar.close_price_nanos for bar in bars.bars]) if is_listed else 0.0,
            curve.median_daily_volume,
            session.open_time_nanos,
            session.close_time_nanos,
            instrument.lot_size_nanos,
            instrument.short_sale_state is ShortSaleState.PERMITTED,
            instrument.currency_code,
        )

    async def _instrument(self, symbol: str) -> Instrument:
        response = await self._stub.ListInstruments(pb.ListInstrumentsRequest(symbols=[symbol]))
        for message in response.instruments:
            if message.symbol == symbol:
                return instrument_from_wire(message)
        raise NotFound("SYMBOL_UNKNOWN", f"no instrument {symbol}", symbol=symbol)


class QuotesFeed:
    """Quotes of all instruments, and the venue's clock."""

    def __init__(
        self, channels: Channels, market: MarketView, on_time: Callable[[], Awaitable[None]], log: Log
    ) -> None:
        self._stub = market_data_service_pb2_grpc.MarketDataServiceStub(channels.channel("market_data"))
        self._market = market
        self._on_time = on_time
        self.follower = Follower("market_data", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        symbols: list[str] = []
        token = ""
        while True:
            page = await self._stub.ListInstruments(
                pb.ListInstrumentsRequest(page_size=1_000, page_token=token)
            )
            symbols += [message.symbol for message in page.instruments]
            token = page.next_page_token
            if not token:
                break
        request = pb.StreamQuotesRequest(symbols=sorted(symbols)[:STREAM_SYMBOLS])
        stream: AsyncIterable[Any] = self._stub.StreamQuotes(request)
        return stream

    async def _take(self, message: pb.StreamQuotesResponse) -> None:
        for quote in message.quotes:
            self._market.take(quote_from_wire(quote))
        if message.HasField("time"):
            self._market.now_nanos = max(self._market.now_nanos, message.time.event_time_nanos)
        await self._on_time()


def daily_volatility(closes: list[int]) -> float:
    """Return the standard deviation of log returns between the last sessions' closes; 0 with too few."""
    last = closes[-(SESSIONS + 1) :]
    if len(last) <= LEAST_SESSIONS:
        return 0.0
    return statistics.stdev(math.log(after / before) for before, after in itertools.pairwise(last))
