"""The servers that trade, real and in this process; signals alone is played by the test."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from tapeline.decision.v1 import decision_service_pb2 as pb
from tapeline.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from tapeline.execution.v1.execution_service_pb2_grpc import ExecutionServiceStub
from tapeline.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tapeline.risk.v1.risk_service_pb2_grpc import RiskServiceStub
from tapeline.signals.v1 import signal_pb2, signals_service_pb2, signals_service_pb2_grpc

from servers.decision.__main__ import build as build_decision
from servers.decision.settings import DecisionSettings
from servers.exchange.__main__ import build as build_exchange
from servers.exchange.settings import ExchangeSettings
from servers.execution.__main__ import build as build_execution
from servers.execution.settings import ExecutionSettings
from servers.local.mesh import pick_places
from servers.market_data.__main__ import build as build_market_data
from servers.market_data.settings import MarketDataSettings
from servers.model.nanos import NANO
from servers.orders.__main__ import build as build_orders
from servers.orders.settings import OrdersSettings
from servers.portfolio.__main__ import build as build_portfolio
from servers.portfolio.settings import PortfolioSettings
from servers.risk.__main__ import build as build_risk
from servers.risk.settings import RiskSettings
from servers.runtime.server import make_context, start_server
from servers.runtime.status import reason_of

ACCOUNT = "autopilot"
LIMITS = f"""
[[limits]]
account = "{ACCOUNT}"
currency = "USD"
max_order_notional = "5000000"
price_collar = 0.1
max_position = "1000000"
max_gross_exposure = "50000000"
max_reference_age_seconds = 300
"""
SERVERS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "exchange": (ExchangeSettings, build_exchange),
    "market_data": (MarketDataSettings, build_market_data),
    "risk": (RiskSettings, build_risk),
    "orders": (OrdersSettings, build_orders),
    "portfolio": (PortfolioSettings, build_portfolio),
    "execution": (ExecutionSettings, build_execution),
    "decision": (DecisionSettings, build_decision),
}
TRACE = "00-11111111111111111111111111111111-2222222222222222-01"


class Signals(signals_service_pb2_grpc.SignalsServiceServicer):
    """Says what the test says, to whoever listens."""

    def __init__(self) -> None:
        self.present: dict[str, signal_pb2.Signal] = {}
        self.listeners: list[asyncio.Queue[signal_pb2.Signal]] = []

    def say(self, signal: signal_pb2.Signal) -> None:
        self.present[signal.symbol] = signal
        for queue in self.listeners:
            queue.put_nowait(signal)

    async def StreamSignals(self, request: Any, context: Any) -> AsyncIterator[Any]:
        queue: asyncio.Queue[signal_pb2.Signal] = asyncio.Queue()
        self.listeners.append(queue)
        try:
            yield signals_service_pb2.StreamSignalsResponse(
                is_snapshot=True, signals=list(self.present.values())
            )
            while True:
                yield signals_service_pb2.StreamSignalsResponse(signals=[await queue.get()])
        finally:
            self.listeners.remove(queue)


class TradingMesh:
    def __init__(self, folder: Path, **decision: Any) -> None:
        self.folder = folder
        self.signals = Signals()  # type: ignore[abstract]  # decision streams, and asks nothing else
        self.running: dict[str, Any] = {}
        self.decision_settings = decision

    async def begin(self) -> None:
        (self.folder / "limits.toml").write_text(LIMITS)
        self.places = {
            name: place.address for name, place in pick_places([*SERVERS, "signals", "news"], 0).items()
        }
        self.signals_server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        signals_service_pb2_grpc.add_SignalsServiceServicer_to_server(self.signals, self.signals_server)
        self.signals_server.add_insecure_port(self.places["signals"])
        await self.signals_server.start()
        for name in SERVERS:
            await self.start(name)
        self.channels = {name: grpc.aio.insecure_channel(address) for name, address in self.places.items()}
        self.decision = DecisionServiceStub(self.channels["decision"])
        self.execution = ExecutionServiceStub(self.channels["execution"])
        self.portfolio = PortfolioServiceStub(self.channels["portfolio"])
        self.risk = RiskServiceStub(self.channels["risk"])

    async def start(self, name: str) -> None:
        settings_type, build = SERVERS[name]
        more: dict[str, Any] = {
            "exchange": {"seed": 1, "speed": 200, "symbols": "ACME,BOLT", "date": "2026-11-23"},
            "risk": {"limits_file": self.folder / "limits.toml", "settle_seconds": 0.05},
            "decision": {
                "mode": "autopilot",
                "retry_seconds": 0.1,
                "longest_horizon_seconds": 240,
                **self.decision_settings,
            },
        }.get(name, {})
        settings = settings_type(
            port=int(self.places[name].rpartition(":")[2]), metrics_port=0, data_dir=self.folder / name,
            peers=self.places, log_level="error", drain_notice_seconds=0, drain_seconds=0.2, **more,
        )  # fmt: skip
        settings.data_dir.mkdir(exist_ok=True)
        context = await make_context(name, settings)
        component = build(settings, context)
        if inspect.isawaitable(component):
            component = await component
        self.running[name] = await start_server(settings, context, component)

    async def stop(self, name: str) -> None:
        await self.running.pop(name).stop()

    async def end(self) -> None:
        for channel in self.channels.values():
            await channel.close(None)
        for name in reversed(list(self.running)):
            await self.stop(name)
        await self.signals_server.stop(0)

    async def would(self, symbol: str = "ACME") -> Any:
        """Return what would be decided now; None while a peer is not ready or the venue's clock not known."""
        request = pb.ProposeRequest(symbol=symbol, is_dry_run=True)
        try:
            return (await self.decision.Propose(request)).decision
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE and reason_of(error) != "NO_MARKET_DATA":
                raise
            return None

    async def decisions(self, **asked: Any) -> list[Any]:
        response = await self.decision.ListDecisions(pb.ListDecisionsRequest(**asked))
        return list(response.decisions)

    async def until(self, is_so: Callable[[], Any], seconds: float = 60) -> Any:
        """Return the first true answer of an asynchronous question."""
        async with asyncio.timeout(seconds):
            while not (answer := await is_so()):  # noqa: ASYNC110  # what is asked for lies in servers
                await asyncio.sleep(0.02)
        return answer

    async def until_open(self) -> None:
        async def is_open() -> bool:
            decision = await self.would()
            return decision is not None and decision.reason_code in ("NO_SIGNAL", "SIGNALS_AWAITED")

        await self.until(is_open)

    async def until_quoted(self) -> None:
        """Wait until a server that was restarted has a quote again."""

        async def is_quoted() -> bool:
            decision = await self.would()
            return decision is not None and decision.inputs.mid_price_nanos > 0

        await self.until(is_quoted)

    async def signal(self, symbol: str = "ACME", bps: float = 60.0, **asked: Any) -> signal_pb2.Signal:
        decision = await self.until(lambda: self.would(symbol))
        now = decision.event_time_nanos
        made = signal_pb2.Signal(
            signal_id=f"{symbol}-{now}-{bps:g}",
            symbol=symbol,
            event_time_nanos=now,
            probability_up=0.7 if bps > 0 else 0.3,
            price_only_probability_up=0.5,
            expected_return_bps=bps,
            half_life_nanos=1_800 * NANO,
            horizon_nanos=1_800 * NANO,
            model_version="signals/1/test",
            sentiment_model_versions=["market_llm/1/test"],
            post_ids=["p1", "p2", "p3"],
            flags=signal_pb2.SignalFlags(is_calibrated=True),
            traceparent=TRACE,
            author_count=3,
            source_count=2,
            volatility_bps=40.0,
        )
        made.MergeFrom(signal_pb2.Signal(**asked))
        self.signals.say(made)
        return made
