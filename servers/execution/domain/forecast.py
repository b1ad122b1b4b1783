"""What the rest of a session is expected to trade, learnt bin by bin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from native.volume_share import ShareForecast
from servers.execution.domain.tape import Column
from servers.model.nanos import NANO

Volumes = npt.NDArray[np.float64]


class VolumeForecaster(Protocol):
    """Expects the volume of one symbol's session from what has traded in it."""

    @property
    def edges_nanos(self) -> Sequence[int]:
        """Edges of the session's bins, UTC epoch nanoseconds; one more than there are bins."""
        ...

    def begin(self, volume: float, time_nanos: int) -> None:
        """Begin anew: so many shares had traded by a time, by bins as the curve has them."""
        ...

    def add(self, times: Column, sizes: Column) -> None:
        """Take in prints: times in UTC epoch nanoseconds, sizes in 1e-9 shares."""
        ...

    def expect(self, now_nanos: int) -> Volumes:
        """Return the expected volume of every bin of the session in shares; those that are over are 0.

        Raises ValueError when nothing can be said.
        """
        ...


class SessionForecast:
    """`native.volume_share` with the coefficients that hold without a fit, over the symbol's own curve.

    What a surprise so far says about the rest of the day grows from three tenths of it at the open to seven
    tenths at the close. Where no history says what a day brings, the level is what was seen over what the
    curve has by then, and before anything was seen the curve stands alone.

    Args:
        edges: edges of the bins, UTC epoch nanoseconds.
        shares: share of a session's volume in each bin.
        median_daily_volume: shares; 0 without history.
    """

    def __init__(self, edges: Sequence[int], shares: Sequence[float], median_daily_volume: float) -> None:
        self._edges = np.array(edges, dtype=np.int64)
        self._shares = np.array(shares, dtype=np.float64)
        self._level = median_daily_volume
        self._volumes = np.zeros(len(shares))
        if len(shares) == 0 or not self._shares.sum() > 0:
            raise ValueError("the curve has no weight")

    @property
    def edges_nanos(self) -> Sequence[int]:
        edges: list[int] = self._edges.tolist()
        return edges

    def begin(self, volume: float, time_nanos: int) -> None:
        before = self._shares * self._parts_before(time_nanos)
        total = float(before.sum())
        self._volumes = volume * before / total if total > 0 else np.zeros(len(self._shares))

    def add(self, times: Column, sizes: Column) -> None:
        bins = np.searchsorted(self._edges, times, side="right") - 1
        inside = (bins >= 0) & (bins < len(self._volumes))
        np.add.at(self._volumes, bins[inside], sizes[inside] / NANO)

    def expect(self, now_nanos: int) -> Volumes:
        over = int(np.clip(np.searchsorted(self._edges, now_nanos, side="right") - 1, 0, len(self._shares)))
        level = self._level or self._seen_level(now_nanos)
        if not level > 0:
            return self._shares
        forecast = ShareForecast(self._shares, level)
        for index in range(over):
            forecast.update(index, float(self._volumes[index]))
        return np.concatenate((np.zeros(over), forecast.remaining_volumes()))

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
