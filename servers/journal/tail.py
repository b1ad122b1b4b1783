"""The last records of a journal in memory, for readers at its live end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from servers.journal.record import Record


class Tail:
    """A window over the newest records that any number of readers share.

    Args:
        last_sequence: the journal's last sequence at the start; the window is empty and begins there.
        capacity: records kept; memory holds up to twice as many for a moment.
    """

    def __init__(self, last_sequence: int, capacity: int) -> None:
        self._records: list[Record] = []
        self._first_after = last_sequence
        self._capacity = capacity
        self._waiters: list[asyncio.Future[None]] = []
        self.is_closed = False

    @property
    def last_sequence(self) -> int:
        """The newest sequence."""
        return self._first_after + len(self._records)

    def extend(self, records: Sequence[Record]) -> None:
        """Add `records`, let go of the oldest, and wake the readers that wait."""
        self._records.extend(records)
        if len(self._records) > 2 * self._capacity:
            surplus = len(self._records) - self._capacity
            del self._records[:surplus]
            self._first_after += surplus
        self._wake()

    def holds(self, after_sequence: int) -> bool:
        """Return whether everything above `after_sequence` is in the window."""
        return after_sequence >= self._first_after

    def page(self, after_sequence: int, limit: int) -> list[Record]:
        """Return up to `limit` records above `after_sequence`, which the window must hold."""
        first = after_sequence - self._first_after
        return self._records[first : first + limit]

    async def wait_above(self, sequence: int, timeout_seconds: float | None = None) -> bool:
        """Wait for a record above `sequence`. Return False when closed or out of time."""
        while self.last_sequence <= sequence:
            if self.is_closed:
                return False
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            done, _ = await asyncio.wait([waiter], timeout=timeout_seconds)
            if not done:
                self._waiters.remove(waiter)
                return False
        return True

    def close(self) -> None:
        """Wake every reader; those who have read all there is end."""
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
