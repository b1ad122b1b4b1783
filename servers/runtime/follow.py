"""Following a peer's stream: resume, reconnect, and say when it is caught up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Protocol

import grpc

from servers.runtime.status import from_rpc_error

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
_ORDINARY = frozenset({"PEER_UNAVAILABLE", "NOT_READY", "SHUTTING_DOWN"})


class Log(Protocol):
    """The part of a structured log that followers use."""

    def info(self, event: str, **facts: Any) -> Any:
        """Record something ordinary."""
        ...

    def warning(self, event: str, **facts: Any) -> Any:
        """Record something that somebody may want to look into."""
        ...


class Follower:
    """Keeps one subscription alive for as long as the server runs.

    Args:
        name: what is followed, for the log.
        subscribe: opens the stream, from where the reader stands, and yields its messages.
        take: takes in one message.
        log: told of losses and of the first time that it is caught up.
        on_loss: called when a stream that had spoken is over.
    """

    def __init__(
        self,
        name: str,
        subscribe: Callable[[], Awaitable[AsyncIterable[Any]]],
        take: Callable[[Any], Awaitable[None]],
        log: Log,
        on_loss: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.caught_up = asyncio.Event()
        self.is_connected = False
        self._subscribe = subscribe
        self._take = take
        self._log = log
        self._on_loss = on_loss

    def set_caught_up(self) -> None:
        """Say, for the readers that know where the stream's past ends, that they have all of it."""
        if not self.caught_up.is_set():
            self.caught_up.set()
            self._log.info("caught up", source=self.name)

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
                    facts = {"status": lost.status, "reason": lost.reason, "message": lost.message[:200]}
                    self._log.warning("stream lost", source=self.name, **facts)
            if self.is_connected and self._on_loss is not None:
                self._on_loss()
            self.is_connected = False
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
