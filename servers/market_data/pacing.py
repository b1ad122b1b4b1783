"""Who the venue waits for: subscribers that pace acknowledge market time, and the slowest one counts."""

from __future__ import annotations

from collections.abc import Callable

from servers.market_data.domain import Acknowledgement


class Pacer:
    """One subscriber that paces."""

    def __init__(self, name: str, time_nanos: int, now_nanos: int, *, is_idle: bool) -> None:
        self.name = name
        self.acknowledged_nanos = time_nanos
        self.heard_nanos = now_nanos
        self.is_idle = is_idle
        self.is_dropped = False


class Pacers:
    """All subscribers that pace, and what the venue is to be told.

    Args:
        silence_nanos: wall time after which a pacer that says nothing no longer holds the venue.
        on_change: called when the acknowledgement for the venue has changed.
    """

    def __init__(self, silence_nanos: int, on_change: Callable[[], None] = lambda: None) -> None:
        self._silence_nanos = silence_nanos
        self._pacers: set[Pacer] = set()
        self._said: Acknowledgement | None = None
        self.on_change = on_change
        self.dropped_count = 0

    def __len__(self) -> int:
        return len(self._pacers)

    def join(self, name: str, time_nanos: int, now_nanos: int, *, is_idle: bool) -> Pacer:
        """Add a subscriber that has worked through everything up to `time_nanos`."""
        pacer = Pacer(name, time_nanos, now_nanos, is_idle=is_idle)
        self._pacers.add(pacer)
        self._changed()
        return pacer

    def leave(self, pacer: Pacer) -> None:
        """Take a subscriber out; the venue no longer waits for it."""
        self._pacers.discard(pacer)
        self._changed()

    def acknowledge(self, pacer: Pacer, time_nanos: int, now_nanos: int, *, is_idle: bool) -> None:
        """Record what a subscriber has worked through. Never goes back; a dropped pacer is in again."""
        pacer.heard_nanos = now_nanos
        pacer.is_idle = is_idle
        pacer.is_dropped = False
        pacer.acknowledged_nanos = max(pacer.acknowledged_nanos, time_nanos)
        self._changed()

    def drop_silent(self, now_nanos: int) -> list[Pacer]:
        """Stop waiting for the pacers that have been silent for too long, and return them."""
        silent = [
            pacer
            for pacer in self._pacers
            if not pacer.is_dropped
            and not pacer.is_idle
            and now_nanos - pacer.heard_nanos > self._silence_nanos
        ]
        for pacer in silent:
            pacer.is_dropped = True
        if silent:
            self.dropped_count += len(silent)
            self._changed()
        return silent

    def acknowledgement(self, market_time_nanos: int) -> Acknowledgement:
        """Return what to tell the venue: the slowest pacer's time, or idle when none holds it."""
        times = [
            pacer.acknowledged_nanos for pacer in self._pacers if not pacer.is_idle and not pacer.is_dropped
        ]
        if not times:
            return Acknowledgement(market_time_nanos, is_idle=True)
        return Acknowledgement(min(min(times), market_time_nanos), is_idle=False)

    def _changed(self) -> None:
        said = self.acknowledgement(2**63 - 1)
        if said != self._said:
            self._said = said
            self.on_change()
