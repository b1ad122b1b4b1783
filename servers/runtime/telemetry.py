"""Metrics, traces and log of one server, each of its own: several servers can live in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry

from servers.runtime.logs import LogFormat, make_log
from servers.runtime.metrics import SPANS_DROPPED, CallCollector
from servers.runtime.tracing import Span, Tracer


class SpanExport(Protocol):
    """Where finished spans go. `dropped` counts those that found the queue full."""

    dropped: int

    def add(self, span: Span) -> None:
        """Queue one finished span; never blocks."""
        ...

    def close(self, timeout_seconds: float) -> None:
        """Send what is queued and stop; blocks for at most `timeout_seconds`."""
        ...


class Telemetry:
    """What a server measures and tells.

    Attributes:
        registry: put `prometheus_client` metrics here (`registry=telemetry.registry`).
        tracer: starts spans; see `servers.runtime.tracing`.
        log: a structlog logger bound to the server's name.
        calls: the runtime's own figures.
    """

    def __init__(
        self,
        name: str,
        *,
        export: SpanExport | None = None,
        sample_ratio: float = 1.0,
        log: structlog.typing.FilteringBoundLogger | None = None,
        log_format: LogFormat = "auto",
        log_level: str = "info",
    ) -> None:
        self.name = name
        self.registry = CollectorRegistry()
        self.calls = CallCollector()
        self.registry.register(self.calls)
        self.log = make_log(name, log_format, log_level) if log is None else log
        self._export = export
        if export is not None:
            self.calls.counter(SPANS_DROPPED, "Spans lost to a full queue.", lambda: export.dropped)
        add: Callable[[Span], None] | None = None if export is None else export.add
        self.tracer = Tracer(add, sample_ratio)

    async def close(self, timeout_seconds: float = 3.0) -> None:
        """Send the spans that are still queued."""
        export, self._export = self._export, None
        if export is not None:
            await asyncio.to_thread(export.close, timeout_seconds)
