"""What the market is like now beside what it is usually like: spread, depth, volume and volatility."""

from __future__ import annotations

import math
from typing import NamedTuple

from servers.model.market import Quote

_MEMORY = 0.05
_RECENT = 0.3
_LEAST_SAMPLES = 5


class Conditions(NamedTuple):
    """Each as a multiple of what is usual, 1 is ordinary; 0 where it is not known (yet)."""

    spread: float = 0.0
    depth: float = 0.0
    volume: float = 0.0
    volatility: float = 0.0


class _Usual:
    """A slow and a fast exponential mean of positive samples."""

    def __init__(self) -> None:
        self._slow = 0.0
        self._fast = 0.0
        self._count = 0

    def add(self, sample: float) -> None:
        self._count += 1
        if self._count == 1:
            self._slow = self._fast = sample
            return
        # The first samples weigh alike; old ones fade later.
        self._slow += max(_MEMORY, 1 / self._count) * (sample - self._slow)
        self._fast += max(_RECENT, 1 / self._count) * (sample - self._fast)

    @property
    def ratio(self) -> float:
        if self._count < _LEAST_SAMPLES or self._slow <= 0:
            return 0.0
        return self._fast / self._slow


class ConditionWatch:
    """Samples the market once a slice."""

    def __init__(self) -> None:
        self._spread = _Usual()
        self._depth = _Usual()
        self._movement = _Usual()
        self._last_mid_nanos = 0

    def sample(self, quote: Quote, traded: float, expected: float) -> Conditions:
        """Take one slice: its last quote, and shares that traded in it beside those that were expected."""
        mid = quote.mid_price_nanos
        if mid:
            self._spread.add((quote.ask_price_nanos - quote.bid_price_nanos) / mid)
            self._depth.add(float(quote.bid_size_nanos + quote.ask_size_nanos))
            if self._last_mid_nanos:
                self._movement.add((mid / self._last_mid_nanos - 1) ** 2)
            self._last_mid_nanos = mid
        volume = traded / expected if expected > 0 else 0.0
        volatility = math.sqrt(self._movement.ratio)
        return Conditions(self._spread.ratio, self._depth.ratio, volume, volatility)
