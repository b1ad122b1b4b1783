"""The four servers that risk reads from, as real servers that say what a test has them say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.type.money_pb2 import Money
from tapeline.execution.v1 import execution_service_pb2, execution_service_pb2_grpc
from tapeline.marketdata.v1 import bar_pb2, market_data_service_pb2, market_data_service_pb2_grpc
from tapeline.orders.v1 import order_event_pb2, orders_service_pb2, orders_service_pb2_grpc
from tapeline.portfolio.v1 import portfolio_service_pb2, portfolio_service_pb2_grpc, position_pb2
from tapeline.risk.v1 import limits_pb2, risk_service_pb2, risk_service_pb2_grpc
from tapeline.trading.v1 import fill_pb2, instrument_pb2, market_pb2, order_pb2, side_pb2

from servers.model.errors import OutOfRange
from servers.risk.__main__ import build
from servers.risk.books import Books
from servers.risk.component import RiskServer
from servers.risk.settings import RiskSettings
from servers.runtime.channels import Channels
from servers.runtime.component import Context, Registration
from servers.runtime.running import RunningServer
from servers.runtime.server import make_context, start_server

NANO = 10**9
NOON = 1_700_000_000 * NANO
DAY = 86_400 * NANO


async def eventually(condition: Callable[[], Any], seconds: float = 8.0) -> Any:
    """Return what `condition` gives once it is true; fail when it is not in time."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert loop.time() < ends, "the condition did not come true in time"
        await asyncio.sleep(0.01)


@dataclass
class Stream:
    """A list that readers follow."""

    items: list[Any] = field(default_factory=list)
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, item: Any) -> None:
        async with self.grown:
            self.items.append(item)
            self.grown.notify_all()

    async def wait_above(self, count: int) -> None:
        async with self.grown:
            try:
                await asyncio.wait_for(self.grown.wait_for(lambda: len(self.items) > count), 0.2)
            except TimeoutError:
                return


class Peer:
    """A servicer that answers UNIMPLEMENTED to whatever risk and portfolio never ask."""

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)

        async def refuse(request: Any, context: Any) -> Any:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"nobody asks for {name} here")

        return refuse


class Orders(Peer):
    def __init__(self) -> None:
        self.events = Stream()
        self.cuts = 0

    def ListOrderEvents(self, request: Any, context: Any) -> Any:
        return orders_service_pb2.ListOrderEventsResponse(last_sequence=len(self.events.items))

    async def StreamOrderEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        at, cuts = request.resume_after_sequence, self.cuts
        if at > len(self.events.items):
            raise OutOfRange("SEQUENCE_AHEAD")
        while cuts == self.cuts:
            found = self.events.items[at:]
            at += len(found)
            yield orders_service_pb2.StreamOrderEventsResponse(events=found, sequence_reached=at)
            await self.events.wait_above(at)


class Executions(Peer):
    def __init__(self) -> None:
        self.events = Stream()

    def ListExecutionEvents(self, request: Any, context: Any) -> Any:
        return execution_service_pb2.ListExecutionEventsResponse(last_sequence=len(self.events.items))

    async def StreamExecutionEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        at = request.resume_after_sequence
        while True:
            found = self.events.items[at:]
            at += len(found)
            yield execution_service_pb2.StreamExecutionEventsResponse(events=found, sequence_reached=at)
            await self.events.wait_above(at)


class Portfolio(Peer):
    def __init__(self) -> None:
        self.adjustments = Stream()

    async def StreamAdjustments(self, request: Any, context: Any) -> AsyncIterator[Any]:
        at = request.resume_after_sequence
        while True:
            found = self.adjustments.items[at:]
            at += len(found)
            yield portfolio_service_pb2.StreamAdjustmentsResponse(adjustments=found, sequence_reached=at)
            await self.adjustments.wait_above(at)


