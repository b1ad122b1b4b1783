"""Following a peer's stream: resume and reconnect."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Protocol

import grpc

from servers.model.errors import TapelineError
from servers.runtime.status import from_rpc_error

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
_ORDINARY = frozenset({"PEER_UNAVAILABLE", "NOT_READY", "SHUTTING_DOWN"})


class Log(Protocol):
    """Where losses are told."""

    def warning(self, event: str, **facts: Any) -> None: ...


class Follower:
    """Keeps one subscription alive for as long as the server runs.

    Args:
        name: what is followed, for the log.
        subscribe: opens the stream and yields its messages.
        take: takes in one message.
        on_loss: called when a stream that had spoken is over.
        log: told of losses.
    """

    def __init__(
        self,
        name: str,
        subscribe: Callable[[], Awaitable[AsyncIterable[Any]]],
        take: Callable[[Any], None],
        on_loss: Callable[[], None],
        log: Log,
    ) -> None:
        self.name = name
        self.is_connected = False
        self._subscribe = subscribe
        self._take = take
        self._on_loss = on_loss
        self._log = log

    async def run(self) -> None:
        """Follow until cancelled. An error of our own ends it; one of the peer makes it try again."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async for message in await self._subscribe():
                    self.is_connected = True
                    pause = FIRST_PAUSE_SECONDS
                    self._take(message)
            except grpc.aio.AioRpcError as error:
                lost = from_rpc_error(error)
                if self.is_connected or lost.reason not in _ORDINARY:
                    self._log.warning("stream lost", source=self.name, **_facts(lost))
            if self.is_connected:
                self._on_loss()
            self.is_connected = False
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _facts(error: TapelineError) -> dict[str, str]:
    return {"status": error.status, "reason": error.reason, "message": error.message[:200]}
