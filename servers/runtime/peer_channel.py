"""A generated stub's channel: grpc.aio's, with a deadline, a trace and a breaker on each call."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grpc

from servers.runtime.breaker import Breaker
from servers.runtime.metrics import CallCollector
from servers.runtime.status import reason_of
from servers.runtime.tracing import CLIENT, CURRENT_SPAN, Tracer

READ_PREFIXES = ("Get", "List")
READ_ATTEMPTS = 3
FIRST_RETRY_SECONDS = 0.02

_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Calling:
    """What the channels of one server share.

    Attributes:
        dial: makes a transport to an address.
        refresh: called before a call; looks for new certificates now and then.
        timeout_of: the timeout of the next call, in seconds, given what was asked for.
    """

    tracer: Tracer
    calls: CallCollector
    dial: Callable[[str], grpc.aio.Channel]
    refresh: Callable[[], None]
    timeout_of: Callable[[float | None], float]


class PeerChannel(grpc.aio.Channel):
    """The channel to one peer, dialled at the first call."""

    def __init__(self, calling: Calling, peer: str, address: str) -> None:
        self.calling = calling
        self.peer = peer
        self.address = address
        self.breaker = Breaker()
        self._transport: grpc.aio.Channel | None = None

    @property
    def transport(self) -> grpc.aio.Channel:
        """Return the grpc.aio channel underneath; another one after a change of certificates."""
        self.calling.refresh()
        if self._transport is None:
            self._transport = self.calling.dial(self.address)
        return self._transport

    def hang_up(self) -> grpc.aio.Channel | None:
        """Forget the transport, so that the next call dials anew, and return it to be closed."""
        old, self._transport = self._transport, None
        return old

    def unary_unary(self, method: str, *coders: Any, **named: Any) -> Any:
        return _UnaryUnary(self, "unary_unary", method, coders, named)

    def unary_stream(self, method: str, *coders: Any, **named: Any) -> Any:
        return _Streaming(self, "unary_stream", method, coders, named)

    def stream_unary(self, method: str, *coders: Any, **named: Any) -> Any:
        return _Streaming(self, "stream_unary", method, coders, named)

    def stream_stream(self, method: str, *coders: Any, **named: Any) -> Any:
        return _Streaming(self, "stream_stream", method, coders, named)

    async def close(self, grace: float | None = None) -> None:
        old = self.hang_up()
        if old is not None:
            await old.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self.transport.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self.transport.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.transport.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Callable:
    # One method of one peer. The grpc.aio multicallable is made anew when the transport is another one.
    def __init__(
        self, channel: PeerChannel, kind: str, method: str, coders: Sequence[Any], named: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._method = method
        self._coders = coders
        self._named = named
        self._transport: grpc.aio.Channel | None = None
        self._made: Any = None
        self._name = method.lstrip("/")
        self._is_read = method.rpartition("/")[2].startswith(READ_PREFIXES)
        self._figures = channel.calling.calls.called(channel.peer, self._name)

    def _multicallable(self) -> Any:
        transport = self._channel.transport
        if transport is not self._transport:
            self._made = getattr(transport, self._kind)(self._method, *self._coders, **self._named)
            self._transport = transport
        return self._made


class _UnaryUnary(_Callable):
    async def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] | None = None,
        **arguments: Any,
    ) -> Any:
        """Call and return the response. `timeout` in seconds, cut to what the own caller has left."""
        calling = self._channel.calling
        started = time.monotonic()
        ends = started + calling.timeout_of(timeout)
        current = CURRENT_SPAN.get()
        span = calling.tracer.begin(self._name, CLIENT, "" if current is None else current.traceparent)
        # Who traces nothing and stands under no trace leaves it to the peer to start one.
        is_silent = current is None and not calling.tracer.is_on
        arguments["metadata"] = _with_trace("" if is_silent else span.traceparent, metadata)
        try:
            return await self._attempt(request, ends, arguments)
        except BaseException as error:
            code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else "CANCELLED"
            self._figures.refuse(code, reason_of(error))
            span.fail(code)
            raise
        finally:
            self._figures.observe(time.monotonic() - started)
            span.end()

    async def _attempt(self, request: Any, ends: float, arguments: dict[str, Any]) -> Any:
        breaker = self._channel.breaker
        retries = READ_ATTEMPTS - 1 if self._is_read else 0
        pause = FIRST_RETRY_SECONDS
        while True:
            left = ends - time.monotonic()
            if left <= 0:
                raise _local_error(grpc.StatusCode.DEADLINE_EXCEEDED, f"no time left to call {self._name}")
            if not breaker.admits():
                raise _local_error(
                    grpc.StatusCode.UNAVAILABLE, f"{self._channel.peer} does not answer: breaker open"
                )
            try:
                response = await self._multicallable()(request, timeout=left, **arguments)
            except grpc.aio.AioRpcError as error:
                is_transient = error.code() in _TRANSIENT and not reason_of(error)
                # A refusal with a reason is an answer: the peer lives.
                breaker.failed() if is_transient else breaker.succeeded()
                if error.code() is not grpc.StatusCode.UNAVAILABLE or not retries:
                    raise
            else:
                breaker.succeeded()
                return response
            retries -= 1
            await asyncio.sleep(min(pause, max(0.0, ends - time.monotonic())) * random.uniform(0.5, 1.0))
            pause *= 2


class _Streaming(_Callable):
    # A stream has no deadline unless one is given: keepalive finds a dead peer.
    def __call__(self, *request: Any, metadata: Any = None, **arguments: Any) -> Any:
        current = CURRENT_SPAN.get()
        sent = _with_trace("" if current is None else current.traceparent, metadata)
        return self._multicallable()(*request, metadata=sent, **arguments)


def _with_trace(traceparent: str, metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    given = () if metadata is None else tuple(metadata)
    return (*given, ("traceparent", traceparent)) if traceparent else given


def _local_error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, "")
