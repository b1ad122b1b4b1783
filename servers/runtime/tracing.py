"""Spans that cost next to nothing when unsampled, and W3C `traceparent` in and out of strings.

A context is carried as its `traceparent` text everywhere: in gRPC metadata, in events, in the journal.
The format is W3C Trace Context level 1: `00-<32 hex trace id>-<16 hex span id>-<2 hex flags>`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self, TypeGuard

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5
"""Span kinds, numbered as in OTLP."""

_VALID = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_SAMPLED_DIGITS = frozenset("13579bdf")
_random_bits = random.Random().getrandbits  # ids must differ, not be secret

AttributeValue = str | int | float | bool


def is_traceparent(text: object) -> TypeGuard[str]:
    """Return whether `text` is a valid version-00 traceparent with non-zero ids."""
    return isinstance(text, str) and _VALID(text) is not None


def is_sampled(traceparent: str) -> bool:
    """Return the sampled flag of a valid traceparent."""
    return traceparent[54] in _SAMPLED_DIGITS


def trace_id_of(traceparent: str) -> str:
    """Return the 32 hex digits of the trace id, empty when there is none."""
    return traceparent[3:35]


class Span:
    """One timed piece of work. Unsampled spans only carry the context on; `with` makes it the current one.

    Attributes are text, integers, floats or booleans. Times are UTC epoch nanoseconds.
    """

    __slots__ = (
        "_export",
        "_token",
        "_traceparent",
        "attributes",
        "end_nanos",
        "error",
        "events",
        "kind",
        "links",
        "name",
        "parent",
        "sampled",
        "start_nanos",
    )

    def __init__(
        self, name: str, kind: int, traceparent: str, parent: str, export: Callable[[Span], None] | None
    ) -> None:
        self.name = name
        self.kind = kind
        self._traceparent = traceparent
        self.parent = parent
        self.sampled = export is not None
        self._export = export
        self._token: Token[Span | None] | None = None
        if export is not None:
            self.attributes: dict[str, AttributeValue] = {}
            self.events: list[tuple[int, str, dict[str, AttributeValue]]] = []
            self.links: list[str] = []
            self.error: str | None = None
            self.start_nanos = time.time_ns()
            self.end_nanos = 0

    @property
    def traceparent(self) -> str:
        """Return the context as text. An unsampled root gets its ids when somebody asks."""
        text = self._traceparent
        if not text:
            text = f"00-{_random_bits(128) | 1:032x}-{_random_bits(64) | 1:016x}-00"
            self._traceparent = text
        return text

    @property
    def trace_id(self) -> str:
        """Return the trace id as 32 hex digits."""
        return self.traceparent[3:35]

    def set(self, **attributes: AttributeValue) -> None:
        """Set attributes."""
        if self.sampled:
            self.attributes.update(attributes)

    def event(self, name: str, **attributes: AttributeValue) -> None:
        """Record that something happened now."""
        if self.sampled:
            self.events.append((time.time_ns(), name, attributes))

    def fail(self, message: str) -> None:
        """Mark the work as failed."""
        if self.sampled:
            self.error = message

    def end(self) -> None:
        """Finish and hand the span to the exporter. A second call does nothing."""
        export = self._export
        if export is not None:
            self._export = None
            self.end_nanos = time.time_ns()
            export(self)

    def __enter__(self) -> Self:
        self._token = CURRENT_SPAN.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            CURRENT_SPAN.reset(self._token)
            self._token = None
        if error is not None:
            self.fail(f"{type(error).__name__}: {error}")
        self.end()


CURRENT_SPAN: ContextVar[Span | None] = ContextVar("tapeline_span", default=None)


def current_span() -> Span | None:
    """Return the span that this task works under, or None."""
    return CURRENT_SPAN.get()


def current_traceparent() -> str:
    """Return the present context as text, to be carried in events and metadata; empty when there is none."""
    span = CURRENT_SPAN.get()
    return "" if span is None else span.traceparent


class Tracer:
    """Makes spans and decides which are sampled.

    Args:
        export: receives every finished sampled span; None turns tracing off.
        sample_ratio: share of new traces that are sampled, 0 to 1. A span with a parent follows its parent.

    Attributes:
        is_on: whether there is an exporter.
    """

    __slots__ = ("_export", "_threshold", "is_on")

    def __init__(self, export: Callable[[Span], None] | None = None, sample_ratio: float = 1.0) -> None:
        self._export = export
        self.is_on = export is not None
        self._threshold = round(sample_ratio * (1 << 64)) if export is not None else 0

    def start_span(
        self,
        name: str,
        parent: str | None = None,
        *,
        kind: int = INTERNAL,
        links: Sequence[str] = (),
        **attributes: AttributeValue,
    ) -> Span:
        """Start a span; use it with `with`, or call `end()`.

        Args:
            name: what is being done, in few words and without ids.
            parent: a traceparent out of an event or a message. None continues the current span, and an
                empty or malformed text starts a new trace.
            links: traceparents of related work elsewhere.
        """
        if parent is None:
            current = CURRENT_SPAN.get()
            parent = "" if current is None else current.traceparent
        elif parent and not is_traceparent(parent):
            parent = ""
        span = self.begin(name, kind, parent)
        if span.sampled:
            span.attributes.update(attributes)
            span.links.extend(link for link in links if is_traceparent(link))
        return span

    def begin(self, name: str, kind: int, parent: str) -> Span:
        """Start a span under a checked traceparent, or a new trace when `parent` is empty."""
        export = self._export
        if parent:
            if export is None or parent[54] not in _SAMPLED_DIGITS:
                return Span(name, kind, parent, parent, None)
            return Span(name, kind, f"{parent[:36]}{_random_bits(64) | 1:016x}-01", parent, export)
        threshold = self._threshold
        if threshold and _random_bits(64) < threshold:
            return Span(
                name, kind, f"00-{_random_bits(128) | 1:032x}-{_random_bits(64) | 1:016x}-01", "", export
            )
        return Span(name, kind, "", "", None)
