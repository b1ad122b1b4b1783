"""The band around a parent's schedule: who should be looked at because it is ahead or behind."""

from __future__ import annotations

from servers.execution.domain.controls import Change
from servers.model.clock import NANOS_PER_SECOND

RELEASE_SHARE = 0.5
"""Share of the band within which a parent that left it is back in it."""


class ScheduleBand:
    """Tells when the filled share was off the scheduled one by more than the band for a while.

    It changes nothing: the cap, a limit price or a pause may well hold a parent back for good reasons.

    Args:
        band: distance as a fraction of the quantity.
        patience_nanos: market time for which it must last, so that a late slice is not told.
    """

    def __init__(self, band: float, patience_nanos: int) -> None:
        self._band = band
        self._patience_nanos = patience_nanos
        self._since_nanos = 0
        self.is_out = False

    def update(self, now_nanos: int, scheduled_share: float, filled_share: float) -> Change | None:
        """Take in where schedule and fills stand at a market time; return a change to tell."""
        behind = scheduled_share - filled_share
        bound = self._band * (RELEASE_SHARE if self.is_out else 1.0)
        if (abs(behind) > bound) is self.is_out:
            self._since_nanos = now_nanos
            return None
        if not self.is_out and now_nanos - self._since_nanos < self._patience_nanos:
            return None
        self.is_out = not self.is_out
        self._since_nanos = now_nanos
        where = f"filled {filled_share:.1%}, scheduled {scheduled_share:.1%}"
        if not self.is_out:
            return Change("SCHEDULE", f"{where}: back in its band of {self._band:.1%}")
        seconds = self._patience_nanos / NANOS_PER_SECOND
        word = "behind" if behind > 0 else "ahead"
        return Change("SCHEDULE", f"{where}: {word} by more than {self._band:.1%} for {seconds:,.0f} s")
