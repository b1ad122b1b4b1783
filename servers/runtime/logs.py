"""Structured logs: one event a line, as JSON or for the eye, with server, trace and method."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import structlog

from servers.runtime.call import CURRENT_CALL
from servers.runtime.tracing import CURRENT_SPAN

LogFormat = Literal["auto", "json", "console"]
_NUMBERS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def make_log(
    server: str, log_format: LogFormat = "auto", level: str = "info", stream: TextIO | None = None
) -> structlog.typing.FilteringBoundLogger:
    """Return the log of one server. `auto` is `console` on a terminal and `json` elsewhere."""
    out = sys.stderr if stream is None else stream
    if log_format == "auto":
        log_format = "console" if out.isatty() else "json"
    log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(out),
        processors=_processors(log_format, out),
        wrapper_class=structlog.make_filtering_bound_logger(_NUMBERS[level]),
        cache_logger_on_first_use=True,
    ).bind(server=server)
    return log


def route_library_logs(log: structlog.typing.FilteringBoundLogger, level: str = "warning") -> None:
    """Send what libraries write to the standard `logging` into `log`. For a whole process."""
    root = logging.getLogger()
    root.handlers[:] = [_Forward(log)]
    root.setLevel(_NUMBERS[level])


class _Forward(logging.Handler):
    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None
        )


def _add_call(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    span = CURRENT_SPAN.get()
    if span is not None:
        event.setdefault("trace_id", span.trace_id)
    call = CURRENT_CALL.get()
    if call is not None:
        event.setdefault("method", call.method)
        if call.identity is not None:
            event.setdefault("identity", call.identity)
    return event


def _processors(log_format: LogFormat, out: TextIO) -> list[structlog.typing.Processor]:
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_call,
        structlog.processors.StackInfoRenderer(),
    ]
    if log_format == "console":
        return [
            *shared,
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    return [*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
