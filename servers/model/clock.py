"""Two clocks, both passed in: market time comes with the data, wall time from the machine."""

from __future__ import annotations

import time
from typing import Protocol

NANOS_PER_SECOND = 1_000_000_000


class Clock(Protocol):
    """A source of UTC epoch nanoseconds."""

    def now_nanos(self) -> int:
        """Return the present time, in nanoseconds since the Unix epoch, UTC."""
        ...


class WallClock:
    """The machine's clock: deadlines, retries, leases and `create_time`."""

    def now_nanos(self) -> int:
        return time.time_ns()


class MarketClock:
    """The last market time that the venue sent. It never runs on alone, and never back."""

    def __init__(self, now_nanos: int = 0) -> None:
        self._now_nanos = now_nanos

    def now_nanos(self) -> int:
        return self._now_nanos

    def advance(self, event_time_nanos: int) -> None:
        """Move to `event_time_nanos`; an earlier time is ignored."""
        if event_time_nanos > self._now_nanos:
            self._now_nanos = event_time_nanos


class ManualClock(MarketClock):
    """A clock that tests set by hand."""

    def tick(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        self._now_nanos += round(seconds * NANOS_PER_SECOND)