class MarketData(Peer):
    """One instrument, ACME at 100.00; market time runs with every heartbeat."""

    def __init__(self) -> None:
        self.now = NOON
        self.price_nanos = 100 * NANO
        self.phase = market_pb2.MARKET_PHASE_CONTINUOUS
        self.median_volume = 1_000_000.0
        self.closes = [100.0 + (day % 7) for day in range(40)]
        self.is_mute = False

    def ListInstruments(self, request: Any, context: Any) -> Any:
        return market_data_service_pb2.ListInstrumentsResponse(instruments=[instrument("ACME")])

    def GetSession(self, request: Any, context: Any) -> Any:
        return market_data_service_pb2.GetSessionResponse(calendar="XNYS", time_zone="America/New_York")

    def GetVolumeCurve(self, request: Any, context: Any) -> Any:
        return market_data_service_pb2.GetVolumeCurveResponse(median_daily_volume=self.median_volume)

    def ListBars(self, request: Any, context: Any) -> Any:
        return market_data_service_pb2.ListBarsResponse(
            bars=[
                bar_pb2.Bar(start_time_nanos=day * DAY, close_price_nanos=round(close * NANO))
                for day, close in enumerate(self.closes)
            ]
        )

    async def StreamQuotes(self, request: Any, context: Any) -> AsyncIterator[Any]:
        while True:
            if not self.is_mute:
                self.now += NANO // 100
                yield market_data_service_pb2.StreamQuotesResponse(
                    quotes=[
                        market_pb2.Quote(
                            symbol="ACME",
                            bid_price_nanos=self.price_nanos - 10**7,
                            ask_price_nanos=self.price_nanos + 10**7,
                            last_price_nanos=self.price_nanos,
                            event_time_nanos=self.now,
                            phase=self.phase,
                        )
                    ],
                    time=market_pb2.MarketTime(event_time_nanos=self.now, speed=1.0),
                )
            await asyncio.sleep(0.02)


def instrument(symbol: str) -> Any:
    return instrument_pb2.Instrument(
        symbol=symbol,
        venue="PRACTICE",
        currency_code="USD",
        tick_bands=[instrument_pb2.TickBand(from_price_nanos=0, tick_size_nanos=10**7)],
        lot_size_nanos=NANO,
        min_quantity_nanos=NANO,
        calendar="XNYS",
        listing_state=instrument_pb2.LISTING_STATE_LISTED,
        short_sale_state=instrument_pb2.SHORT_SALE_STATE_PERMITTED,
    )


class Peers:
    """The four servers that risk reads from, at one address."""

    def __init__(self) -> None:
        self.orders, self.executions = Orders(), Executions()
        self.portfolio, self.market_data = Portfolio(), MarketData()

    def registrations(self) -> list[Registration]:
        return [
            Registration(orders_service_pb2_grpc.add_OrdersServiceServicer_to_server, self.orders),
            Registration(execution_service_pb2_grpc.add_ExecutionServiceServicer_to_server, self.executions),
            Registration(portfolio_service_pb2_grpc.add_PortfolioServiceServicer_to_server, self.portfolio),
            Registration(
                market_data_service_pb2_grpc.add_MarketDataServiceServicer_to_server, self.market_data
            ),
        ]

    def cut_streams(self) -> None:
        """End the present streams of order events."""
        self.orders.cuts += 1

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def order_event(
        self,
        kind: str,
        order_id: str,
        quantity: int,
        *,
        leaves: int | None = None,
        side: side_pb2.Side.ValueType = side_pb2.SIDE_BUY,
        state: str = "NEW",
        fill: int = 0,
        price_nanos: int = 100 * NANO,
        execution_id: str = "",
        account: str = "test",
    ) -> None:
        event = order_event_pb2.OrderEvent(
            sequence=len(self.orders.events.items) + 1,
            kind=getattr(order_event_pb2, f"ORDER_EVENT_KIND_{kind}"),
            order=order_pb2.Order(
                client_order_id=order_id,
                account=account,
                execution_id=execution_id,
                terms=terms(quantity, side, price_nanos),
                state=getattr(order_pb2, f"ORDER_STATE_{state}"),
                leaves_quantity_nanos=(quantity if leaves is None else leaves) * NANO,
            ),
        )
        if fill:
            event.fill.CopyFrom(
                fill_pb2.Fill(
                    venue="PRACTICE",
                    venue_execution_id=f"X{event.sequence}",
                    account=account,
                    client_order_id=order_id,
                    execution_id=execution_id,
                    symbol="ACME",
                    side=side,
                    quantity_nanos=fill * NANO,
                    price_nanos=price_nanos,
                    fee=Money(currency_code="USD"),
                    event_time_nanos=self.market_data.now,
                )
            )
        await self.orders.events.add(event)

    async def open_position(self, shares: int, account: str = "test") -> None:
        await self.portfolio.adjustments.add(
            position_pb2.Adjustment(
                sequence=len(self.portfolio.adjustments.items) + 1,
                kind=position_pb2.ADJUSTMENT_KIND_OPENING,
                account=account,
                symbol="ACME",
                quantity_nanos=shares * NANO,
                price_nanos=100 * NANO,
            )
        )


