"""Market time: how far the venue may run, given its speed and the subscribers that pace it."""

from __future__ import annotations

from servers.model.clock import NANOS_PER_SECOND


class Pacer:
    """One subscriber that the venue waits for."""

    def __init__(self, name: str, acknowledged_nanos: int, heard_nanos: int, *, is_idle: bool) -> None:
        self.name = name
        self.acknowledged_nanos = acknowledged_nanos
        self.heard_nanos = heard_nanos
        self.is_idle = is_idle
        self.is_dropped = False


class VenueClock:
    """The venue's time. It goes forward alone, at most at its speed and at most so far ahead of its pacers.

    Args:
        now_nanos: market time to begin with, UTC epoch nanoseconds.
        speed: market seconds per wall second at most.
        is_held: whether it stands until it is released.
        lead_seconds: market seconds ahead of the slowest pacer at most.
        silence_seconds: wall seconds after which a silent pacer is dropped.
    """

    def __init__(
        self, now_nanos: int, speed: float, *, is_held: bool, lead_seconds: float, silence_seconds: float
    ) -> None:
        self.now_nanos = now_nanos
        self.is_held = is_held
        self._speed = speed
        self._lead = round(lead_seconds * NANOS_PER_SECOND)
        self._silence = round(silence_seconds * NANOS_PER_SECOND)
        self._pacers: set[Pacer] = set()
        self._wall_nanos: int | None = None

    @property
    def speed(self) -> float:
        """Market seconds per wall second at most."""
        return self._speed

    @speed.setter
    def speed(self, value: float) -> None:
        self._speed = value
        self._wall_nanos = None

    @property
    def pacer_count(self) -> int:
        return len(self._pacers)

    def join(self, name: str, wall_nanos: int, *, is_idle: bool) -> Pacer:
        """Add a pacer; it has worked through everything up to now."""
        pacer = Pacer(name, self.now_nanos, wall_nanos, is_idle=is_idle)
        self._pacers.add(pacer)
        return pacer

    def leave(self, pacer: Pacer) -> None:
        self._pacers.discard(pacer)

    def acknowledge(self, pacer: Pacer, time_nanos: int, wall_nanos: int, *, is_idle: bool) -> None:
        """Record what a pacer has worked through; a dropped one is waited for again."""
        pacer.acknowledged_nanos = min(max(pacer.acknowledged_nanos, time_nanos), self.now_nanos)
        pacer.heard_nanos = wall_nanos
        pacer.is_idle = is_idle
        pacer.is_dropped = False

    def drop_silent(self, wall_nanos: int) -> list[Pacer]:
        """Stop waiting for pacers that are silent for too long; return those that were dropped now."""
        silent = [
            pacer
            for pacer in self._pacers
            if not pacer.is_dropped and not pacer.is_idle and wall_nanos - pacer.heard_nanos > self._silence
        ]
        for pacer in silent:
            pacer.is_dropped = True
        return silent

    def allowed_nanos(self, wall_nanos: int) -> int:
        """Return how far market time may go at a moment of wall time. Time lost to pacers is not made up."""
        if self.is_held:
            self._wall_nanos = None
            return self.now_nanos
        if self._wall_nanos is None:
            self._wall_nanos = wall_nanos
        by_speed = self.now_nanos + round(max(wall_nanos - self._wall_nanos, 0) * self._speed)
        waited_for = [
            pacer.acknowledged_nanos + self._lead
            for pacer in self._pacers
            if not pacer.is_idle and not pacer.is_dropped
        ]
        return max(min([by_speed, *waited_for]), self.now_nanos)

    def advance(self, time_nanos: int, wall_nanos: int) -> None:
        """Move to `time_nanos` at a moment of wall time; never back."""
        self.now_nanos = max(self.now_nanos, time_nanos)
        self._wall_nanos = wall_nanos

    def jump(self, time_nanos: int) -> None:
        """Skip to `time_nanos`, as from one session to the next; never back."""
        self.now_nanos = max(self.now_nanos, time_nanos)
        for pacer in self._pacers:
            pacer.acknowledged_nanos = self.now_nanos
        self._wall_nanos = None
