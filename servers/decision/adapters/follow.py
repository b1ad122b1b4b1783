"""Following a peer's stream: resume and reconnect."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import grpc

from servers.decision.ports import Log
from servers.model.errors import TapelineError
from servers.runtime.status import from_rpc_error

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
_ORDINARY = frozenset({"PEER_UNAVAILABLE", "NOT_READY", "SHUTTING_DOWN"})


class Follower:
    """Keeps one subscription alive for as long as the server runs.

    Args:
        name: what is followed, for the log.
        subscribe: opens the stream, from where the reader stands, and yields its messages.
        take: takes in one message.
        log: told of losses.
    """

    def __init__(
        self,
        name: str,
        subscribe: Callable[[], Awaitable[AsyncIterable[Any]]],
        take: Callable[[Any], Awaitable[None]],
        log: Log,
    ) -> None:
        self.name = name
        self.is_connected = False
        self._subscribe = subscribe
        self._take = take
        self._log = log

    async def run(self) -> None:
        """Follow until cancelled. An error of our own ends it; one of the peer makes it try again."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async for message in await self._subscribe():
                    self.is_connected = True
                    pause = FIRST_PAUSE_SECONDS
                    await self._take(message)
            except grpc.aio.AioRpcError as error:
                lost = from_rpc_error(error)
                if self.is_connected or lost.reason not in _ORDINARY:
                    self._log.warning("stream lost", source=self.name, **_facts(lost))
            self.is_connected = False
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _facts(error: TapelineError) -> dict[str, str]:
    return {"status": error.status, "reason": error.reason, "message": error.message[:200]}
