"""A listening server, from its first bind to the last flush."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
from grpc_channelz.v1 import _async as channelz_aio
from grpc_channelz.v1.channelz_pb2_grpc import add_ChannelzServicer_to_server
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import _async as reflection_aio
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from servers.runtime.channels import TRANSPORT_MESSAGE_BYTES
from servers.runtime.component import Component, Context, Registration
from servers.runtime.handlers import Serving
from servers.runtime.health import HealthServicer
from servers.runtime.limiter import ConcurrencyLimit, Limits
from servers.runtime.metrics import CONCURRENCY_LIMIT, LOOP_LAG
from servers.runtime.process import PortTaken
from servers.runtime.router import Router
from servers.runtime.scrape import MetricsListener
from servers.runtime.security import EVERYONE, Gate, certificates_of
from servers.runtime.settings import ServerSettings

OPERATOR = "operator"
"""The role that may look inside a server: reflection and channelz."""

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", TRANSPORT_MESSAGE_BYTES),
    ("grpc.max_send_message_length", TRANSPORT_MESSAGE_BYTES),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),  # our clients ping through idle streams and busy loops
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),
)
_LAG_PERIOD_SECONDS = 0.1
_LAG_SMOOTHING = 0.3
_POLL_SECONDS = 0.01
_FAREWELL_SECONDS = 1.0


class RunningServer:
    """A server that listens. Made by `servers.runtime.server.start_server`.

    Attributes:
        port: the gRPC port, also where the settings asked for any.
        metrics_port: the port of /metrics.
        failure: done, with the error, once the component has reported a fatal one.
    """

    def __init__(self, settings: ServerSettings, context: Context, component: Component) -> None:
        self._settings = settings
        self._component = component
        self._certificates = certificates_of(settings)
        self._limit = ConcurrencyLimit(
            Limits(settings.concurrency_initial, settings.concurrency_least, settings.concurrency_most)
        )
        self._serving = Serving(
            telemetry=context.telemetry,
            health=context.health,
            limit=self._limit,
            gate=None if self._certificates is None else Gate(settings.roles),
            max_message_bytes=settings.max_message_bytes,
            max_streams=settings.max_streams,
        )
        self._metrics = MetricsListener(context.telemetry.registry)
        self._lag: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self.context = context
        self.failure = context.failure
        self.port = 0
        self.metrics_port = 0
        self._server = grpc.aio.server(options=_OPTIONS)
        self._register()

    @property
    def address(self) -> str:
        """Return `host:port`."""
        return f"{self._settings.host}:{self.port}"

    async def start(self) -> None:
        """Listen, restore the component's state, turn SERVING; nothing is left open when one of it fails."""
        telemetry = self.context.telemetry
        try:
            self.port = self._bind()
            self.metrics_port = await self._bind_metrics()
            await self._server.start()
            self._lag = asyncio.create_task(self._measure_lag(), name="measure lag")
            await self._component.start()
        except BaseException:
            await self.stop(is_failed=True)
            raise
        telemetry.calls.gauge(CONCURRENCY_LIMIT, "Unary calls admitted at once.", lambda: self._limit.limit)
        telemetry.calls.gauge(LOOP_LAG, "Delay of timers on the event loop.", lambda: self._limit.lag_seconds)
        self.context.health.mark_started()
        metrics = f"{self._settings.host}:{self.metrics_port}"
        telemetry.log.info("serving", address=self.address, metrics=metrics, pid=os.getpid())

    async def stop(self, *, is_failed: bool = False) -> None:
        """Drain and stop; a second call waits for the first.

        Health turns NOT_SERVING, calls in flight finish while streams end with SHUTTING_DOWN, the
        component stops, spans are sent. After a failure nothing is waited for, and the component, which
        cannot be trusted any more, is not asked to stop.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(is_failed), name="stop server")
        await asyncio.shield(self._stopping)

    async def _stop(self, is_failed: bool) -> None:
        settings, context = self._settings, self.context
        context.health.mark_draining()
        if not is_failed:
            await asyncio.sleep(settings.drain_notice_seconds)
        self._serving.cut_streams()
        ends = time.monotonic() + (0.0 if is_failed else settings.drain_seconds)
        # Polled: an event would cost every call a look at it.
        while self._serving.in_flight and time.monotonic() < ends:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        self._serving.cut_watches()
        await self._server.stop(None if is_failed else _FAREWELL_SECONDS)
        try:
            if not is_failed:
                await self._component.stop()
        finally:
            if self._lag is not None:
                self._lag.cancel()
            await context.channels.close()
            await self._metrics.close()
            await context.telemetry.close()

    def _register(self) -> None:
        router = Router(self._serving)
        for registration in self._component.registrations():
            router.add(registration)
        services = sorted(router.services)
        self.context.health.name_services(services)
        everyone = frozenset((EVERYONE,))
        names = (*services, reflection.SERVICE_NAME)
        for add, servicer, roles in (
            (
                add_HealthServicer_to_server,
                HealthServicer(self.context.health),
                {"Check": everyone, "Watch": everyone},
            ),
            (add_ServerReflectionServicer_to_server, _reflection(names), _Operators()),
            (add_ChannelzServicer_to_server, channelz_aio.ChannelzServicer(), _Operators()),
        ):
            router.add(Registration(add, servicer, roles), is_infrastructure=True)
        self._server.add_generic_rpc_handlers((router,))

    def _bind(self) -> int:
        host, port = self._settings.host, self._settings.port
        address = f"{host}:{port}"
        try:
            if self._certificates is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, self._certificates.server_credentials())
        except RuntimeError as error:
            raise PortTaken(host, port, "gRPC address") from error

    async def _bind_metrics(self) -> int:
        host, port = self._settings.host, self._settings.resolved_metrics_port()
        try:
            return await self._metrics.open(host, port)
        except OSError as error:
            raise PortTaken(host, port, "metrics address") from error

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_PERIOD_SECONDS
            await asyncio.sleep(_LAG_PERIOD_SECONDS)
            late = max(0.0, loop.time() - due)
            self._limit.lag_seconds += _LAG_SMOOTHING * (late - self._limit.lag_seconds)


def _reflection(services: Sequence[str]) -> Any:
    make: Any = reflection_aio.ReflectionServicer  # without annotations
    return make(services)


class _Operators(Mapping[str, frozenset[str]]):
    # The roles of every method of a service that only operators may call.
    def get(self, key: str, default: object = None) -> frozenset[str]:
        return frozenset((OPERATOR,))

    def __getitem__(self, key: str) -> frozenset[str]:
        return self.get(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
