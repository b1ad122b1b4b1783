"""Rates and repetitions, in wall time."""

from __future__ import annotations

from collections import deque

from servers.model.clock import NANOS_PER_SECOND
from servers.model.order import OrderTerms

BURST_SECONDS = 2.0
"""A burst may take what the sustained rate allows in this time."""


class TokenBucket:
    """So many a second, sustained; `BURST_SECONDS` worth of them at once, and one where that is less."""

    __slots__ = ("_at_nanos", "_most", "_tokens", "per_second")

    def __init__(self, per_second: float, now_nanos: int) -> None:
        self.per_second = per_second
        self._most = max(1.0, per_second * BURST_SECONDS) if per_second else 0.0
        self._tokens = self._most
        self._at_nanos = now_nanos

    def has_one(self, now_nanos: int) -> bool:
        """Return whether one more passes now."""
        # A clock that was set back gains nothing, and is counted from where it stands.
        passed = max(0, now_nanos - self._at_nanos) / NANOS_PER_SECOND
        self._tokens = min(self._most, self._tokens + passed * self.per_second)
        self._at_nanos = now_nanos
        return self._tokens >= 1.0

    def take(self) -> None:
        """Count one; what always passes may run up a debt of one burst."""
        self._tokens = max(-self._most, self._tokens - 1.0)


class DuplicateWindow:
    """Contents of recent orders of one account."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], int] = {}
        self._order: deque[tuple[int, tuple[object, ...]]] = deque()

    def seen_at(self, terms: OrderTerms) -> int:
        """Return the wall time at which an order of this content was last let through; 0 for never."""
        return self._seen.get(_content(terms), 0)

    def add(self, terms: OrderTerms, now_nanos: int, window_nanos: int) -> None:
        """Remember an order that was let through, and forget what is older than the window."""
        content = _content(terms)
        self._seen[content] = now_nanos
        self._order.append((now_nanos, content))
        while self._order and now_nanos - self._order[0][0] > window_nanos:
            at_nanos, old = self._order.popleft()
            if self._seen.get(old) == at_nanos:
                del self._seen[old]


def _content(terms: OrderTerms) -> tuple[object, ...]:
    return terms.symbol, terms.side, terms.quantity_nanos, terms.limit_price_nanos
