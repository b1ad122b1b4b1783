"""The schedules of the tracking study: what share should be done after a bin, said before its first trade."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from native.volume_profile import static_curve
from native.volume_share import ShareForecast
from servers.forecast import Panel, WalkForward
from servers.forecast.history import Doubles

STATIC_SESSIONS = 60


class DaySchedule(Protocol):
    """One order for one symbol and one session. It is asked and told in turn, bin by bin."""

    def share_after_next_bin(self) -> float:
        """Return the share of the order that should be done when the next bin is over."""
        ...

    def update(self, bin_index: int, volume: float, price: float) -> None:
        """Take a bin that is over; the price is NaN when nothing traded."""
        ...


class TrackingAlgorithm(Protocol):
    """Makes schedules for one session after the other, from what is known before each."""

    def schedules(self, past: Panel, bins: int) -> list[DaySchedule | None]:
        """Return a schedule for every symbol of the session after `past`; None where it cannot say any."""
        ...

    def learn(self, past: Panel, volumes: Doubles, prices: Doubles) -> None:
        """Take the session that is over (symbols by bins)."""
        ...


class FixedSchedule:
    """A curve known beforehand."""

    def __init__(self, weights: Doubles) -> None:
        done = np.cumsum(weights)
        self._done = (done / done[-1]).tolist()
        self._next = 0

    def share_after_next_bin(self) -> float:
        return float(self._done[self._next])

    def update(self, bin_index: int, volume: float, price: float) -> None:
        self._next = bin_index + 1


class Twap:
    """The same quantity in every bin."""

    def schedules(self, past: Panel, bins: int) -> list[DaySchedule | None]:
        return [FixedSchedule(np.ones(bins)) for _ in past.symbols]

    def learn(self, past: Panel, volumes: Doubles, prices: Doubles) -> None:
        """Learn nothing."""


class StaticVwap:
    """The mean share per bin over the trailing 60 whole sessions (all earlier if fewer), nothing cleverer."""

    def schedules(self, past: Panel, bins: int) -> list[DaySchedule | None]:
        days = np.flatnonzero(past.is_whole)[-STATIC_SESSIONS:]
        found: list[DaySchedule | None] = []
        for volumes in past.volumes[:, days]:
            if not volumes.any():
                found.append(None)
                continue
            curve = static_curve(np.ascontiguousarray(volumes), STATIC_SESSIONS)[:bins]
            found.append(FixedSchedule(curve) if curve.any() else None)
        return found

    def learn(self, past: Panel, volumes: Doubles, prices: Doubles) -> None:
        """Learn nothing: the sessions before are all it needs."""


class AdaptiveVwap:
    """The executed share follows the expected share of the day's volume, given what has traded so far."""

    def __init__(self) -> None:
        self._walk = WalkForward()

    def schedules(self, past: Panel, bins: int) -> list[DaySchedule | None]:
        self._known = self._walk.before(past, bins)
        forecasts: list[ShareForecast | None] = [
            self._known.forecast(symbol) for symbol in range(len(past.symbols))
        ]
        return list(forecasts)

    def learn(self, past: Panel, volumes: Doubles, prices: Doubles) -> None:
        self._walk.learn(self._known, past, volumes, prices)


ALGORITHMS: Mapping[str, Callable[[], TrackingAlgorithm]] = {
    "twap": Twap,
    "static_vwap": StaticVwap,
    "adaptive_vwap": AdaptiveVwap,
}
ALIASES = {"vwap": "static_vwap"}
