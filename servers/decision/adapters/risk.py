"""The risk server: exposure when something is sized, and the kill switch."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any, Protocol

import grpc
from tapeline.risk.v1 import risk_service_pb2 as pb
from tapeline.risk.v1 import risk_service_pb2_grpc

from servers.decision.ports import Exposure, Log
from servers.runtime.channels import Channels
from servers.runtime.follow import Follower
from servers.runtime.status import from_rpc_error
from servers.wire.risk import SwitchBoard


class GrpcRisk:
    """`Risk` over the risk server's channel. Asked each time: what sizes an order is never kept."""

    def __init__(self, channels: Channels) -> None:
        self._stub = risk_service_pb2_grpc.RiskServiceStub(channels.channel("risk"))

    async def exposures(self, account: str) -> Mapping[str, Exposure]:
        try:
            response = await self._stub.GetExposure(pb.GetExposureRequest(account=account))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return {
            one.symbol: Exposure(
                one.position_nanos,
                one.open_buy_nanos + one.reserved_buy_nanos,
                one.open_sell_nanos + one.reserved_sell_nanos,
                one.reference_price_nanos,
            )
            for one in response.exposures
        }


class OnKillSwitch(Protocol):
    """Told whenever the switch may have changed."""

    def __call__(self, *, is_on: bool) -> None:
        """Take in whether the account is held."""
        ...


class RiskFeed:
    """Kill switches of the account and of all. While risk is away the last word holds."""

    def __init__(self, channels: Channels, account: str, on_kill_switch: OnKillSwitch, log: Log) -> None:
        self._stub = risk_service_pb2_grpc.RiskServiceStub(channels.channel("risk"))
        self._account = account
        self._board = SwitchBoard()
        self._tell: Callable[..., None] = on_kill_switch
        self.follower = Follower("risk", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        stream: AsyncIterable[Any] = self._stub.StreamRiskState(pb.StreamRiskStateRequest())
        return stream

    async def _take(self, message: pb.StreamRiskStateResponse) -> None:
        self._tell(is_on=self._board.take(message).stop(self._account))
