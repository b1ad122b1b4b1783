"""The adaptive concurrency limit: as many unary calls at once as the server answers without queueing.

A gradient limit (after Netflix's "Performance Under Load", 2018): each method has a slow average of its
own latency as its baseline; when the present latency, event-loop lag included, rises above the baseline
by more than the tolerance, the limit shrinks in proportion, otherwise it grows by a small queue.
Baselines are per method, so that a slow method is not taken for congestion of a fast one.
"""

from __future__ import annotations

from dataclasses import dataclass

_TOLERANCE = 3.0
_SHRINK_AT_MOST = 0.5
_SMOOTHING = 0.2
_BASELINE_GAIN_DOWN = 0.2
_BASELINE_GAIN_UP = 0.005
_FLOOR_SECONDS = 0.005


@dataclass(frozen=True)
class Limits:
    """The bounds of the limit, in calls in flight, and how many samples make a window."""

    initial: int = 512
    least: int = 64
    most: int = 4096
    window_calls: int = 64


class MethodLatency:
    """What the limiter knows of one method: the present window and the slow baseline, in seconds."""

    __slots__ = ("baseline_seconds", "calls", "total_seconds")

    def __init__(self) -> None:
        self.baseline_seconds = 0.0
        self.calls = 0
        self.total_seconds = 0.0


class ConcurrencyLimit:
    """How many calls may be in flight. The caller counts `in_flight` up and down."""

    __slots__ = ("_limits", "_methods", "_samples", "in_flight", "lag_seconds", "limit", "window_calls")

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._methods: list[MethodLatency] = []
        self._samples = 0
        self.window_calls = limits.window_calls
        self.limit = limits.initial
        self.in_flight = 0
        self.lag_seconds = 0.0

    def method(self) -> MethodLatency:
        """Return the record of one more method."""
        latency = MethodLatency()
        self._methods.append(latency)
        return latency

    def observe(self, method: MethodLatency, seconds: float) -> None:
        """Count one answered call of `method` that took `seconds`."""
        method.calls += 1
        method.total_seconds += seconds
        self._samples += 1
        if self._samples >= self.window_calls:
            self.adapt()

    def adapt(self) -> None:
        """Close the window and move the limit."""
        samples, self._samples = self._samples, 0
        pressure = 0.0
        for method in self._methods:
            if method.calls:
                pressure += method.calls * self._pressure(method)
        gradient = max(_SHRINK_AT_MOST, min(1.0, _TOLERANCE * samples / pressure)) if pressure else 1.0
        wanted: float
        if gradient < 1.0:
            wanted = self.limit * gradient
        elif self.in_flight * 2 >= self.limit:
            wanted = self.limit + self.limit**0.5 / _SMOOTHING
        else:
            return
        smoothed = self.limit + _SMOOTHING * (wanted - self.limit)
        self.limit = int(max(self._limits.least, min(self._limits.most, smoothed)))

    def _pressure(self, method: MethodLatency) -> float:
        # Present latency over the baseline; latencies below the floor are never congestion.
        present = max(method.total_seconds / method.calls + self.lag_seconds, _FLOOR_SECONDS)
        method.calls = 0
        method.total_seconds = 0.0
        baseline = method.baseline_seconds or present
        gain = _BASELINE_GAIN_DOWN if present < baseline else _BASELINE_GAIN_UP
        method.baseline_seconds = baseline + gain * (present - baseline)
        return present / baseline
