"""Readiness, as `grpc.health.v1` shows it.

grpcio's own asyncio servicer forgets all watchers of a service when one of them leaves (1.81), and
clients balance on these watches, so the servicer stands here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Status = health_pb2.HealthCheckResponse
_Value = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """SERVING when the component has started, says that it is ready, and the server is not draining.

    Attributes:
        admits_calls: whether calls are taken at all: between the end of `start()` and the drain.
    """

    def __init__(self) -> None:
        self._services: frozenset[str] = frozenset(("",))
        self._watchers: set[asyncio.Event] = set()
        self._is_ready = True
        self._is_started = False
        self._is_draining = False
        self.admits_calls = False

    @property
    def is_serving(self) -> bool:
        """Return whether health answers SERVING."""
        return self._is_started and self._is_ready and not self._is_draining

    @property
    def is_started(self) -> bool:
        """Return whether the component's `start()` has returned."""
        return self._is_started

    @property
    def is_draining(self) -> bool:
        """Return whether the server is going down."""
        return self._is_draining

    def set_serving(self, is_ready: bool) -> None:
        """Say whether the component can do its work, for instance whether it has caught up.

        Called with False before `start()` returns, it keeps the server NOT_SERVING until it is called
        with True.
        """
        self._is_ready = is_ready
        self._notify()

    def name_services(self, services: Iterable[str]) -> None:
        """Add the full names of the services that health answers for, beside the server as a whole."""
        self._services = self._services.union(services)

    def mark_started(self) -> None:
        """Record that the component's state is restored."""
        self._is_started = True
        self.admits_calls = not self._is_draining
        self._notify()

    def mark_draining(self) -> None:
        """Turn NOT_SERVING for good."""
        self._is_draining = True
        self.admits_calls = False
        self._notify()

    def status(self, service: str) -> _Value | None:
        """Return the `ServingStatus` of `service`, None when it is unknown."""
        if service not in self._services:
            return None
        return _Status.SERVING if self.is_serving else _Status.NOT_SERVING

    async def watch(self, service: str) -> AsyncIterator[_Value]:
        """Yield the status now and whenever it changes."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            last: _Value | None = None
            while True:
                status = self.status(service)
                shown = _Status.SERVICE_UNKNOWN if status is None else status
                if shown != last:
                    yield shown
                    last = shown
                    continue
                await changed.wait()
                changed.clear()
        finally:
            self._watchers.discard(changed)

    def _notify(self) -> None:
        for changed in self._watchers:
            changed.set()


class HealthServicer(health_pb2_grpc.HealthServicer):
    """`grpc.health.v1.Health` over a `Health`."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def Check(self, request: Any, context: Any) -> Any:
        status = self._health.status(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return _Status(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for status in self._health.watch(request.service):
            yield _Status(status=status)
