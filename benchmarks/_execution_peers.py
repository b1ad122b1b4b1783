"""market_data, orders and risk as `benchmarks/execution.py` plays them, around a practice venue."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
from tapeline.marketdata.v1 import market_data_service_pb2 as md
from tapeline.marketdata.v1 import market_data_service_pb2_grpc
from tapeline.orders.v1 import order_event_pb2, orders_service_pb2, orders_service_pb2_grpc
from tapeline.risk.v1 import risk_service_pb2, risk_service_pb2_grpc
from tapeline.trading.v1 import market_pb2, order_pb2

from servers.execution.adapters.memory import OPEN_NANOS, PracticeFeed, PracticeVenue, practice_instrument
from servers.execution.domain.events import Child
from servers.execution.domain.tape import Prints
from servers.execution.ports import OrderFact, OrderFactKind
from servers.model.errors import FailedPrecondition
from servers.model.market import MarketTime, Quote, TradingStatus
from servers.runtime.status import to_status
from servers.wire.trading import (
    fill_to_wire,
    instrument_to_wire,
    quote_to_wire,
    status_to_wire,
    terms_from_wire,
    time_to_wire,
)


class MarketData(market_data_service_pb2_grpc.MarketDataServiceServicer):
    """The practice venue's market."""

    def __init__(self, venue: PracticeVenue) -> None:
        self.venue = venue

    async def ListInstruments(self, request: Any, context: Any) -> Any:
        return md.ListInstrumentsResponse(instruments=[instrument_to_wire(practice_instrument())])

    async def GetQuote(self, request: Any, context: Any) -> Any:
        return md.GetQuoteResponse(
            quote=quote_to_wire(self.venue.quote), event_time_nanos=self.venue.now_nanos
        )

    async def GetSession(self, request: Any, context: Any) -> Any:
        return md.GetSessionResponse(open_time_nanos=OPEN_NANOS, close_time_nanos=self.venue.close_nanos)

    async def GetVolumeCurve(self, request: Any, context: Any) -> Any:
        return md.GetVolumeCurveResponse(
            shares=[1 / 78] * 78, bin_nanos=300 * 10**9, sessions=5, median_daily_volume=2e7
        )

    async def GetVwap(self, request: Any, context: Any) -> Any:
        return md.GetVwapResponse(eligibility_rule="all prints", own_fills_on_tape=True)

    async def StreamMarket(self, requests: Any, context: Any) -> AsyncIterator[md.StreamMarketResponse]:
        feed = PracticeFeed(self.venue)

        async def read() -> None:
            async for request in requests:
                if request.symbols:
                    after = dict(request.resume_after_sequence)
                    feed.subscribe({symbol: after.get(symbol) for symbol in request.symbols})
                if request.acknowledged_time_nanos:
                    feed.acknowledge(request.acknowledged_time_nanos, is_idle=request.idle)

        reading = asyncio.create_task(read())
        try:
            async for message in feed.messages():
                match message:
                    case Prints():
                        yield md.StreamMarketResponse(trades=_batch(message))
                    case Quote():
                        yield md.StreamMarketResponse(quote=quote_to_wire(message))
                    case TradingStatus():
                        yield md.StreamMarketResponse(status=status_to_wire(message))
                    case MarketTime():
                        yield md.StreamMarketResponse(time=time_to_wire(message))
        finally:
            reading.cancel()
            feed.close()


class Orders(orders_service_pb2_grpc.OrdersServiceServicer):
    """Takes children to the venue at once; `arrived` is when the first request since it was 0 came in."""

    def __init__(self, venue: PracticeVenue) -> None:
        self.venue = venue
        self.arrived = 0.0

    async def SubmitOrders(self, request: Any, context: Any) -> Any:
        self.arrived = self.arrived or time.perf_counter()
        for order in request.orders:
            child = Child(order.client_order_id, terms_from_wire(order.terms), 0)
            self.venue.submit(order.account, order.execution_id, child)
        return orders_service_pb2.SubmitOrdersResponse()

    async def CancelOrder(self, request: Any, context: Any) -> Any:
        if not self.venue.cancel(request.client_order_id):
            await context.abort(*to_status(FailedPrecondition("ORDER_FINAL")))
        return orders_service_pb2.CancelOrderResponse()

    async def StreamOrderEvents(self, request: Any, context: Any) -> Any:
        reached = request.resume_after_sequence
        while True:
            self.venue.facts_changed.clear()
            facts = self.venue.facts[reached:]
            reached += len(facts)
            yield orders_service_pb2.StreamOrderEventsResponse(
                events=[_event(fact) for fact in facts], sequence_reached=reached
            )
            if len(self.venue.facts) == reached:
                await self.venue.facts_changed.wait()


class Risk(risk_service_pb2_grpc.RiskServiceServicer):
    """Approves."""

    async def CheckExecution(self, request: Any, context: Any) -> Any:
        return risk_service_pb2.CheckExecutionResponse(verdict=risk_service_pb2.Verdict(is_approved=True))

    async def StreamRiskState(self, request: Any, context: Any) -> Any:
        yield risk_service_pb2.StreamRiskStateResponse(is_snapshot=True)
        await asyncio.Event().wait()


async def serve(venue: PracticeVenue) -> tuple[grpc.aio.Server, str, Orders]:
    """Serve all three on one port of loopback; return the server, its address and orders."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    # They serve what execution calls; the rest stays unimplemented.
    market_data = MarketData(venue)  # type: ignore[abstract]
    orders = Orders(venue)  # type: ignore[abstract]
    market_data_service_pb2_grpc.add_MarketDataServiceServicer_to_server(market_data, server)
    orders_service_pb2_grpc.add_OrdersServiceServicer_to_server(orders, server)
    risk_service_pb2_grpc.add_RiskServiceServicer_to_server(Risk(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}", orders


def _batch(prints: Prints) -> market_pb2.TradeBatch:
    return market_pb2.TradeBatch(
        symbol=prints.symbol,
        count=len(prints.times),
        first_sequence=prints.first_sequence,
        event_time_nanos=prints.times.tobytes(),
        price_nanos=prints.prices.tobytes(),
        size_nanos=prints.sizes.tobytes(),
        flags=prints.flags.tobytes(),
    )


def _event(fact: OrderFact) -> order_event_pb2.OrderEvent:
    kind = fact.kind if fact.kind is not OrderFactKind.OTHER else 1
    return order_event_pb2.OrderEvent(
        sequence=fact.sequence,
        kind=order_event_pb2.OrderEventKind.ValueType(kind),
        order=order_pb2.Order(
            client_order_id=fact.client_order_id,
            execution_id=fact.execution_id,
            state=order_pb2.OrderState.ValueType(fact.state),
        ),
        fill=None if fact.fill is None else fill_to_wire(fact.fill),
    )
