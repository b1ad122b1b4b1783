"""One server: from a component to a listening process and down again."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
from grpc_channelz.v1 import channelz
from grpc_channelz.v1.channelz_pb2_grpc import add_ChannelzServicer_to_server
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from servers.runtime.channels import TRANSPORT_MESSAGE_BYTES, Channels
from servers.runtime.component import Component, Context, Registration
from servers.runtime.handlers import Router, Serving
from servers.runtime.health import Health, HealthServicer
from servers.runtime.limiter import ConcurrencyLimit, Limits
from servers.runtime.logs import route_library_logs
from servers.runtime.metrics import CONCURRENCY_LIMIT, LOOP_LAG
from servers.runtime.process import PortTaken, die_with_parent, exit_within, on_stop_signals
from servers.runtime.scrape import MetricsListener
from servers.runtime.security import EVERYONE, CertificateFolder, Gate, SecurityError, is_loopback
from servers.runtime.settings import ServerSettings
from servers.runtime.sources import WrongSettings, load_settings
from servers.runtime.telemetry import Telemetry

EXIT_OK, EXIT_USAGE, EXIT_PORT_TAKEN, EXIT_FATAL = 0, 2, 3, 70
STOP_MARGIN_SECONDS = 10.0
_LAG_PERIOD_SECONDS = 0.1
_LAG_SMOOTHING = 0.3
_POLL_SECONDS = 0.01
_FAREWELL_SECONDS = 1.0

_SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", TRANSPORT_MESSAGE_BYTES),
    ("grpc.max_send_message_length", TRANSPORT_MESSAGE_BYTES),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.enable_channelz", 1),
)
_OPERATORS = frozenset(("operator",))
_ALL = frozenset((EVERYONE,))

SettingsT = TypeVar("SettingsT", bound=ServerSettings)


class RunningServer:
    """A server that listens. Made by `start_server`."""

    def __init__(self, settings: ServerSettings, context: Context, component: Component) -> None:
        self._settings = settings
        self._component = component
        self._stopping: asyncio.Task[None] | None = None
        self._lag: asyncio.Task[None] | None = None
        self.context = context
        self.port = 0
        self.metrics_port = 0
        self.failure = context.failure
        limits = Limits(settings.concurrency_initial, settings.concurrency_least, settings.concurrency_most)
        self._limit = ConcurrencyLimit(limits)
        self._certificates = _certificates(settings)
        self._serving = Serving(
            telemetry=context.telemetry,
            health=context.health,
            limit=self._limit,
            gate=None if self._certificates is None else Gate(settings.roles),
            max_message_bytes=settings.max_message_bytes,
            max_streams=settings.max_streams,
        )
        self._server = grpc.aio.server(options=_SERVER_OPTIONS)
        self._metrics = MetricsListener(context.telemetry.registry)

    @property
    def address(self) -> str:
        """Return `host:port`."""
        return f"{self._settings.host}:{self.port}"

    async def _start(self) -> None:
        settings, telemetry = self._settings, self.context.telemetry
        self._register()
        try:
            self.port = self._bind()
            self.metrics_port = await self._bind_metrics()
        except BaseException:
            await self._server.stop(None)
            raise
        telemetry.calls.gauge(CONCURRENCY_LIMIT, "Unary calls admitted at once.", lambda: self._limit.limit)
        telemetry.calls.gauge(LOOP_LAG, "Delay of timers on the event loop.", lambda: self._limit.lag_seconds)
        await self._server.start()
        self._lag = asyncio.create_task(self._measure_lag(), name="measure lag")
        try:
            await self._component.start()
        except BaseException:
            await self.stop(is_failed=True)
            raise
        self.context.health.mark_started()
        telemetry.log.info(
            "serving", address=self.address, metrics=f"{settings.host}:{self.metrics_port}", pid=os.getpid()
        )

    def _register(self) -> None:
        router = Router(self._serving)
        for registration in self._component.registrations():
            router.add(registration)
        self.context.health.name_services(router.services)
        router.add(
            Registration(
                health_pb2_grpc.add_HealthServicer_to_server,
                HealthServicer(self.context.health),
                roles={"Check": _ALL, "Watch": _ALL},
            ),
            is_infrastructure=True,
        )
        router.add(
            Registration(add_ChannelzServicer_to_server, channelz.aio.ChannelzServicer(), roles=_Operators()),
            is_infrastructure=True,
        )
        shown = reflection.aio.ReflectionServicer((*router.services, reflection.SERVICE_NAME))
        router.add(
            Registration(add_ServerReflectionServicer_to_server, shown, roles=_Operators()),
            is_infrastructure=True,
        )
        self._server.add_generic_rpc_handlers((router,))

    def _bind(self) -> int:
        settings = self._settings
        address = f"{settings.host}:{settings.port}"
        try:
            if self._certificates is None:
                return int(self._server.add_insecure_port(address))
            return int(self._server.add_secure_port(address, self._certificates.server_credentials()))
        except RuntimeError as error:
            raise PortTaken(settings.host, settings.port, "gRPC address") from error

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

    async def stop(self, *, is_failed: bool = False) -> None:
        """Drain and stop: NOT_SERVING, calls in flight, the component, exporters. Again: wait for the first."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(is_failed))
        await asyncio.shield(self._stopping)

    async def _stop(self, is_failed: bool) -> None:
        settings, context = self._settings, self.context
        context.health.mark_draining()
        if not is_failed:
            await asyncio.sleep(settings.drain_notice_seconds)
        self._serving.cut_streams()
        ends = time.monotonic() + (0.0 if is_failed else settings.drain_seconds)
        while self._serving.in_flight and time.monotonic() < ends:
            await asyncio.sleep(_POLL_SECONDS)
        self._serving.cut_watches()
        await self._server.stop(_FAREWELL_SECONDS)
        try:
            if not is_failed:
                await self._component.stop()
        finally:
            if self._lag is not None:
                self._lag.cancel()
            await context.channels.close()
            await self._metrics.close()
            await context.telemetry.close()


