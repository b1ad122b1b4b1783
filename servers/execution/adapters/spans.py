"""Spans under a parent order's own trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from servers.runtime.tracing import Tracer

MAX_SPANS = 1_000


class ParentSpans:
    """A `Tracing` over the runtime's tracer. Beyond `MAX_SPANS` a parent's work goes into linked traces."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._counts: dict[str, int] = {}

    @contextmanager
    def span(self, name: str, execution_id: str, traceparent: str) -> Iterator[str]:
        count = self._counts[execution_id] = self._counts.get(execution_id, 0) + 1
        if not traceparent:
            yield ""
            return
        is_within = count <= MAX_SPANS
        links = () if is_within else (traceparent,)
        parent = traceparent if is_within else ""
        with self._tracer.start_span(name, parent, links=links, execution_id=execution_id) as span:
            yield span.traceparent

    def forget(self, execution_id: str) -> None:
        """Drop the count of a parent that is over."""
        self._counts.pop(execution_id, None)
