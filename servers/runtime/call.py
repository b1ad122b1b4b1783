"""The call that is being served: its deadline, trace and identity, for whatever runs under it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from servers.runtime.tracing import Span

_Result = TypeVar("_Result")


class Call:
    """One call in flight.

    `deadline` is a `time.monotonic()` value in seconds, infinite when the caller set none, and again when
    the call has been answered: what a handler leaves running is not bound by it.
    """

    __slots__ = ("deadline", "identity", "method", "roles", "span")

    def __init__(self, method: str, span: Span, deadline: float) -> None:
        self.method = method
        self.span = span
        self.deadline = deadline
        self.identity: str | None = None
        self.roles: frozenset[str] = frozenset()

    def seconds_left(self) -> float:
        """Return the seconds until the deadline: infinite when there is none, negative when it has passed."""
        return self.deadline - time.monotonic()


CURRENT_CALL: ContextVar[Call | None] = ContextVar("tapeline_call", default=None)


def current_call() -> Call | None:
    """Return the call that this task serves, or None outside of one."""
    return CURRENT_CALL.get()


def seconds_left() -> float:
    """Return what the present caller has left, in seconds: infinite outside of a call."""
    call = CURRENT_CALL.get()
    return float("inf") if call is None else call.deadline - time.monotonic()


def spawn(work: Coroutine[Any, Any, _Result], name: str) -> asyncio.Task[_Result]:
    """Run `work` as a task that outlives the present call: without its deadline, but in its trace.

    The caller keeps the task, as with `asyncio.create_task`.
    """
    context = copy_context()
    context.run(CURRENT_CALL.set, None)
    return asyncio.get_running_loop().create_task(work, name=name, context=context)
