"""What signals asks market_data, news and intelligence."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from typing import Any

import grpc
from tapeline.intelligence.v1 import intelligence_service_pb2_grpc
from tapeline.marketdata.v1 import market_data_service_pb2, market_data_service_pb2_grpc
from tapeline.news.v1 import news_service_pb2, news_service_pb2_grpc

from servers.model.errors import InvalidInput, TapelineError
from servers.runtime.channels import Channels
from servers.runtime.follow import Follower, Log
from servers.runtime.status import from_rpc_error
from servers.signals import wire
from servers.signals.domain.live import MINUTE_NANOS, Bars
from servers.signals.domain.signal import RegimeReading, Sentiment
from servers.signals.engine import SignalsEngine
from servers.signals.ports import SessionTimes

STREAM_SYMBOLS = 500
BARS_A_PAGE = 1_000
CALL_SECONDS = 2.0
REGIME_SECONDS = 1.0


class MarketData:
    """Sessions and bars of market_data."""

    def __init__(self, channels: Channels) -> None:
        self._stub = market_data_service_pb2_grpc.MarketDataServiceStub(channels.channel("market_data"))

    async def session(self, symbol: str) -> SessionTimes:
        """Return the session that is on, or is next. Raises TapelineError."""
        request = market_data_service_pb2.GetSessionRequest(symbol=symbol)
        try:
            answer = await self._stub.GetSession(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return SessionTimes(answer.open_time_nanos, answer.close_time_nanos)

    async def minutes(self, symbol: str, start_nanos: int, now_nanos: int) -> Bars:
        """Return the minutes from a start on that were over at `now_nanos`. Raises TapelineError."""
        found: list[Any] = []
        token = ""
        while True:
            request = market_data_service_pb2.ListBarsRequest(
                symbol=symbol,
                length_nanos=MINUTE_NANOS,
                start_time_nanos=start_nanos,
                page_size=BARS_A_PAGE,
                page_token=token,
            )
            try:
                page = await self._stub.ListBars(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error
            found += page.bars
            token = page.next_page_token
            if not token:
                return wire.bars_from_wire(found, now_nanos)


class MarketFeed:
    """Market time, and which instruments there are."""

    def __init__(self, channels: Channels, engine: SignalsEngine, symbols: Sequence[str], log: Log) -> None:
        self._stub = market_data_service_pb2_grpc.MarketDataServiceStub(channels.channel("market_data"))
        self._engine = engine
        self._symbols = tuple(symbols)
        self.follower = Follower("market_data", self._subscribe, self._take, log, engine.lose_market)

    async def _subscribe(self) -> AsyncIterable[Any]:
        symbols, token = list(self._symbols), ""
        while not self._symbols:
            page = await self._stub.ListInstruments(
                market_data_service_pb2.ListInstrumentsRequest(page_size=1_000, page_token=token)
            )
            symbols += [instrument.symbol for instrument in page.instruments]
            token = page.next_page_token
            if not token:
                break
        symbols = sorted(symbols)[:STREAM_SYMBOLS]
        self._engine.watch(symbols)
        stream: AsyncIterable[Any] = self._stub.StreamQuotes(
            market_data_service_pb2.StreamQuotesRequest(symbols=symbols)
        )
        return stream

    async def _take(self, message: market_data_service_pb2.StreamQuotesResponse) -> None:
        if message.HasField("time"):
            self._engine.take_time(message.time.event_time_nanos)


class NewsFeed:
    """What posts say, as it changes."""

    def __init__(self, channels: Channels, engine: SignalsEngine, log: Log) -> None:
        self._stub = news_service_pb2_grpc.NewsServiceStub(channels.channel("news"))
        self._engine = engine
        self._log = log
        self.follower = Follower("news", self._subscribe, self._take, log, engine.lose_news)

    async def _subscribe(self) -> AsyncIterable[Any]:
        stream: AsyncIterable[Any] = self._stub.StreamSentiment(news_service_pb2.StreamSentimentRequest())
        return stream

    async def _take(self, message: news_service_pb2.StreamSentimentResponse) -> None:
        sentiments: list[Sentiment] = []
        for one in message.sentiments:
            try:
                sentiments.append(wire.sentiment_from_wire(one))
            except InvalidInput as error:
                self._log.warning("a sentiment is malformed", entity=one.entity, message=error.message)
        self._engine.take_sentiment(sentiments, message.is_snapshot)


class Intelligence:
    """Intelligence's classification of regimes."""

    def __init__(self, channels: Channels, log: Log) -> None:
        self._stub = intelligence_service_pb2_grpc.IntelligenceServiceStub(channels.channel("intelligence"))
        self._log = log
        self._is_answering = True

    async def regime(
        self, symbol: str, closes_nanos: Sequence[int], sentiment: Sentiment | None, now_nanos: int
    ) -> RegimeReading | None:
        """Return the regime; None, with a word in the log the first time, when it cannot be had."""
        request = wire.regime_request(symbol, closes_nanos, sentiment)
        try:
            answer = await self._stub.ClassifyRegime(request, timeout=REGIME_SECONDS)
        except grpc.aio.AioRpcError as error:
            if self._is_answering:
                lost: TapelineError = from_rpc_error(error)
                self._log.warning("no regime", symbol=symbol, reason=lost.reason, message=lost.message[:200])
            self._is_answering = False
            return None
        self._is_answering = True
        return wire.regime_from_wire(answer, now_nanos)
