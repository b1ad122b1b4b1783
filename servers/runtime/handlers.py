"""The fused handler wrapper: everything that surrounds a call, in one coroutine, built once per method.

In order: trace context, deadline, readiness, concurrency limit, size, decoding, identity and role, the
servicer's method, encoding; then figures, span and, for a refusal, the status with its reason. It wraps
at registration, so that grpc.aio runs no interceptor chain, and leaves decoding to us, so that a hostile
message is refused with a reason.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from servers.model.errors import (
    DeadlineExceeded,
    InvalidInput,
    ResourceExhausted,
    TapelineError,
    Unavailable,
)
from servers.runtime.call import CURRENT_CALL, Call
from servers.runtime.component import Registration
from servers.runtime.health import Health
from servers.runtime.limiter import ConcurrencyLimit, MethodLatency
from servers.runtime.metrics import CallFigures
from servers.runtime.security import Gate
from servers.runtime.status import as_refusal, to_status
from servers.runtime.telemetry import Telemetry
from servers.runtime.tracing import CURRENT_SPAN, SERVER, is_traceparent

INFINITY = float("inf")
_NOBODY: frozenset[str] = frozenset()


@dataclass
class Serving:
    """What the wrapped handlers of one server share."""

    telemetry: Telemetry
    health: Health
    limit: ConcurrencyLimit
    gate: Gate | None = None
    max_message_bytes: int = 4 << 20
    max_streams: int = 1000
    streams: set[asyncio.Task[Any]] = field(default_factory=set)
    watches: set[asyncio.Task[Any]] = field(default_factory=set)
    cut: set[asyncio.Task[Any]] = field(default_factory=set)
    calls: int = 0

    @property
    def in_flight(self) -> int:
        """Return the number of calls being served, streams included, infrastructure not."""
        return self.calls + len(self.streams)

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
class _Method:
    # One method as it is served. An infrastructure method (health) is served while starting and draining.
    path: str
    name: str
    allowed: frozenset[str]
    is_exempt: bool
    is_infrastructure: bool
    figures: CallFigures
    latency: MethodLatency


class Router(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc's base has no types
    """All methods of a server, by path."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self.services: set[str] = set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._handlers.get(handler_call_details.method)

    def add(self, registration: Registration, *, is_infrastructure: bool = False) -> None:
        """Wrap the methods of one servicer."""
        collected = _Collected()
        registration.add(registration.servicer, collected)
        for path, handler in collected.handlers.items():
            _, service, name = path.split("/")
            self.services.add(service)
            method = _Method(
                path=path,
                name=path[1:],
                allowed=registration.roles.get(name, _NOBODY),
                is_exempt=name in registration.exempt or is_infrastructure,
                is_infrastructure=is_infrastructure,
                figures=self._serving.telemetry.calls.served(service, name),
                latency=self._serving.limit.method(),
            )
            self._handlers[path] = _wrap(self._serving, method, handler)