class _Operators(Mapping[str, frozenset[str]]):
    # Every method of reflection and channelz, for operators.
    def __getitem__(self, method: str) -> frozenset[str]:
        return _OPERATORS

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def _certificates(settings: ServerSettings) -> CertificateFolder | None:
    if settings.tls_dir is not None:
        return CertificateFolder(settings.tls_dir)
    if not is_loopback(settings.host) and not settings.allow_insecure:
        raise SecurityError(
            f"host {settings.host} is reachable from other machines: set tls_dir, or allow_insecure"
        )
    return None


async def make_context(name: str, settings: ServerSettings) -> Context:
    """Return the context of server `name`: telemetry, channels and health of its own."""
    export = None
    if settings.otlp_endpoint is not None:
        from servers.runtime.otlp import OtlpSpanExport  # takes a tenth of a second to import

        export = OtlpSpanExport(name, settings.otlp_endpoint)
    telemetry = Telemetry(
        name,
        export=export,
        sample_ratio=settings.trace_sample_ratio,
        log_format=settings.log_format,
        log_level=settings.log_level,
    )
    channels = Channels(
        settings.peers,
        tracer=telemetry.tracer,
        calls=telemetry.calls,
        call_timeout_seconds=settings.call_timeout_seconds,
        margin_seconds=settings.deadline_margin_seconds,
        certificates=_certificates(settings),
        tls_server_name=settings.tls_server_name,
    )
    health = Health()
    failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def fail(error: BaseException) -> None:
        telemetry.log.critical("fatal background error", exc_info=error)
        health.mark_draining()
        if not failure.done():
            failure.set_result(error)

    return Context(
        name=name, telemetry=telemetry, channels=channels, health=health, fail=fail, failure=failure
    )


async def start_server(settings: ServerSettings, context: Context, component: Component) -> RunningServer:
    """Listen, restore the component's state, and return when health is SERVING.

    Raises PortTaken, SecurityError, or what the component's `start()` raises.
    """
    server = RunningServer(settings, context, component)
    await server._start()
    return server


Build = Callable[[SettingsT, Context], Component | Awaitable[Component]]


def run(name: str, settings_type: type[SettingsT], build: Build[SettingsT]) -> None:
    """Be the process of server `name`: settings, serving until SIGTERM or SIGINT, exit code.

    0 stopped when asked, 2 wrong settings, 3 port taken, 70 a fatal error.
    """
    import uvloop

    try:
        settings = load_settings(name, settings_type, sys.argv[1:], os.environ)
        if settings.die_with_parent:
            die_with_parent()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_serve(name, settings, build))
    except (WrongSettings, SecurityError) as error:
        code = _say(name, error, EXIT_USAGE)
    except PortTaken as error:
        code = _say(name, error, EXIT_PORT_TAKEN)
    sys.exit(code)


def _say(name: str, error: Exception, code: int) -> int:
    for line in str(error).splitlines():
        print(f"{name}: {line}", file=sys.stderr)
    return code


async def _serve(name: str, settings: SettingsT, build: Build[SettingsT]) -> int:
    stop = asyncio.Event()
    on_stop_signals(asyncio.get_running_loop(), stop)
    context = await make_context(name, settings)
    route_library_logs(context.telemetry.log)
    component = build(settings, context)
    if isinstance(component, Awaitable):
        component = await component
    starting = asyncio.create_task(start_server(settings, context, component))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return EXIT_OK
    server = await starting
    await asyncio.wait((server.failure, stopped), return_when=asyncio.FIRST_COMPLETED)
    is_failed = server.failure.done()
    code = EXIT_FATAL if is_failed else EXIT_OK
    watchdog = exit_within(settings.drain_seconds + STOP_MARGIN_SECONDS, EXIT_FATAL)
    await server.stop(is_failed=is_failed)
    watchdog.cancel()
    context.telemetry.log.info("stopped", exit_code=code)
    return code
