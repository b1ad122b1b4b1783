"""What a command says to a running mesh."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc
from tapeline.exchange.v1.exchange_service_pb2_grpc import ExchangeServiceStub
from tapeline.execution.v1.execution_service_pb2_grpc import ExecutionServiceStub
from tapeline.marketdata.v1.market_data_service_pb2_grpc import MarketDataServiceStub
from tapeline.orders.v1.orders_service_pb2_grpc import OrdersServiceStub
from tapeline.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tapeline.risk.v1.risk_service_pb2_grpc import RiskServiceStub

from servers.local.mesh import Mesh
from servers.local.tls import operator_certificates
from servers.runtime.channels import Channels
from servers.runtime.metrics import CallCollector
from servers.runtime.otlp import OtlpSpanExport
from servers.runtime.tracing import Tracer

CALL_SECONDS = 15.0


class MeshClient:
    """Stubs of every server of a mesh; use it with `async with`.

    Raises MeshError when the mesh speaks TLS and the operator's certificate is no good.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        certificates = operator_certificates(mesh)
        self._export = OtlpSpanExport("tapeline", mesh.otlp_endpoint(), certificates=certificates)
        self.tracer = Tracer(self._export.add)
        self._channels = Channels(
            {name: place.address for name, place in mesh.servers.items()},
            tracer=self.tracer,
            calls=CallCollector(),
            call_timeout_seconds=CALL_SECONDS,
            certificates=certificates,
        )
        self.exchange = ExchangeServiceStub(self._channels.channel("exchange"))
        self.execution = ExecutionServiceStub(self._channels.channel("execution"))
        self.market_data = MarketDataServiceStub(self._channels.channel("market_data"))
        self.orders = OrdersServiceStub(self._channels.channel("orders"))
        self.portfolio = PortfolioServiceStub(self._channels.channel("portfolio"))
        self.risk = RiskServiceStub(self._channels.channel("risk"))

    def channel(self, name: str) -> grpc.aio.Channel:
        """Return the channel to a server."""
        return self._channels.channel(name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channels.close()
        self._export.close(1.0)
