"""What the rest of a session is expected to trade, learnt bin by bin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from native.volume_share import ShareForecast
from servers.execution.domain.fitting import FittedForecast
from servers.execution.domain.tape import Column
from servers.model.nanos import NANO

Volumes = npt.NDArray[np.float64]


class VolumeForecaster(Protocol):
    """Expects the volume of one symbol's session from what has traded in it."""

    @property
    def edges_nanos(self) -> Sequence[int]:
        """Edges of the session's bins, UTC epoch nanoseconds; one more than there are bins."""
        ...

    @property
    def is_in_shares(self) -> bool:
        """Whether it knows what a session trades; without that it may expect the curve's shape alone."""
        ...

    def begin(self, volume: float, time_nanos: int, price: float = math.nan) -> None:
        """Begin anew: so many shares had traded by a time, along the curve, the last at a price."""
        ...

    def add(self, times: Column, sizes: Column, prices: Column) -> None:
        """Take in prints: UTC epoch nanoseconds, sizes in 1e-9 shares, prices in 1e-9 currency units."""
        ...

    def expect(self, now_nanos: int) -> Volumes:
        """Return the expected volume of every bin of the session in shares; those that are over are 0.

        Raises ValueError when nothing can be said.
        """
        ...


class SessionForecast:
    """`native.volume_share` over a volume curve, fitted on earlier sessions or with what holds without a fit.

    What a surprise so far says about the rest of the day grows from three tenths of it at the open to seven
    tenths at the close. Where no history says what a day brings, the level is what was seen over what the
    curve has by then, and before anything was seen the curve stands alone.

    Args:
        edges: edges of the bins, UTC epoch nanoseconds.
        shares: share of a session's volume in each bin.
        day_volume: expected of the session, shares; 0 without history.
        fitted: coefficients, last price and usual move out of earlier sessions; None where there is no fit.
    """

    def __init__(
        self,
        edges: Sequence[int],
        shares: Sequence[float],
        day_volume: float,
        fitted: FittedForecast | None = None,
    ) -> None:
        self._edges = np.array(edges, dtype=np.int64)
        self._shares = np.array(shares, dtype=np.float64)
        self._level = day_volume
        self._fitted = fitted
        self._volumes = np.zeros(len(shares))
        self._notional = np.zeros(len(shares))
        self._first_price = math.nan
        if len(shares) == 0 or not self._shares.sum() > 0:
            raise ValueError("the curve has no weight")

    @property
    def edges_nanos(self) -> Sequence[int]:
        edges: list[int] = self._edges.tolist()
        return edges

    @property
    def is_in_shares(self) -> bool:
        return self._level > 0

    def begin(self, volume: float, time_nanos: int, price: float = math.nan) -> None:
        before = self._shares * self._parts_before(time_nanos)
        total = float(before.sum())
        self._volumes = volume * before / total if total > 0 else np.zeros(len(self._shares))
        self._notional = np.zeros(len(self._shares))
        self._first_price = price

    def add(self, times: Column, sizes: Column, prices: Column) -> None:
        bins = np.searchsorted(self._edges, times, side="right") - 1
        inside = (bins >= 0) & (bins < len(self._volumes))
        shares = sizes[inside] / NANO
        np.add.at(self._volumes, bins[inside], shares)
        np.add.at(self._notional, bins[inside], shares * (prices[inside] / NANO))

    def expect(self, now_nanos: int) -> Volumes:
        over = int(np.clip(np.searchsorted(self._edges, now_nanos, side="right") - 1, 0, len(self._shares)))
        level = self._level or self._seen_level(now_nanos)
        if not level > 0:
            return self._shares
        forecast = self._new_forecast(level)
        for index in range(over):
            volume = float(self._volumes[index])
            seen = float(self._notional[index])
            # What traded before the parent began is known by its volume alone.
            forecast.update(index, volume, seen / volume if seen > 0 else self._first_price)
        return np.concatenate((np.zeros(over), forecast.remaining_volumes()))

    def _new_forecast(self, level: float) -> ShareForecast:
        if self._fitted is None:
            return ShareForecast(self._shares, level)
        fitted = self._fitted
        return ShareForecast(
            self._shares, level, fitted.coefficients, fitted.previous_price, fitted.typical_move
        )

    def _seen_level(self, now_nanos: int) -> float:
        share = float((self._shares * self._parts_before(now_nanos)).sum() / self._shares.sum())
        return float(self._volumes.sum()) / share if share > 0 else 0.0

    def _parts_before(self, time_nanos: int) -> Volumes:
        lengths = np.diff(self._edges)
        parts: Volumes = np.clip((time_nanos - self._edges[:-1]) / lengths, 0.0, 1.0)
        return parts


def volume_between(edges: Sequence[int], volumes: Sequence[float] | Volumes, start: int, end: int) -> float:
    """Return the volume of bins between two times, bins cut in two by the time that lies inside."""
    total = 0.0
    for low, high, volume in zip(edges, edges[1:], volumes, strict=False):
        inside = min(high, end) - max(low, start)
        if inside > 0:
            total += volume * inside / (high - low)
    return float(total)
