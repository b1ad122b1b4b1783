"""How often a platform may be asked, and how long to stay away from it.

Times are UTC epoch nanoseconds of the machine's clock and are passed in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from servers.model.nanos import NANO

MARGIN_SECONDS = 1.0
"""The window is taken longer by so much: requests travel for unequal times."""


class RateLimit:
    """At most `requests` in any `window_seconds`; what the platform itself says takes precedence.

    Args:
        requests: allowed in a window, at least 1.
        window_seconds: length of the window, which slides, so that no fixed window can see more either.
    """

    def __init__(self, requests: int, window_seconds: float) -> None:
        if requests < 1 or window_seconds <= 0:
            raise ValueError("a rate limit needs at least one request in a window above 0 seconds")
        self._requests = requests
        self._window_nanos = round((window_seconds + MARGIN_SECONDS) * NANO)
        self._sent: deque[int] = deque()
        self._closed_until = 0

    def wait_seconds(self, now_nanos: int) -> float:
        """Return how long to wait before the next request; 0 when it may go now."""
        while self._sent and self._sent[0] <= now_nanos - self._window_nanos:
            self._sent.popleft()
        opens = self._closed_until
        if len(self._sent) >= self._requests:
            opens = max(opens, self._sent[0] + self._window_nanos)
        return max(0, opens - now_nanos) / NANO

    def sent(self, now_nanos: int) -> None:
        """Count a request, answered or not."""
        self._sent.append(now_nanos)

    def heard(self, remaining: float | None, reset_nanos: int | None) -> None:
        """Take in what an answer's headers say: requests left until the reset, and when that is."""
        if remaining is not None and remaining < 1 and reset_nanos is not None:
            self.close(reset_nanos)

    def close(self, until_nanos: int) -> None:
        """Send nothing before `until_nanos`."""
        self._closed_until = max(self._closed_until, until_nanos)


@dataclass(slots=True)
class BackOff:
    """Waits that grow from `first_seconds` to `most_seconds`: by a factor, or by a step.

    With a factor of 1 and a step they grow linearly. `reset` begins anew after a success.
    """

    first_seconds: float
    most_seconds: float
    factor: float = 2.0
    step_seconds: float = 0.0
    _next_seconds: float = -1.0

    def next_seconds(self) -> float:
        """Return the next wait."""
        wait = self.first_seconds if self._next_seconds < 0 else self._next_seconds
        self._next_seconds = min(self.most_seconds, wait * self.factor + self.step_seconds)
        return wait

    def reset(self) -> None:
        self._next_seconds = -1.0
