"""What portfolio reads from orders and market_data."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any

from tapeline.marketdata.v1 import market_data_service_pb2, market_data_service_pb2_grpc
from tapeline.orders.v1 import orders_service_pb2, orders_service_pb2_grpc

from servers.model.instrument import Instrument
from servers.portfolio import wire
from servers.portfolio.engine import PortfolioEngine
from servers.portfolio.ports import FillFact
from servers.runtime.channels import Channels
from servers.runtime.follow import Follower, Log
from servers.runtime.tracing import CONSUMER, AttributeValue, Span, Tracer
from servers.wire.trading import instrument_from_wire, quote_from_wire

STREAM_SYMBOLS = 500


class OrdersFeed:
    """Fills, busts and corrections into the ledger. Each continues the trace of its order."""

    def __init__(self, channels: Channels, engine: PortfolioEngine, tracer: Tracer, log: Log) -> None:
        self._stub = orders_service_pb2_grpc.OrdersServiceStub(channels.channel("orders"))
        self._engine = engine
        self._tracer = tracer
        self.follower = Follower("orders", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        stream: AsyncIterable[Any] = self._stub.StreamOrderEvents(
            orders_service_pb2.StreamOrderEventsRequest(resume_after_sequence=self._engine.orders_sequence)
        )
        return stream

    async def _take(self, message: orders_service_pb2.StreamOrderEventsResponse) -> None:
        found = (wire.fill_fact_from_wire(event) for event in message.events)
        facts = [fact for fact in found if fact is not None]
        spans = [self._span(fact) for fact in facts if fact.traceparent and self._tracer.is_on]
        await self._engine.take_fills(facts, message.sequence_reached)
        for span in spans:
            span.end()

    def _span(self, fact: FillFact) -> Span:
        span = self._tracer.start_span("portfolio book fill", fact.traceparent, kind=CONSUMER)
        attributes: dict[str, AttributeValue] = {
            "tapeline.account": fact.fill.account,
            "tapeline.symbol": fact.fill.symbol,
            "tapeline.client_order_id": fact.fill.client_order_id,
            "tapeline.execution_id": fact.fill.execution_id,
            "tapeline.orders_sequence": fact.sequence,
        }
        span.set(**attributes)
        return span


class MarketFeed:
    """Instruments and marks."""

    def __init__(self, channels: Channels, engine: PortfolioEngine, log: Log) -> None:
        self._stub = market_data_service_pb2_grpc.MarketDataServiceStub(channels.channel("market_data"))
        self._engine = engine
        self.follower = Follower("market_data", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        token = ""
        instruments: list[Instrument] = []
        while True:
            page = await self._stub.ListInstruments(
                market_data_service_pb2.ListInstrumentsRequest(page_size=1_000, page_token=token)
            )
            instruments += map(instrument_from_wire, page.instruments)
            token = page.next_page_token
            if not token:
                break
        self._engine.take_instruments(instruments)
        symbols = sorted(self._engine.instruments)[:STREAM_SYMBOLS]
        stream: AsyncIterable[Any] = self._stub.StreamQuotes(
            market_data_service_pb2.StreamQuotesRequest(symbols=symbols)
        )
        return stream

    async def _take(self, message: market_data_service_pb2.StreamQuotesResponse) -> None:
        self._engine.take_quotes(quote_from_wire(quote) for quote in message.quotes)
