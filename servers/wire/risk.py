"""What servers that ask risk have in common: its silence as an error, and its kill switches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
from tapeline.risk.v1 import risk_service_pb2 as pb

from servers.model.errors import Unavailable
from servers.model.kill_switch import KillSwitches
from servers.runtime.follow import Log
from servers.runtime.status import reason_of

if TYPE_CHECKING:
    from tapeline.risk.v1.risk_service_pb2_grpc import RiskServiceAsyncStub

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


def risk_unavailable(error: grpc.aio.AioRpcError) -> Unavailable:
    """Return the refusal of what risk did not answer for."""
    return Unavailable(
        "RISK_UNAVAILABLE",
        f"risk did not answer: {error.code().name} {reason_of(error)}",
        risk_status=error.code().name,
        risk_reason=reason_of(error),
    )


class SwitchBoard:
    """Folds risk's stream of states into the switches that are on."""

    def __init__(self) -> None:
        self._on: set[str] = set()

    def take(self, message: pb.StreamRiskStateResponse) -> KillSwitches:
        """Take in one message and return what is on after it."""
        if message.is_snapshot:
            self._on.clear()
        for switch in message.kill_switches:
            (self._on.add if switch.is_on else self._on.discard)(switch.account)
        return KillSwitches("" in self._on, frozenset(self._on - {""}))


async def follow_kill_switches(stub: RiskServiceAsyncStub, log: Log) -> AsyncIterator[KillSwitches]:
    """Yield the switches now and after every change, for ever; a lost connection is made again.

    While risk is away the switches stay as they were: nothing new passes without its check anyway.
    """
    board = SwitchBoard()
    pause_seconds = FIRST_PAUSE_SECONDS
    while True:
        try:
            async for message in stub.StreamRiskState(pb.StreamRiskStateRequest()):
                pause_seconds = FIRST_PAUSE_SECONDS
                switches = board.take(message)
                if message.is_snapshot or message.kill_switches:
                    yield switches
        except grpc.aio.AioRpcError as error:
            log.info("risk's state ended", status=error.code().name)
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
