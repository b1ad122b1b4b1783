"""The client side: one cached channel for each peer, and on every call a deadline, a trace and a breaker.

A `PeerChannel` is given to a generated stub like any `grpc.aio.Channel`:

    stub = OrdersServiceStub(context.channels.channel("orders"))
    response = await stub.SubmitOrder(request)           # timeout: what the caller has left, minus a margin

Calls raise `grpc.aio.AioRpcError` as usual; `servers.runtime.status.from_rpc_error` turns one into our
own error, and the server's wrapper does so for errors that nobody catches.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc

from servers.runtime.breaker import Breaker
from servers.runtime.call import seconds_left
from servers.runtime.metrics import CallCollector, CallFigures
from servers.runtime.ports import PORTS, default_address
from servers.runtime.security import CertificateFolder
from servers.runtime.status import reason_of
from servers.runtime.tracing import CLIENT, CURRENT_SPAN, Tracer

TRANSPORT_MESSAGE_BYTES = 16 << 20
READ_PREFIXES = ("Get", "List")
READ_ATTEMPTS = 3
FIRST_RETRY_SECONDS = 0.02
TLS_REFRESH_SECONDS = 2.0

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
}
_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # the time one attempt may take
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", TRANSPORT_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", TRANSPORT_MESSAGE_BYTES),
)
_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Channels:
    """The channels of one server to its peers.

    Args:
        peers: name -> `host:port`; a name that is missing is looked for at its default port.
        call_timeout_seconds: the longest time a call gets unless the caller of `stub.X` says otherwise.
        margin_seconds: what is kept of the own caller's time for answering it.
    """

    def __init__(
        self,
        peers: Mapping[str, str],
        *,
        tracer: Tracer,
        calls: CallCollector,
        call_timeout_seconds: float = 5.0,
        margin_seconds: float = 0.01,
        certificates: CertificateFolder | None = None,
        tls_server_name: str | None = None,
    ) -> None:
        self._peers = peers
        self._tracer = tracer
        self._calls = calls
        self._call_timeout_seconds = call_timeout_seconds
        self._margin_seconds = margin_seconds
        self._certificates = certificates
        self._tls_server_name = tls_server_name
        self._channels: dict[str, PeerChannel] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._refreshed_at = time.monotonic()

    def channel(self, peer: str) -> PeerChannel:
        """Return the channel to `peer`, dialled at the first call. Raises KeyError for an unknown name."""
        channel = self._channels.get(peer)
        if channel is None:
            address = self._peers.get(peer)
            if address is None:
                if peer not in PORTS:
                    raise KeyError(f"no address for peer {peer!r}: set peers.{peer}")
                address = default_address(peer)
            channel = self._channels[peer] = PeerChannel(self, peer, address)
        return channel

    def deadline(self, timeout_seconds: float | None = None) -> float:
        """Return the timeout of the next call: `timeout_seconds` (or the default), never past the caller's."""
        longest = self._call_timeout_seconds if timeout_seconds is None else timeout_seconds
        return min(longest, seconds_left() - self._margin_seconds)

    async def close(self) -> None:
        """Close all channels; calls in flight are cancelled."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()
        for task in self._closing:
            task.cancel()

    def dial(self, address: str) -> grpc.aio.Channel:
        """Return a new transport to `address`."""
        target = address if "://" in address or address.startswith("unix:") else f"dns:///{address}"
        if self._certificates is None:
            return grpc.aio.insecure_channel(target, options=_OPTIONS)
        options = _OPTIONS
        if self._tls_server_name is not None:
            options = (*options, ("grpc.ssl_target_name_override", self._tls_server_name))
        return grpc.aio.secure_channel(target, self._certificates.channel_credentials(), options=options)

    def refresh(self) -> None:
        """Dial anew when the own certificate has been replaced; calls in flight finish on the old one."""
        if self._certificates is None:
            return
        now = time.monotonic()
        if now - self._refreshed_at < TLS_REFRESH_SECONDS:
            return
        self._refreshed_at = now
        self._certificates.refresh()
        for channel in self._channels.values():
            old = channel.redial(self._certificates.pair)
            if old is not None:
                task = asyncio.get_running_loop().create_task(old.close(grace=30.0))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)


class PeerChannel(grpc.aio.Channel):  # type: ignore[misc]  # grpc.aio has no types for its base
    """One peer's channel."""

    def __init__(self, owner: Channels, peer: str, address: str) -> None:
        self._owner = owner
        self.peer = peer
        self.address = address
        self.breaker = Breaker()
        self._transport: grpc.aio.Channel | None = None
        self._pair = None if owner._certificates is None else owner._certificates.pair

    @property
    def transport(self) -> grpc.aio.Channel:
        """Return the grpc.aio channel underneath; another one after a change of certificates."""
        self._owner.refresh()
        if self._transport is None:
            self._transport = self._owner.dial(self.address)
        return self._transport

    def redial(self, pair: object) -> grpc.aio.Channel | None:
        """Forget the transport when it was made with another pair, and return it to be closed."""
        if pair is self._pair:
            return None
        self._pair = pair  # type: ignore[assignment]
        old, self._transport = self._transport, None
        return old

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> _UnaryUnary:
        return _UnaryUnary(self, method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> _Streaming:
        return _Streaming(self, "unary_stream", method, request_serializer, response_deserializer)

    def stream_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> _Streaming:
        return _Streaming(self, "stream_unary", method, request_serializer, response_deserializer)

    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> _Streaming:
        return _Streaming(self, "stream_stream", method, request_serializer, response_deserializer)

    async def close(self, grace: float | None = None) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self.transport.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self.transport.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.transport.channel_ready()

    async def __aenter__(self) -> PeerChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Callable:
    # One method of one peer. The grpc.aio multicallable is made anew after a change of certificates.
    __slots__ = ("_arguments", "_kind", "_made", "_owner", "_peer", "_transport", "method")

    def __init__(self, peer: PeerChannel, kind: str, method: str, *arguments: Any) -> None:
        self._peer = peer
        self._owner = peer._owner
        self._kind = kind
        self.method = method
        self._arguments = arguments
        self._transport: grpc.aio.Channel | None = None
        self._made: Any = None

    def _multicallable(self) -> Any:
        transport = self._peer.transport
        if transport is not self._transport:
            self._made = getattr(transport, self._kind)(self.method, *self._arguments)
            self._transport = transport
        return self._made


def _metadata(traceparent: str, given: Any) -> tuple[tuple[str, Any], ...] | None:
    if not traceparent:
        return None if given is None else tuple(given)
    if given is None:
        return (("traceparent", traceparent),)
    return (*given, ("traceparent", traceparent))


class _UnaryUnary(_Callable):
    __slots__ = ("_figures", "_is_read", "_name")

    def __init__(self, peer: PeerChannel, method: str, *arguments: Any) -> None:
        super().__init__(peer, "unary_unary", method, *arguments)
        self._name = method.lstrip("/")
        self._is_read = method.rpartition("/")[2].startswith(READ_PREFIXES)
        self._figures: CallFigures = self._owner._calls.called(peer.peer, self._name)

    async def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, Any]] | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """Call and return the response. `timeout` in seconds, cut to what the own caller has left."""
        owner = self._owner
        started = time.monotonic()
        ends = started + owner.deadline(timeout)
        current = CURRENT_SPAN.get()
        span = owner._tracer.begin(self._name, CLIENT, "" if current is None else current.traceparent)
        arguments = (credentials, wait_for_ready, compression)
        try:
            response = await self._attempt(request, ends, _metadata(span.traceparent, metadata), arguments)
        except BaseException as error:
            code = error.code().name if isinstance(error, grpc.RpcError) else type(error).__name__
            self._figures.refuse(code, reason_of(error))
            span.fail(code)
            raise
        finally:
            self._figures.observe(time.monotonic() - started)
            span.end()
        return response

    async def _attempt(self, request: Any, ends: float, metadata: Any, arguments: tuple[Any, ...]) -> Any:
        breaker = self._peer.breaker
        attempts = READ_ATTEMPTS if self._is_read else 1
        credentials, wait_for_ready, compression = arguments
        pause = FIRST_RETRY_SECONDS
        while True:
            attempts -= 1
            left = ends - time.monotonic()
            if left <= 0:
                raise _local_error(grpc.StatusCode.DEADLINE_EXCEEDED, "no time left to call " + self._name)
            if not breaker.admits():
                raise _local_error(
                    grpc.StatusCode.UNAVAILABLE, f"{self._peer.peer} does not answer; breaker open"
                )
            try:
                response = await self._multicallable()(
                    request,
                    timeout=left,
                    metadata=metadata,
                    credentials=credentials,
                    wait_for_ready=wait_for_ready,
                    compression=compression,
                )
            except grpc.aio.AioRpcError as error:
                # A refusal with a reason is an answer: the peer lives.
                if error.code() not in _TRANSIENT or reason_of(error):
                    breaker.succeeded()
                else:
                    breaker.failed()
                if error.code() is not grpc.StatusCode.UNAVAILABLE or attempts <= 0:
                    raise
                if ends - time.monotonic() <= pause:
                    raise
            else:
                breaker.succeeded()
                return response
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2


class _Streaming(_Callable):
    # Streams have no deadline unless one is given: keepalive finds dead peers.
    __slots__ = ()

    def __call__(self, *request: Any, metadata: Any = None, **arguments: Any) -> Any:
        current = CURRENT_SPAN.get()
        traceparent = "" if current is None else current.traceparent
        return self._multicallable()(*request, metadata=_metadata(traceparent, metadata), **arguments)


def _local_error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)
