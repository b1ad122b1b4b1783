"""The risk server over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import structlog
from tapeline.risk.v1 import risk_service_pb2, risk_service_pb2_grpc

from servers.execution.domain.parameters import Parameters
from servers.model.kill_switch import KillSwitches
from servers.model.order import Rejection
from servers.wire.risk import follow_kill_switches, risk_unavailable
from servers.wire.trading import rejection_from_wire, side_to_wire


class GrpcRisk:
    """`Risk` over the risk server's channel."""

    def __init__(self, channel: grpc.aio.Channel, log: structlog.typing.FilteringBoundLogger) -> None:
        self._stub = risk_service_pb2_grpc.RiskServiceStub(channel)
        self._log = log

    async def check(self, execution_id: str, parameters: Parameters) -> Rejection | None:
        request = risk_service_pb2.CheckExecutionRequest(
            execution_id=execution_id,
            account=parameters.account,
            symbol=parameters.symbol,
            side=side_to_wire(parameters.side),
            quantity_nanos=parameters.quantity_nanos,
            limit_price_nanos=parameters.limit_price_nanos,
        )
        try:
            response = await self._stub.CheckExecution(request)
        except grpc.aio.AioRpcError as error:
            raise risk_unavailable(error) from error
        verdict = response.verdict
        return None if verdict.is_approved else rejection_from_wire(verdict.rejection)

    def kill_switches(self) -> AsyncIterator[KillSwitches]:
        return follow_kill_switches(self._stub, self._log)
