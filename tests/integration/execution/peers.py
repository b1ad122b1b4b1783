"""market_data, orders and risk as gRPC servers over the practice venue of execution's own fakes."""

from __future__ import annotations

import asyncio
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
from servers.model.errors import FailedPrecondition, NotFound
from servers.model.market import MarketTime, Quote, TradingStatus
from servers.model.order import Rejection
from servers.runtime.status import to_status
from servers.wire.trading import (
    fill_to_wire,
    instrument_to_wire,
    quote_to_wire,
    rejection_to_wire,
    status_to_wire,
    terms_from_wire,
    time_to_wire,
)


def batch(prints: Prints) -> market_pb2.TradeBatch:
    return market_pb2.TradeBatch(
        symbol=prints.symbol,
        count=len(prints.times),
        first_sequence=prints.first_sequence,
        event_time_nanos=prints.times.tobytes(),
        price_nanos=prints.prices.tobytes(),
        size_nanos=prints.sizes.tobytes(),
        flags=prints.flags.tobytes(),
    )


class MarketData(market_data_service_pb2_grpc.MarketDataServiceServicer):
    def __init__(self, venue: PracticeVenue) -> None:
        self.venue = venue

    async def ListInstruments(self, request: Any, context: Any) -> Any:
        known = [symbol for symbol in request.symbols if symbol == self.venue.symbol]
        if not known:
            await context.abort(*to_status(NotFound("SYMBOL_UNKNOWN")))
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

    async def ListTrades(self, request: Any, context: Any) -> Any:
        pages = [prints for prints in self.venue.prints if prints.times[-1] >= request.start_time_nanos]
        first = int(request.page_token or 0)
        more = first + 20 < len(pages)
        return md.ListTradesResponse(
            batches=[batch(prints) for prints in pages[first : first + 20]],
            next_page_token=str(first + 20) if more else "",
        )

    async def StreamMarket(self, requests: Any, context: Any) -> Any:
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
                        yield md.StreamMarketResponse(trades=batch(message))
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
    def __init__(self, venue: PracticeVenue) -> None:
        self.venue = venue
        self.traceparents: list[str] = []

    async def SubmitOrders(self, request: Any, context: Any) -> Any:
        for order in request.orders:
            child = Child(order.client_order_id, terms_from_wire(order.terms), 0)
            self.traceparents.append(order.traceparent)
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
                events=[event(fact) for fact in facts], sequence_reached=reached
            )
            if len(self.venue.facts) == reached:
                await self.venue.facts_changed.wait()


def event(fact: OrderFact) -> order_event_pb2.OrderEvent:
    kind = fact.kind if fact.kind is not OrderFactKind.OTHER else 1
    return order_event_pb2.OrderEvent(
        sequence=fact.sequence,
        kind=order_event_pb2.OrderEventKind.ValueType(kind),
        order=order_pb2.Order(
            client_order_id=fact.client_order_id,
            execution_id=fact.execution_id,
            state=order_pb2.OrderState.ValueType(fact.state),
            rejection=None if fact.rejection is None else rejection_to_wire(fact.rejection),
        ),
        fill=None if fact.fill is None else fill_to_wire(fact.fill),
    )


class Risk(risk_service_pb2_grpc.RiskServiceServicer):
    def __init__(self) -> None:
        self.rejection: Rejection | None = None
        self.switches: asyncio.Queue[risk_service_pb2.KillSwitch] = asyncio.Queue()

    async def CheckExecution(self, request: Any, context: Any) -> Any:
        verdict = risk_service_pb2.Verdict(is_approved=self.rejection is None)
        if self.rejection is not None:
            verdict.rejection.CopyFrom(rejection_to_wire(self.rejection))
        return risk_service_pb2.CheckExecutionResponse(verdict=verdict)

    async def StreamRiskState(self, request: Any, context: Any) -> Any:
        yield risk_service_pb2.StreamRiskStateResponse(is_snapshot=True)
        while True:
            switch = await self.switches.get()
            yield risk_service_pb2.StreamRiskStateResponse(kill_switches=[switch])


async def serve(venue: PracticeVenue) -> tuple[grpc.aio.Server, dict[str, str], Orders, Risk]:
    """Serve all three on one port of loopback; return the server, peer addresses, orders and risk."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    # They serve what execution calls; the rest stays unimplemented.
    orders, risk = Orders(venue), Risk()  # type: ignore[abstract]
    market_data = MarketData(venue)  # type: ignore[abstract]  # likewise
    market_data_service_pb2_grpc.add_MarketDataServiceServicer_to_server(market_data, server)
    orders_service_pb2_grpc.add_OrdersServiceServicer_to_server(orders, server)
    risk_service_pb2_grpc.add_RiskServiceServicer_to_server(risk, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, dict.fromkeys(("market_data", "orders", "risk"), f"127.0.0.1:{port}"), orders, risk
