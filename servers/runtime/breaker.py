"""A circuit breaker: after repeated failures a peer is left alone for a moment, then probed by one call."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Closed, open, half open.

    Args:
        failures: consecutive failures that open it.
        shortest_seconds: how long it stays open at first; doubles up to `longest_seconds`.
        monotonic: a clock in seconds that never goes back.
    """

    __slots__ = (
        "_failures",
        "_failures_to_open",
        "_longest_seconds",
        "_monotonic",
        "_open_seconds",
        "_open_until",
        "_probe_until",
        "_shortest_seconds",
    )

    def __init__(
        self,
        failures: int = 10,
        shortest_seconds: float = 0.1,
        longest_seconds: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures_to_open = failures
        self._shortest_seconds = shortest_seconds
        self._longest_seconds = longest_seconds
        self._monotonic = monotonic
        self._failures = 0
        self._open_seconds = shortest_seconds
        self._open_until = 0.0
        self._probe_until = 0.0

    def admits(self) -> bool:
        """Return whether a call may be tried now. Half open, one call at a time is."""
        if self._failures < self._failures_to_open:
            return True
        now = self._monotonic()
        if now < self._open_until or now < self._probe_until:
            return False
        self._probe_until = now + self._longest_seconds
        return True

    def succeeded(self) -> None:
        """Record an answer: the peer is there."""
        self._failures = 0
        self._open_seconds = self._shortest_seconds

    def failed(self) -> None:
        """Record that the peer did not answer."""
        self._failures += 1
        if self._failures >= self._failures_to_open:
            self._open_until = self._monotonic() + self._open_seconds
            self._open_seconds = min(self._longest_seconds, self._open_seconds * 2)
            self._probe_until = 0.0
