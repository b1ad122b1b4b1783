"""The risk server over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
import structlog
from tapeline.risk.v1 import risk_service_pb2, risk_service_pb2_grpc

from servers.model.errors import Unavailable
from servers.model.order import Rejection
from servers.orders import wire
from servers.orders.ports import KillSwitches, OrderCheck
from servers.runtime.status import reason_of
from servers.wire.trading import rejection_from_wire

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


class GrpcRisk:
    """`Risk` over the risk server's channel."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        log: structlog.typing.FilteringBoundLogger,
        timeout_seconds: float = 2.0,
    ) -> None:
        self._stub = risk_service_pb2_grpc.RiskServiceStub(channel)
        self._log = log
        self._timeout_seconds = timeout_seconds

    async def check(self, checks: Sequence[OrderCheck]) -> Sequence[Rejection | None]:
        request = risk_service_pb2.CheckOrdersRequest(checks=[wire.check_to_wire(check) for check in checks])
        try:
            response = await self._stub.CheckOrders(request, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(
                "RISK_UNAVAILABLE",
                f"risk did not answer: {error.code().name} {reason_of(error)}",
                risk_status=error.code().name,
                risk_reason=reason_of(error),
            ) from error
        if len(response.verdicts) != len(checks):
            raise Unavailable("RISK_UNAVAILABLE", "risk answered with another number of verdicts")
        return [
            None if verdict.is_approved else rejection_from_wire(verdict.rejection)
            for verdict in response.verdicts
        ]

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
                        if switch.is_on:
                            known.add(switch.account)
                        else:
                            known.discard(switch.account)
                    if message.is_snapshot or message.kill_switches:
                        yield KillSwitches("" in known, frozenset(known - {""}))
            except grpc.aio.AioRpcError as error:
                # The switches stay as they were. Nothing new is accepted without a check anyway.
                self._log.info("risk's state ended", status=error.code().name)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
