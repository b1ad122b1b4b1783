"""HTTP for client libraries: every request waits for its turn, and every answer's headers are heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import aiohttp

from servers.model.clock import WallClock
from servers.model.nanos import NANO
from servers.news.domain.pacing import RateLimit

QUIET_SECONDS = 30.0
"""A connection that is silent for so long is taken for lost; platforms send a keep-alive every 20 s."""
TOO_MANY = frozenset({420, 429})

Hint = tuple[float | None, int | None]
"""Requests left and the time of the reset, UTC epoch nanoseconds, as an answer's headers say."""
Hear = Callable[[Mapping[str, str], int], Hint]


class Pause(Protocol):
    """Wall time as sources wait by it; tests let it run faster."""

    def now_nanos(self) -> int:
        """Return UTC epoch nanoseconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class WallPause(WallClock):
    """`Pause` by the machine's clock."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class PacedSession:
    """What client libraries use of an `aiohttp.ClientSession`, held to a rate limit.

    Args:
        limit: of all requests that go through it, streams among them.
        hear: reads the platform's own headers.
        routes: address prefixes to be replaced, such as those of a mirror or of a test's server.
    """

    closed = False

    def __init__(
        self, limit: RateLimit, pause: Pause, hear: Hear, routes: Mapping[str, str] | None = None
    ) -> None:
        self.headers: dict[str, str] = {}
        self._limit = limit
        self._pause = pause
        self._hear = hear
        self._routes = dict(routes or {})
        self._session: aiohttp.ClientSession | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def request(
        self, method: str, url: object, **arguments: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request when its turn has come. Raises aiohttp.ClientError and TimeoutError."""
        await self._wait()
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=QUIET_SECONDS, sock_read=QUIET_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        arguments["headers"] = {**self.headers, **(arguments.get("headers") or {})}
        arguments["middlewares"] = (_Once(self._limit, self._pause),)
        async with self._session.request(method, self._routed(str(url)), **arguments) as response:
            self._heard(response)
            yield response

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _wait(self) -> None:
        async with self._turn:
            while (seconds := self._limit.wait_seconds(self._pause.now_nanos())) > 0:
                await self._pause.sleep(seconds)
            self._limit.sent(self._pause.now_nanos())

    def _heard(self, response: aiohttp.ClientResponse) -> None:
        now = self._pause.now_nanos()
        remaining, reset = self._hear(response.headers, now)
        self._limit.heard(remaining, reset)
        if response.status in TOO_MANY:
            until = retry_after(response.headers, now)
            if until is None and remaining is not None and remaining < 1:
                until = reset
            if until is not None:
                self._limit.close(until)

    def _routed(self, url: str) -> str:
        for prefix, other in self._routes.items():
            if url.startswith(prefix):
                return other + url[len(prefix) :]
        return url


class _Once:
    """Keeps aiohttp from sending a request again by itself after a lost connection: that would not be paced.

    A redirection is another request, and is counted.
    """

    def __init__(self, limit: RateLimit, pause: Pause) -> None:
        self._limit = limit
        self._pause = pause
        self._sent: set[str] = set()

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        url = str(request.url)
        if url in self._sent:
            raise aiohttp.ServerDisconnectedError
        if self._sent:
            self._limit.sent(self._pause.now_nanos())
        self._sent.add(url)
        return await handler(request)


def retry_after(headers: Mapping[str, str], now_nanos: int) -> int | None:
    """Return until when a platform wants to be left alone, UTC epoch nanoseconds (RFC 9110, 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return now_nanos + int(value) * NANO
    try:
        return round(parsedate_to_datetime(value).timestamp()) * NANO
    except (TypeError, ValueError):
        return None


def hear_nothing(headers: Mapping[str, str], now_nanos: int) -> Hint:
    """Read no headers: the platform says nothing of its limits."""
    return None, None


def number(value: str | None) -> float | None:
    """Return a header's number; None when there is none."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