def terms(quantity: int, side: Any = side_pb2.SIDE_BUY, price_nanos: int = 100 * NANO) -> Any:
    return order_pb2.OrderTerms(
        symbol="ACME",
        side=side,
        order_type=order_pb2.ORDER_TYPE_LIMIT,
        time_in_force=order_pb2.TIME_IN_FORCE_DAY,
        quantity_nanos=quantity * NANO,
        limit_price_nanos=price_nanos,
    )


def check(order_id: str, quantity: int, **more: Any) -> Any:
    made = terms(quantity, more.pop("side", side_pb2.SIDE_BUY), more.pop("price_nanos", 100 * NANO))
    return risk_service_pb2.OrderCheck(
        **{"account": "test", "client_order_id": order_id, "terms": made, **more}
    )


@dataclass
class Mesh:
    """Risk and its peers."""

    peers: Peers
    peer_server: RunningServer
    settings: RiskSettings
    running: RunningServer | None = None
    component: RiskServer | None = None

    @property
    def context(self) -> Context:
        assert self.running is not None
        return self.running.context

    async def start_risk(self, *, wait: bool = True) -> None:
        context = await make_context("risk", self.settings)
        self.component = build(self.settings, context)
        self.running = await start_server(self.settings, context, self.component)
        if wait:
            await eventually(lambda: context.health.is_serving)

    async def stop_risk(self) -> None:
        if self.running is not None:
            await self.running.stop()
        self.running = None

    def change(self, **settings: Any) -> None:
        """Change settings of the next start."""
        self.settings = RiskSettings(**{**self.settings.model_dump(), **settings})

    @property
    def books(self) -> Books:
        assert self.component is not None
        return self.component.books

    @staticmethod
    def limits(**fields: Any) -> Any:
        """Return limits of the account "test" with nothing but `fields`."""
        return limits_pb2.Limits(**{"account": "test", **fields})

    def stub(self) -> Any:
        assert self.running is not None
        context = self.peer_server.context
        channels = Channels(
            {"risk": self.running.address}, tracer=context.telemetry.tracer, calls=context.telemetry.calls
        )
        self.channels.append(channels)
        return risk_service_pb2_grpc.RiskServiceStub(channels.channel("risk"))

    channels: list[Channels] = field(default_factory=list)

    async def close(self) -> None:
        for channels in self.channels:
            await channels.close()
        await self.stop_risk()
        await self.peer_server.stop()


LIMITS = """
[[limits]]
account = "test"
currency = "USD"
max_order_quantity = "1000"
price_collar = 0.05
max_position = "1000"
max_gross_exposure = "1000000"
buying_power = "1000000"
max_daily_loss = "10000"
"""
