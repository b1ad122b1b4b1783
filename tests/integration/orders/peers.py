"""Risk and the practice venue over gRPC, with nothing behind them: what the real adapters talk to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from tapeline.exchange.v1 import exchange_service_pb2 as exchange_pb2
from tapeline.exchange.v1 import exchange_service_pb2_grpc, report_pb2
from tapeline.risk.v1 import risk_service_pb2 as risk_pb2
from tapeline.risk.v1 import risk_service_pb2_grpc
from tapeline.trading.v1 import order_pb2

from servers.model.errors import TapelineError
from servers.runtime.status import to_status


async def refuse(context: Any, refusal: TapelineError) -> None:
    code, message, metadata = to_status(refusal)
    await context.abort(code, message, metadata)


@dataclass
class PlainRisk(risk_service_pb2_grpc.RiskServiceServicer):
    """Answers with `verdicts`, or `refusal`; its state streams what `states` holds and then breaks off."""

    verdicts: list[risk_pb2.Verdict] = field(default_factory=list)
    refusal: TapelineError | None = None
    states: list[list[risk_pb2.StreamRiskStateResponse]] = field(default_factory=list)
    checked: list[risk_pb2.OrderCheck] = field(default_factory=list)

    async def CheckOrders(self, request: Any, context: Any) -> risk_pb2.CheckOrdersResponse:
        if self.refusal is not None:
            await refuse(context, self.refusal)
        self.checked.extend(request.checks)
        return risk_pb2.CheckOrdersResponse(verdicts=self.verdicts)

    async def StreamRiskState(
        self, request: Any, context: Any
    ) -> AsyncIterator[risk_pb2.StreamRiskStateResponse]:
        for message in self.states.pop(0) if self.states else []:
            yield message


@dataclass
class PlainVenue(exchange_service_pb2_grpc.ExchangeServiceServicer):
    """Keeps what it is sent. `refusal(request)` may return an error; reports are streamed from `log`."""

    refusal: Callable[[Any], TapelineError | None] = lambda request: None
    received: list[Any] = field(default_factory=list)
    log: list[report_pb2.ExecutionReport] = field(default_factory=list)
    state: order_pb2.OrderState.ValueType = order_pb2.ORDER_STATE_NEW

    async def _take(self, request: Any, context: Any) -> None:
        refusal = self.refusal(request)
        if refusal is not None:
            await refuse(context, refusal)
        self.received.append(request)

    async def SubmitOrders(self, request: Any, context: Any) -> exchange_pb2.SubmitOrdersResponse:
        await self._take(request, context)
        return exchange_pb2.SubmitOrdersResponse()

    async def CancelOrder(self, request: Any, context: Any) -> exchange_pb2.CancelOrderResponse:
        await self._take(request, context)
        return exchange_pb2.CancelOrderResponse()

    async def ReplaceOrder(self, request: Any, context: Any) -> exchange_pb2.ReplaceOrderResponse:
        await self._take(request, context)
        return exchange_pb2.ReplaceOrderResponse()

    async def GetOrder(self, request: Any, context: Any) -> exchange_pb2.GetOrderResponse:
        await self._take(request, context)
        return exchange_pb2.GetOrderResponse(order=order_pb2.Order(state=self.state, venue_order_id="V1"))

    async def GetSession(self, request: Any, context: Any) -> exchange_pb2.GetSessionResponse:
        await self._take(request, context)
        return exchange_pb2.GetSessionResponse(last_sequence=len(self.log))

    async def StreamExecutionReports(
        self, request: Any, context: Any
    ) -> AsyncIterator[exchange_pb2.StreamExecutionReportsResponse]:
        await self._take(request, context)
        yield exchange_pb2.StreamExecutionReportsResponse(
            reports=self.log[request.resume_after_sequence :], sequence_reached=len(self.log)
        )
        await asyncio.sleep(0)


async def serve(add: Callable[[Any, Any], None], servicer: object) -> tuple[grpc.aio.Server, str]:
    """Serve one of them; return the server and its address."""
    server = grpc.aio.server()
    add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"
