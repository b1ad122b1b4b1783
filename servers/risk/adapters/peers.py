"""What risk reads from orders, execution, portfolio and market_data."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from typing import Any

from tapeline.execution.v1 import execution_service_pb2, execution_service_pb2_grpc
from tapeline.marketdata.v1 import market_data_service_pb2, market_data_service_pb2_grpc
from tapeline.orders.v1 import orders_service_pb2, orders_service_pb2_grpc
from tapeline.portfolio.v1 import portfolio_service_pb2, portfolio_service_pb2_grpc

from servers.model.clock import NANOS_PER_SECOND, Clock
from servers.model.nanos import NANO
from servers.risk import wire
from servers.risk.books import Books
from servers.risk.domain.facts import OrderEventKind
from servers.risk.domain.market import Market
from servers.risk.rate_limits import RateLimits
from servers.runtime.channels import Channels
from servers.runtime.follow import Follower, Log
from servers.wire.trading import instrument_from_wire, quote_from_wire, time_from_wire

DAY_NANOS = 24 * 3600 * NANOS_PER_SECOND
STREAM_SYMBOLS = 500
HISTORY_BARS = 500
CURVE_SESSIONS = 20


class OrdersFeed:
    """Order events into the books."""

    def __init__(self, channels: Channels, books: Books, rates: RateLimits, clock: Clock, log: Log) -> None:
        self._stub = orders_service_pb2_grpc.OrdersServiceStub(channels.channel("orders"))
        self._books = books
        self._rates = rates
        self._clock = clock
        self._end = 0
        self.heard_at_nanos = 0
        self.follower = Follower("orders", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        after = self._books.orders_sequence
        page = await self._stub.ListOrderEvents(
            orders_service_pb2.ListOrderEventsRequest(after_sequence=after, page_size=1)
        )
        self._end = page.last_sequence
        stream: AsyncIterable[Any] = self._stub.StreamOrderEvents(
            orders_service_pb2.StreamOrderEventsRequest(resume_after_sequence=after)
        )
        if after == self._end:
            # Above the end, the journal of orders is behind what was taken in: the stream will refuse.
            self.follower.set_caught_up()
        return stream

    async def _take(self, message: orders_service_pb2.StreamOrderEventsResponse) -> None:
        for event in message.events:
            fact = wire.order_fact_from_wire(event)
            if fact is None:
                continue
            if fact.kind is OrderEventKind.CANCEL_REQUESTED and self.follower.caught_up.is_set():
                self._rates.count_cancel(fact.account, fact.terms.symbol, self._clock.now_nanos())
            self._books.apply_order(fact)
        self._books.orders_sequence = max(self._books.orders_sequence, message.sequence_reached)
        if self._books.orders_sequence >= self._end:
            self.heard_at_nanos = self._clock.now_nanos()
            self.follower.set_caught_up()


class ExecutionsFeed:
    """Events of parent orders into the books."""

    def __init__(self, channels: Channels, books: Books, clock: Clock, log: Log) -> None:
        self._stub = execution_service_pb2_grpc.ExecutionServiceStub(channels.channel("execution"))
        self._books = books
        self._clock = clock
        self._end = 0
        self.heard_at_nanos = 0
        self.follower = Follower("execution", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        after = self._books.executions_sequence
        page = await self._stub.ListExecutionEvents(
            execution_service_pb2.ListExecutionEventsRequest(after_sequence=after, page_size=1)
        )
        self._end = page.last_sequence
        stream: AsyncIterable[Any] = self._stub.StreamExecutionEvents(
            execution_service_pb2.StreamExecutionEventsRequest(resume_after_sequence=after)
        )
        if after == self._end:
            self.follower.set_caught_up()
        return stream

    async def _take(self, message: execution_service_pb2.StreamExecutionEventsResponse) -> None:
        for event in message.events:
            self._books.apply_parent(wire.parent_fact_from_wire(event))
        self._books.executions_sequence = max(self._books.executions_sequence, message.sequence_reached)
        if self._books.executions_sequence >= self._end:
            self.heard_at_nanos = self._clock.now_nanos()
            self.follower.set_caught_up()


class AdjustmentsFeed:
    """Portfolio's adjustments into the books. Its first heartbeat says that all have been sent."""

    def __init__(self, channels: Channels, books: Books, log: Log) -> None:
        self._stub = portfolio_service_pb2_grpc.PortfolioServiceStub(channels.channel("portfolio"))
        self._books = books
        self.follower = Follower("portfolio", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        stream: AsyncIterable[Any] = self._stub.StreamAdjustments(
            portfolio_service_pb2.StreamAdjustmentsRequest(
                resume_after_sequence=self._books.adjustments_sequence
            )
        )
        return stream

    async def _take(self, message: portfolio_service_pb2.StreamAdjustmentsResponse) -> None:
        for adjustment in message.adjustments:
            self._books.apply_adjustment(wire.adjustment_fact_from_wire(adjustment))
        if not message.adjustments:
            self.follower.set_caught_up()


class MarketFeed:
    """Instruments, quotes and the clock, and on demand what market_data knows of the past."""

    def __init__(self, channels: Channels, market: Market, books: Books, clock: Clock, log: Log) -> None:
        self._stub = market_data_service_pb2_grpc.MarketDataServiceStub(channels.channel("market_data"))
        self._market = market
        self._books = books
        self._clock = clock
        self._session = ""
        self.follower = Follower("market_data", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        await self._load_instruments()
        symbols = sorted(self._market.instruments)[:STREAM_SYMBOLS]
        stream: AsyncIterable[Any] = self._stub.StreamQuotes(
            market_data_service_pb2.StreamQuotesRequest(symbols=symbols)
        )
        return stream

    async def _load_instruments(self) -> None:
        calendars: dict[str, str] = {}
        token = ""
        while True:
            page = await self._stub.ListInstruments(
                market_data_service_pb2.ListInstrumentsRequest(page_size=1_000, page_token=token)
            )
            for message in page.instruments:
                instrument = instrument_from_wire(message)
                self._market.instruments[instrument.symbol] = instrument
                calendars[instrument.calendar] = instrument.symbol
            token = page.next_page_token
            if not token:
                break
        for calendar, symbol in calendars.items():
            session = await self._stub.GetSession(market_data_service_pb2.GetSessionRequest(symbol=symbol))
            self._market.take_zone(calendar, session.time_zone)

    async def _take(self, message: market_data_service_pb2.StreamQuotesResponse) -> None:
        market = self._market
        if message.HasField("time"):
            before = market.now_nanos
            market.take_time(time_from_wire(message.time), self._clock.now_nanos())
            if market.now_nanos // (60 * NANOS_PER_SECOND) != before // (60 * NANOS_PER_SECOND):
                self._books.roll_sessions()
        for quote in message.quotes:
            market.take_quote(quote_from_wire(quote))
        if self._books.unbased:
            self._books.take_base_prices()
        self.follower.set_caught_up()

    async def load_median_volume(self, symbol: str) -> None:
        """Ask for the trailing 20-day median volume of a symbol."""
        curve = await self._stub.GetVolumeCurve(
            market_data_service_pb2.GetVolumeCurveRequest(symbol=symbol, sessions=CURVE_SESSIONS)
        )
        self._market.median_volumes[symbol] = curve.median_daily_volume

    async def daily_closes(self, symbol: str) -> Mapping[int, float]:
        """Return session -> close in currency units, oldest first, the last `HISTORY_BARS` of them."""
        closes: dict[int, float] = {}
        token = ""
        while True:
            page = await self._stub.ListBars(
                market_data_service_pb2.ListBarsRequest(
                    symbol=symbol, length_nanos=DAY_NANOS, page_size=5_000, page_token=token
                )
            )
            for bar in page.bars:
                closes[bar.start_time_nanos // DAY_NANOS] = bar.close_price_nanos / NANO
            token = page.next_page_token
            if not token:
                return dict(sorted(closes.items())[-HISTORY_BARS:])
