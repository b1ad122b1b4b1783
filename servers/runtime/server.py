"""One server: its context, its start inside a process, and the process that is nothing but it."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from servers.model.errors import InvalidInput
from servers.runtime.channels import Channels
from servers.runtime.component import Component, Context
from servers.runtime.health import Health
from servers.runtime.logs import route_library_logs
from servers.runtime.process import ParentGone, PortTaken, die_with_parent, exit_within, on_stop_signals
from servers.runtime.running import RunningServer
from servers.runtime.security import SecurityError, certificates_of
from servers.runtime.settings import ServerSettings
from servers.runtime.sources import WrongSettings, load_settings
from servers.runtime.telemetry import SpanExport, Telemetry

EXIT_STOPPED, EXIT_WRONG_SETTINGS, EXIT_PORT_TAKEN, EXIT_FATAL = 0, 2, 3, 70
STOP_MARGIN_SECONDS = 5.0
"""What a stop may take beyond the drain before the process ends anyhow, threads that hang included."""

SettingsT = TypeVar("SettingsT", bound=ServerSettings)
Build = Callable[[SettingsT, Context], Component | Awaitable[Component]]


async def make_context(name: str, settings: ServerSettings) -> Context:
    """Return the context of server `name`: telemetry, channels and health of its own.

    Raises SecurityError when the settings would serve the network in the clear, or the TLS files are bad.
    """
    certificates = certificates_of(settings)
    export: SpanExport | None = None
    if settings.otlp_endpoint is not None:
        from servers.runtime.otlp import OtlpSpanExport  # a tenth of a second to import

        export = OtlpSpanExport(name, settings.otlp_endpoint, certificates=certificates)
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
        certificates=certificates,
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
    await server.start()
    return server


def run(name: str, settings_type: type[SettingsT], build: Build[SettingsT]) -> None:
    """Be the process of server `name`: settings, serving until SIGTERM or SIGINT, exit code.

    A `build` or `start()` that finds a setting or a file wrong raises WrongSettings with what to say.
    0 stopped when asked, 2 wrong settings, 3 port taken, 70 a fatal error.
    """
    import uvloop

    faulthandler.enable()  # a crash below Python leaves its stack in the log
    try:
        settings = load_settings(name, settings_type, sys.argv[1:], os.environ)
        if settings.parent_pid is not None:
            die_with_parent(settings.parent_pid)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_serve(name, settings, build))
        if settings.tls_dir is not None:
            # gRPC waits two seconds at the end of a process that still holds a server or a channel with TLS.
            gc.unfreeze()
            gc.collect()
    except (WrongSettings, SecurityError, InvalidInput) as error:
        code = _say(name, error, EXIT_WRONG_SETTINGS)
    except PortTaken as error:
        code = _say(name, error, EXIT_PORT_TAKEN)
    except ParentGone as error:
        code = _say(name, error, EXIT_STOPPED)
    sys.exit(code)


def _say(name: str, error: Exception, code: int) -> int:
    for line in str(error).splitlines():
        sys.stderr.write(f"{name}: {line}\n")
    return code


async def _serve(name: str, settings: SettingsT, build: Build[SettingsT]) -> int:
    stop = asyncio.Event()
    on_stop_signals(asyncio.get_running_loop(), stop)
    context = await make_context(name, settings)
    log = context.telemetry.log
    route_library_logs(log)
    stopped = asyncio.create_task(stop.wait())
    try:
        server = await _start_unless(stopped, settings, context, build)
    except (PortTaken, SecurityError, WrongSettings, InvalidInput):
        raise
    except Exception as error:  # whatever it is, the process says it and ends
        log.critical("could not start", exc_info=error)
        exit_within(STOP_MARGIN_SECONDS, EXIT_FATAL)
        return EXIT_FATAL
    if server is None:
        exit_within(STOP_MARGIN_SECONDS, EXIT_STOPPED)
        return EXIT_STOPPED
    # What was made so far lives as long as the process: no collection needs to look at it again.
    gc.collect()
    gc.freeze()
    await asyncio.wait((server.failure, stopped), return_when=asyncio.FIRST_COMPLETED)
    is_failed = server.failure.done()
    code = EXIT_FATAL if is_failed else EXIT_STOPPED
    exit_within(STOP_MARGIN_SECONDS + (0 if is_failed else settings.drain_seconds), EXIT_FATAL)
    await server.stop(is_failed=is_failed)
    log.info("stopped", exit_code=code)
    return code


async def _start_unless(
    stopped: asyncio.Task[object], settings: SettingsT, context: Context, build: Build[SettingsT]
) -> RunningServer | None:
    """Build and start, or return None when `stopped` is done first."""

    async def start() -> RunningServer:
        built = build(settings, context)
        component = await built if isinstance(built, Awaitable) else built
        return await start_server(settings, context, component)

    starting = asyncio.create_task(start(), name="start")
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        return starting.result()
    starting.cancel()
    await asyncio.wait((starting,))
    return None
