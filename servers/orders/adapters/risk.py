"""The risk server over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc
import structlog
from tapeline.risk.v1 import risk_service_pb2, risk_service_pb2_grpc

from servers.model.errors import Unavailable
from servers.model.kill_switch import KillSwitches
from servers.model.order import Rejection
from servers.orders import wire
from servers.orders.ports import OrderCheck
from servers.wire.risk import follow_kill_switches, risk_unavailable
from servers.wire.trading import rejection_from_wire


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
            raise risk_unavailable(error) from error
        if len(response.verdicts) != len(checks):
            raise Unavailable("RISK_UNAVAILABLE", "risk answered with another number of verdicts")
        return [
            None if verdict.is_approved else rejection_from_wire(verdict.rejection)
            for verdict in response.verdicts
        ]

    def kill_switches(self) -> AsyncIterator[KillSwitches]:
        return follow_kill_switches(self._stub, self._log)
