"""The fused handler wrapper: everything that surrounds a call, in one coroutine, built once per method.

In order: trace context, deadline, concurrency limit, readiness, identity and role, size, decoding, the
servicer's method, encoding; then figures, span and, for a refusal, the status with its reason. It wraps
at registration, so that grpc.aio runs no interceptor chain, and it decodes, so that a hostile message is
refused with a reason.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from servers.model.errors import DeadlineExceeded, InvalidInput, ResourceExhausted, Unavailable
from servers.runtime.call import CURRENT_CALL, Call
from servers.runtime.health import Health
from servers.runtime.limiter import ConcurrencyLimit, MethodLatency
from servers.runtime.metrics import CallFigures
from servers.runtime.security import Gate
from servers.runtime.status import as_refusal, to_status
from servers.runtime.telemetry import Telemetry
from servers.runtime.tracing import CURRENT_SPAN, SERVER, is_traceparent

CALL_METADATA: ContextVar[tuple[tuple[str, str | bytes], ...]] = ContextVar("tapeline_call_metadata")
"""The metadata of the call that the present task serves, set when the router finds its handler."""

_INFINITY = float("inf")
_SERVER_FAULTS = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)


@dataclass
class Serving:
    """What the wrapped handlers of one server share.

    Attributes:
        streams: tasks of streams to and from the servicers; `watches`, those of health and reflection.
        cut: tasks that the server itself ends.
    """

    telemetry: Telemetry
    health: Health
    limit: ConcurrencyLimit
    gate: Gate | None = None
    max_message_bytes: int = 4 << 20
    max_streams: int = 1000
    streams: set[asyncio.Task[Any]] = field(default_factory=set)
    watches: set[asyncio.Task[Any]] = field(default_factory=set)
    cut: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def in_flight(self) -> int:
        """Return the number of calls being served, streams included, watches not."""
        return self.limit.in_flight + len(self.streams)

    def cut_streams(self) -> None:
        """End every stream with SHUTTING_DOWN; their readers resume elsewhere."""
        self._cut(self.streams)

    def cut_watches(self) -> None:
        """End the streams of health and reflection too."""
        self._cut(self.watches)

    def _cut(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks:
            self.cut.add(task)
            task.cancel()


@dataclass(frozen=True)
class ServedMethod:
    """One method as it is served.

    Attributes:
        path: `/package.Service/Method`; `name` is the same without the first slash.
        allowed: the roles that may call it.
        is_exempt: the concurrency limit never refuses it.
        is_infrastructure: served while the server starts and drains, as health is.
    """

    path: str
    name: str
    allowed: frozenset[str]
    is_exempt: bool
    is_infrastructure: bool
    figures: CallFigures
    latency: MethodLatency


def wrap(serving: Serving, method: ServedMethod, handler: Any) -> Any:
    """Return the handler that grpc runs in place of `handler`. Raises TypeError for a blocking stream."""
    encode = handler.response_serializer
    if not handler.request_streaming and not handler.response_streaming:
        return grpc.unary_unary_rpc_method_handler(
            _unary(serving, method, handler.unary_unary, handler.request_deserializer, encode)
        )
    decode = _checked(handler.request_deserializer, serving.max_message_bytes)
    behavior = handler.unary_stream or handler.stream_unary or handler.stream_stream
    if not inspect.iscoroutinefunction(behavior) and not inspect.isasyncgenfunction(behavior):
        raise TypeError(f"{method.name} must be an `async def`: it would block the event loop")
    if not handler.request_streaming:
        wrapped = _streaming(serving, method, behavior, decode)
        return grpc.unary_stream_rpc_method_handler(wrapped, None, encode)
    wrapped = _streaming(serving, method, behavior, None)
    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(wrapped, decode, encode)
    return grpc.stream_unary_rpc_method_handler(wrapped, decode, encode)


def _checked(decode: Callable[[bytes], Any], most_bytes: int) -> Callable[[bytes], Any]:
    def checked(raw: bytes) -> Any:
        if len(raw) > most_bytes:
            raise _too_large(raw, most_bytes)
        try:
            return decode(raw)
        except (DecodeError, ValueError) as error:
            raise InvalidInput("MALFORMED_MESSAGE") from error

    return checked


def _too_large(raw: bytes, most_bytes: int) -> ResourceExhausted:
    return ResourceExhausted(
        "MESSAGE_TOO_LARGE",
        f"a message of {len(raw)} bytes is above the limit of {most_bytes}",
        size_bytes=len(raw),
        limit_bytes=most_bytes,
    )


def _unary(
    serving: Serving,
    method: ServedMethod,
    behavior: Callable[[Any, Any], Any],
    decode: Callable[[bytes], Any],
    encode: Callable[[Any], bytes],
) -> Any:
    """Return the wrapper of a unary-unary method: bytes in, bytes out.

    What every call needs is bound to local names, and what only a refusal needs is elsewhere.
    """
    begin_span, health, gate = serving.telemetry.tracer.begin, serving.health, serving.gate
    metadata_of, set_call, set_span, monotonic = (
        CALL_METADATA.get, CURRENT_CALL.set, CURRENT_SPAN.set, time.monotonic,
    )  # fmt: skip
    limit, latency, figures = serving.limit, method.latency, method.figures
    observe_latency, observe, most_bytes = limit.observe, figures.observe, serving.max_message_bytes
    path, name, is_exempt = method.path, method.name, method.is_exempt
    is_coroutine = inspect.iscoroutinefunction(behavior)

    async def unary(raw: bytes, context: Any) -> bytes:
        started = monotonic()
        left = context.time_remaining()
        parent = ""
        for key, value in metadata_of():
            if key == "traceparent":
                parent = value if is_traceparent(value) else ""
        span = begin_span(name, SERVER, parent)
        call = Call(path, span, _INFINITY if left is None else started + left)
        set_call(call)
        set_span(span)
        limit.in_flight += 1
        figures.in_flight += 1
        try:
            if limit.in_flight > limit.limit and not is_exempt:
                raise ResourceExhausted("OVERLOADED")
            if gate is not None or not health.admits_calls or left == 0:
                _enter(serving, method, call, context)
            if len(raw) > most_bytes:
                raise _too_large(raw, most_bytes)
            try:
                request = decode(raw)
            except (DecodeError, ValueError) as error:
                raise InvalidInput("MALFORMED_MESSAGE") from error
            response = behavior(request, context)
            if is_coroutine:
                response = await response
            encoded = encode(response)
        except BaseException as error:
            await _refuse(serving, method, call, context, started, error)
            raise
        finally:
            call.deadline = _INFINITY
            limit.in_flight -= 1
            figures.in_flight -= 1
        seconds = monotonic() - started
        bucket = observe(seconds)
        observe_latency(latency, seconds)
        if span.sampled:
            figures.exemplars[bucket] = (span.trace_id, seconds, time.time())
            span.end()
        return encoded

    return unary


def _streaming(
    serving: Serving, method: ServedMethod, behavior: Any, decode: Callable[[bytes], Any] | None
) -> Any:
    """Return the wrapper of a method with a stream in it; `decode` is for a single request."""
    figures = method.figures
    is_generator = inspect.isasyncgenfunction(behavior)
    tasks = serving.watches if method.is_infrastructure else serving.streams

    async def streaming(request: Any, context: Any) -> Any:
        started = time.monotonic()
        left = context.time_remaining()
        parent = next((value for key, value in CALL_METADATA.get() if key == "traceparent"), "")
        begin_span = serving.telemetry.tracer.begin
        span = begin_span(method.name, SERVER, str(parent) if is_traceparent(parent) else "")
        call = Call(method.path, span, _INFINITY if left is None else started + left)
        CURRENT_CALL.set(call)
        CURRENT_SPAN.set(span)
        task: Any = asyncio.current_task()
        figures.in_flight += 1
        try:
            if len(tasks) >= serving.max_streams and not method.is_exempt:
                raise ResourceExhausted("OVERLOADED", "the server is at its limit of streams")
            _enter(serving, method, call, context)
            tasks.add(task)
            if decode is not None:
                request = decode(request)
            if is_generator:
                response = None
                await _drive(behavior(request, context), context)
            else:
                response = await behavior(request, context)
        except BaseException as error:
            if task in serving.cut and isinstance(error, asyncio.CancelledError):
                task.uncancel()
                error = Unavailable("SHUTTING_DOWN")
            await _refuse(serving, method, call, context, started, error)
            raise
        finally:
            call.deadline = _INFINITY
            tasks.discard(task)
            serving.cut.discard(task)
            figures.in_flight -= 1
        figures.observe(time.monotonic() - started)
        span.end()
        return response

    return streaming


async def _drive(responses: Any, context: Any) -> None:
    write = context.write
    try:
        async for response in responses:
            await write(response)
    finally:
        await responses.aclose()


def _enter(serving: Serving, method: ServedMethod, call: Call, context: Any) -> None:
    """Refuse a call that comes too early, too late, or from somebody who may not."""
    if not method.is_infrastructure:
        if serving.health.is_draining:
            raise Unavailable("SHUTTING_DOWN")
        if not serving.health.is_started:
            raise Unavailable("NOT_READY")
        if call.seconds_left() <= 0:
            raise DeadlineExceeded("DEADLINE_TOO_SHORT")
    if serving.gate is not None:
        call.identity, call.roles = serving.gate.admit(context, method.name, method.allowed)


async def _refuse(
    serving: Serving, method: ServedMethod, call: Call, context: Any, started: float, error: BaseException
) -> None:
    """Count, log and answer what went wrong; return when there is nobody to answer.

    Raises AbortError after an answer, as grpc wants it.
    """
    figures, span = method.figures, call.span
    figures.observe(time.monotonic() - started)
    is_late = call.seconds_left() <= 0
    if isinstance(error, asyncio.CancelledError | grpc.aio.InternalError):
        # The caller went away, or its time ran out: grpc cancels the task, or a write fails.
        code_name = "DEADLINE_EXCEEDED" if is_late else "CANCELLED"
        figures.refuse(code_name, "")
        span.set(**{"tapeline.cancelled": code_name})
        span.end()
    elif isinstance(error, grpc.aio.AbortError):
        answered = context.code()
        figures.refuse("UNKNOWN" if answered is None else answered.name, "")
        span.end()
    elif not isinstance(error, Exception):
        span.end()
    else:
        refusal = as_refusal(error, deadline_has_passed=is_late, trace_id=span.trace_id)
        code, message, metadata = to_status(refusal)
        figures.refuse(code.name, refusal.reason)
        if code is grpc.StatusCode.INTERNAL:
            serving.telemetry.log.error("call failed", reason=refusal.reason, exc_info=error)
        span.set(**{"rpc.grpc.status_code": code.value[0], "tapeline.reason": refusal.reason})
        if code in _SERVER_FAULTS:
            span.fail(refusal.reason)
        span.end()
        await context.abort(code, message, metadata)
