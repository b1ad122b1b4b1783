"""The risk server over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import structlog
from tapeline.risk.v1 import risk_service_pb2, risk_service_pb2_grpc

from servers.execution.domain.parameters import Parameters
from servers.execution.ports import KillSwitches
from servers.model.errors import Unavailable
from servers.model.order import Rejection
from servers.runtime.status import reason_of
from servers.wire.trading import rejection_from_wire, side_to_wire

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


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
            raise Unavailable(
                "RISK_UNAVAILABLE",
                f"risk did not answer: {error.code().name} {reason_of(error)}",
                risk_status=error.code().name,
                risk_reason=reason_of(error),
            ) from error
        verdict = response.verdict
        return None if verdict.is_approved else rejection_from_wire(verdict.rejection)

    async def kill_switches(self) -> AsyncIterator[KillSwitches]:
        known: set[str] = set()
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                async for message in self._stub.StreamRiskState(risk_service_pb2.StreamRiskStateRequest()):
                    pause_seconds = FIRST_PAUSE_SECONDS
                    if message.is_snapshot:
                        known.clear()
                    for switch in message.kill_switches:
                        (known.add if switch.is_on else known.discard)(switch.account)
                    if message.is_snapshot or message.kill_switches:
                        yield KillSwitches("" in known, frozenset(known - {""}))
            except grpc.aio.AioRpcError as error:
                # The switches stay as they were; every child passes risk's own check anyway.
                self._log.info("risk's state ended", status=error.code().name)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
