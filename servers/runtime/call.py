"""The call that is being served: its deadline, trace and identity, for whatever runs under it."""

from __future__ import annotations

import time
from contextvars import ContextVar

from servers.runtime.tracing import Span


class Call:
    """One call in flight. `deadline` is a `time.monotonic()` value in seconds, infinite when unset."""

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
