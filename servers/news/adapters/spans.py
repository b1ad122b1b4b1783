"""Spans of posts: a trace begins with a post and leads to what was traded on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from servers.runtime.tracing import CONSUMER, Tracer


class NewsSpans:
    """`Tracing` over the runtime's tracer."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str, traceparent: str, **attributes: str) -> Iterator[str]:
        with self._tracer.start_span(name, traceparent, kind=CONSUMER) as span:
            span.set(**{f"tapeline.{key}": value for key, value in attributes.items()})
            yield span.traceparent