class _Collected:
    # Stands in for the server in generated `add_XServicer_to_server` functions.
    def __init__(self) -> None:
        self.handlers: dict[str, grpc.RpcMethodHandler] = {}

    def add_generic_rpc_handlers(self, generic_handlers: Sequence[Any]) -> None:
        for generic in generic_handlers:
            self.handlers.update(generic._method_handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self.handlers.update({f"/{service}/{name}": handler for name, handler in handlers.items()})


def _wrap(serving: Serving, method: _Method, handler: Any) -> grpc.RpcMethodHandler:
    decode = _checked(handler.request_deserializer, serving.max_message_bytes)
    encode = handler.response_serializer
    if handler.response_streaming:
        behavior = handler.stream_stream if handler.request_streaming else handler.unary_stream
        wrapped = _streaming(serving, method, behavior, None if handler.request_streaming else decode)
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(wrapped, decode, encode)
        return grpc.unary_stream_rpc_method_handler(wrapped, None, encode)
    if handler.request_streaming:
        wrapped = _streaming(serving, method, handler.stream_unary, None, answers_once=True)
        return grpc.stream_unary_rpc_method_handler(wrapped, decode, encode)
    return grpc.unary_unary_rpc_method_handler(_unary(serving, method, handler.unary_unary, decode, encode))


def _checked(decode: Any, most_bytes: int) -> Callable[[bytes], Any]:
    def checked(raw: bytes) -> Any:
        if len(raw) > most_bytes:
            raise ResourceExhausted(
                "MESSAGE_TOO_LARGE",
                f"a message of {len(raw)} bytes is above the limit of {most_bytes}",
                size_bytes=len(raw),
                limit_bytes=most_bytes,
            )
        try:
            return raw if decode is None else decode(raw)
        except (DecodeError, ValueError) as error:
            raise InvalidInput("MALFORMED_MESSAGE") from error

    return checked


def _unary(serving: Serving, method: _Method, behavior: Any, decode: Any, encode: Any) -> Any:
    """Return the wrapper of a unary-unary method: bytes in, bytes out."""
    begin_span = serving.telemetry.tracer.begin
    monotonic = time.monotonic
    set_call, set_span = CURRENT_CALL.set, CURRENT_SPAN.set
    limit, latency, figures = serving.limit, method.latency, method.figures
    observe_latency, observe = limit.observe, figures.observe
    path, name = method.path, method.name
    is_coroutine = inspect.iscoroutinefunction(behavior)
    is_exempt = method.is_exempt

    async def unary(raw: bytes, context: Any) -> bytes:
        started = monotonic()
        left = context.time_remaining()
        span = begin_span(name, SERVER, _traceparent_in(context.invocation_metadata()))
        call = Call(path, span, INFINITY if left is None else started + left)
        set_call(call)
        set_span(span)
        limit.in_flight += 1
        serving.calls += 1
        figures.in_flight += 1
        try:
            if limit.in_flight > limit.limit and not is_exempt:
                raise ResourceExhausted("OVERLOADED")
            _enter(serving, method, call, context, left)
            request = decode(raw)
            response = behavior(request, context)
            if is_coroutine:
                response = await response
            encoded: bytes = encode(response)
        except BaseException as error:
            await _refuse(serving, method, call, context, started, error)
            raise
        finally:
            limit.in_flight -= 1
            serving.calls -= 1
            figures.in_flight -= 1
        seconds = monotonic() - started
        bucket = observe(seconds)
        observe_latency(latency, seconds)
        if span.sampled:
            figures.exemplars[bucket] = (span.traceparent[3:35], seconds, time.time())
            span.end()
        return encoded

    return unary


def _streaming(
    serving: Serving, method: _Method, behavior: Any, decode: Any, *, answers_once: bool = False
) -> Any:
    """Return the wrapper of a method with a stream in it. `decode` is given for a single request."""
    figures = method.figures
    is_generator = inspect.isasyncgenfunction(behavior)
    mine = serving.watches if method.is_infrastructure else serving.streams

    async def streaming(request: Any, context: Any) -> Any:
        started = time.monotonic()
        left = context.time_remaining()
        span = serving.telemetry.tracer.begin(
            method.name, SERVER, _traceparent_in(context.invocation_metadata())
        )
        call = Call(method.path, span, INFINITY if left is None else started + left)
        CURRENT_CALL.set(call)
        CURRENT_SPAN.set(span)
        figures.in_flight += 1
        task = asyncio.current_task()
        assert task is not None
        response = None
        try:
            if len(serving.streams) >= serving.max_streams and not method.is_exempt:
                raise ResourceExhausted("OVERLOADED", "the server is at its limit of streams")
            _enter(serving, method, call, context, left)
            mine.add(task)
            if decode is not None:
                request = decode(request)
            if is_generator:
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
            mine.discard(task)
            serving.cut.discard(task)
            figures.in_flight -= 1
        figures.observe(time.monotonic() - started)
        span.end()
        return response if answers_once else None

    return streaming


async def _drive(responses: Any, context: Any) -> None:
    write = context.write
    try:
        async for response in responses:
            await write(response)
    finally:
        await responses.aclose()


def _enter(serving: Serving, method: _Method, call: Call, context: Any, left: float | None) -> None:
    """Refuse a call that comes too early, too late, or from somebody who may not."""
    if not method.is_infrastructure:
        if serving.health.is_draining:
            raise Unavailable("SHUTTING_DOWN")
        if not serving.health.is_started:
            raise Unavailable("NOT_READY")
        if left is not None and left <= 0:
            raise DeadlineExceeded("DEADLINE_TOO_SHORT")
    if serving.gate is not None:
        call.identity, call.roles = serving.gate.admit(context, method.name, method.allowed)


def _traceparent_in(metadata: Any) -> str:
    if metadata is not None:
        for key, value in metadata:
            if key == "traceparent":
                return value if isinstance(value, str) and is_traceparent(value) else ""
    return ""


async def _refuse(
    serving: Serving, method: _Method, call: Call, context: Any, started: float, error: BaseException
) -> None:
    """Count, log and answer what went wrong. Returns when there is nobody to answer."""
    span = call.span
    seconds = time.monotonic() - started
    method.figures.observe(seconds)
    if isinstance(error, TapelineError | grpc.aio.AioRpcError) or not isinstance(
        error, grpc.aio.AbortError | asyncio.CancelledError
    ):
        if not isinstance(error, Exception):
            method.figures.refuse("INTERNAL", "BUG")
            span.end()
            return
        refusal = as_refusal(
            error, deadline_has_passed=time.monotonic() >= call.deadline, trace_id=span.trace_id
        )
        code, message, metadata = to_status(refusal)
        if code is grpc.StatusCode.INTERNAL:
            serving.telemetry.log.error("call failed", reason=refusal.reason, exc_info=error)
        method.figures.refuse(code.name, refusal.reason)
        span.set(**{"rpc.grpc.status_code": code.value[0], "tapeline.reason": refusal.reason})
        if code.value[0] in (2, 13, 14):
            span.fail(refusal.reason)
        span.end()
        await context.abort(code, message, metadata)
    elif isinstance(error, asyncio.CancelledError):
        reason = "DEADLINE_EXCEEDED" if time.monotonic() >= call.deadline else "CANCELLED"
        method.figures.refuse(reason, "")
        span.set(**{"rpc.cancelled": True})
        span.end()
    else:
        answered = context.code()
        method.figures.refuse("UNKNOWN" if answered is None else answered.name, "")
        span.end()
