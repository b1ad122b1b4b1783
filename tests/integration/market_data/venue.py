"""A venue for tests: a real gRPC ExchangeService whose feed is written by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import numpy as np
from tapeline.exchange.v1 import exchange_service_pb2 as pb
from tapeline.exchange.v1 import exchange_service_pb2_grpc
from tapeline.trading.v1 import market_pb2

from servers.calendars import Calendars

NANO = 1_000_000_000
SECOND = NANO
SYMBOLS = ("ACME", "BOLT", "CRUX", "DYNE")


def column(values: Sequence[int]) -> bytes:
    return np.asarray(values, "<i8").tobytes()


def batch(
    symbol: str,
    first_sequence: int,
    times: Sequence[int],
    prices: Sequence[float],
    sizes: Sequence[float],
    flags: Sequence[int] | None = None,
    cancelled: Sequence[int] | None = None,
) -> market_pb2.TradeBatch:
    return market_pb2.TradeBatch(
        symbol=symbol,
        count=len(times),
        first_sequence=first_sequence,
        event_time_nanos=column(times),
        price_nanos=column([round(price * NANO) for price in prices]),
        size_nanos=column([round(size * NANO) for size in sizes]),
        flags=column(flags if flags is not None else [1] * len(times)),
        cancelled_sequence=column(cancelled) if cancelled is not None else b"",
    )


class PracticeVenue(exchange_service_pb2_grpc.ExchangeServiceServicer):
    """Holds a tape; what the test prints goes to the subscribers and stays for ListTrades."""

    def __init__(self, date: str = "2024-03-11", symbols: Sequence[str] = SYMBOLS) -> None:
        session = Calendars().session_for("XNYS", date)
        assert session is not None
        self.date = date
        self.open, self.close = session.open_time_nanos, session.close_time_nanos
        self.symbols = list(symbols)
        self.now = self.open
        self.phase = market_pb2.MARKET_PHASE_CONTINUOUS
        self.prints: dict[str, list[market_pb2.TradeBatch]] = {symbol: [] for symbol in symbols}
        self.history: dict[str, list[pb.HistoryBar]] = {}
        self.history_calls = 0
        self.requests: list[pb.StreamMarketDataRequest] = []
        self.subscribers: list[asyncio.Queue[pb.StreamMarketDataResponse | None]] = []
        self.heard = asyncio.Condition()
        self.server: grpc.aio.Server | None = None
        self.port = 0

    # ---------------------------------------------------------------- what the test does

    async def start(self) -> None:
        self.server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        exchange_service_pb2_grpc.add_ExchangeServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.server.start()

    async def stop(self) -> None:
        assert self.server is not None
        for subscriber in self.subscribers:
            subscriber.put_nowait(None)
        await self.server.stop(0)
        self.subscribers.clear()

    def last_sequence(self, symbol: str) -> int:
        kept = self.prints[symbol]
        return kept[-1].first_sequence + kept[-1].count - 1 if kept else 0

    def trade(
        self,
        symbol: str,
        prices: Sequence[float],
        sizes: Sequence[float],
        *,
        at: Sequence[int] | None = None,
        flags: Sequence[int] | None = None,
        cancelled: Sequence[int] | None = None,
        is_sent: bool = True,
        first_sequence: int | None = None,
    ) -> market_pb2.TradeBatch:
        """Print; with `is_sent` False the print is on the venue's tape and lost on its feed."""
        times = at if at is not None else [self.now] * len(prices)
        made = batch(
            symbol, first_sequence or self.last_sequence(symbol) + 1, times, prices, sizes, flags, cancelled
        )
        self.prints[symbol].append(made)
        if is_sent:
            self.send(pb.StreamMarketDataResponse(trades=made))
        return made

    def quote(self, symbol: str, bid: float, ask: float, count: int = 1) -> None:
        def twice(value: float) -> bytes:
            return column([0] * (count - 1) + [round(value * NANO)])

        self.send(
            pb.StreamMarketDataResponse(
                quotes=market_pb2.QuoteBatch(
                    symbol=symbol,
                    count=count,
                    event_time_nanos=column([self.now] * count),
                    bid_price_nanos=twice(bid),
                    bid_size_nanos=twice(100),
                    ask_price_nanos=twice(ask),
                    ask_size_nanos=twice(200),
                )
            )
        )

    def status(self, symbol: str) -> market_pb2.TradingStatus:
        return market_pb2.TradingStatus(
            symbol=symbol,
            phase=self.phase,
            event_time_nanos=self.now,
            session_open_time_nanos=self.open,
            session_close_time_nanos=self.close,
        )

    def time(self, seconds: float = 0.0) -> None:
        """Move the clock and send it."""
        self.now += round(seconds * NANO)
        self.send(pb.StreamMarketDataResponse(time=self._time()))

    def send(self, response: pb.StreamMarketDataResponse) -> None:
        for subscriber in self.subscribers:
            subscriber.put_nowait(response)

    def _time(self) -> market_pb2.MarketTime:
        return market_pb2.MarketTime(event_time_nanos=self.now, speed=200.0)

    # ---------------------------------------------------------------- what market_data asks

    async def GetSession(self, request: Any, context: Any) -> pb.GetSessionResponse:
        return pb.GetSessionResponse(
            time=self._time(),
            statuses=[self.status(symbol) for symbol in self.symbols],
            flow="simulated",
            session_date=self.date,
            calendar="XNYS",
        )

    async def ListTrades(self, request: pb.ListTradesRequest, context: Any) -> pb.ListTradesResponse:
        after = int(request.page_token or request.after_sequence)
        left = [made for made in self.prints[request.symbol] if made.first_sequence + made.count - 1 > after]
        page = left[:2]
        token = str(page[-1].first_sequence + page[-1].count - 1) if len(left) > 2 else ""
        return pb.ListTradesResponse(batches=page, next_page_token=token)

    async def ListHistoryBars(
        self, request: pb.ListHistoryBarsRequest, context: Any
    ) -> pb.ListHistoryBarsResponse:
        self.history_calls += 1
        bars = self.history.get(request.symbol, [])
        start = int(request.page_token or 0)
        token = str(start + 500) if len(bars) > start + 500 else ""
        return pb.ListHistoryBarsResponse(bars=bars[start : start + 500], next_page_token=token)

    async def StreamMarketData(
        self, request_iterator: AsyncIterator[pb.StreamMarketDataRequest], context: Any
    ) -> AsyncIterator[pb.StreamMarketDataResponse]:
        queue: asyncio.Queue[pb.StreamMarketDataResponse | None] = asyncio.Queue()
        requests = aiter(request_iterator)
        first = await anext(requests)
        await self._hear(first)
        for symbol, after in first.resume_after_sequence.items():
            for made in self.prints.get(symbol, []):
                if made.first_sequence > after:
                    queue.put_nowait(pb.StreamMarketDataResponse(trades=made))
        queue.put_nowait(pb.StreamMarketDataResponse(time=self._time()))
        self.subscribers.append(queue)

        async def listen() -> None:
            async for request in requests:
                await self._hear(request)

        listening = asyncio.create_task(listen())
        try:
            while (response := await queue.get()) is not None:
                yield response
        finally:
            listening.cancel()
            if queue in self.subscribers:
                self.subscribers.remove(queue)

    async def _hear(self, request: pb.StreamMarketDataRequest) -> None:
        async with self.heard:
            self.requests.append(request)
            self.heard.notify_all()

    async def wait_heard(self, is_it: Any, seconds: float = 5.0) -> None:
        """Wait until the last request of market_data fulfils `is_it`."""
        async with asyncio.timeout(seconds), self.heard:
            await self.heard.wait_for(lambda: bool(self.requests) and is_it(self.requests[-1]))
