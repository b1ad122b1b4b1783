"""What a server hands to the runtime, and what the runtime hands to a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from servers.model.clock import Clock, WallClock

if TYPE_CHECKING:
    from servers.runtime.channels import Channels
    from servers.runtime.health import Health
    from servers.runtime.telemetry import Telemetry


@dataclass(frozen=True)
class Registration:
    """One servicer and who may call it.

    Args:
        add: the generated `add_XServicer_to_server`.
        servicer: the object that implements the methods, as coroutines, generators or plain functions.
        roles: method name -> roles that may call it; "*" as a role admits every identity. With
            security on, a method that is not listed is refused.
        exempt: method names that the concurrency limit never refuses (cancels, the kill switch).
    """

    add: Callable[[Any, Any], None]
    servicer: object
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    exempt: frozenset[str] = frozenset()


class Component(Protocol):
    """A server without its transport: what `build(settings, context)` returns."""

    def registrations(self) -> Sequence[Registration]:
        """Return the gRPC services."""
        ...

    async def start(self) -> None:
        """Restore the own state and start background tasks. Health turns SERVING when this returns."""
        ...

    async def stop(self) -> None:
        """Stop the background tasks and close what is open; the calls in flight have finished."""
        ...


@dataclass
class Context:
    """What the runtime gives a component.

    Attributes:
        name: the server's name, `orders`.
        telemetry: metrics registry, tracer and log of this server.
        channels: the client side, to the peers.
        health: readiness beyond `start()`; see `Health.set_serving`.
        fail: report a fatal background error. The process goes down with it.
        failure: done, with the error, once `fail` was called.
        wall_clock: the machine's time.
    """

    name: str
    telemetry: Telemetry
    channels: Channels
    health: Health
    fail: Callable[[BaseException], None]
    failure: asyncio.Future[BaseException]
    wall_clock: Clock = field(default_factory=WallClock)
