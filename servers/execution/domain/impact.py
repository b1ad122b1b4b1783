"""An estimate of what an order does to the price: the square-root law.

impact = coefficient x daily volatility x sqrt(quantity / daily volume). The quantity counts what was
executed lately: it decays with a half-life, so that the estimate falls while nothing is sent. Source of
the form: Almgren, Thum, Hauptmann and Li, "Direct Estimation of Equity Market Impact", 2005; Toth et al.,
"Anomalous price impact and the critical nature of liquidity in financial markets", 2011. The coefficient
and the volatility are settings, not fitted to this market, and every report says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from servers.model.clock import NANOS_PER_SECOND
from servers.model.nanos import NANO

_MEAN_OVER_PATH = 2 / 3
"""Mean of sqrt(x) over 0 to 1: what an order pays on average while its impact builds up."""


@dataclass(frozen=True, slots=True)
class ImpactModel:
    """Parameters of the square-root law.

    Args:
        coefficient: of order one.
        daily_volatility: standard deviation of a day's log return.
        half_life_seconds: market seconds in which half of the executed quantity stops counting.
    """

    coefficient: float = 0.7
    daily_volatility: float = 0.015
    half_life_seconds: float = 1_800.0

    @property
    def name(self) -> str:
        """What a report calls it."""
        return (
            f"square root, coefficient {self.coefficient:g}, daily volatility {self.daily_volatility:g},"
            f" half-life {self.half_life_seconds:g} s; from settings, not calibrated"
        )

    def fraction(self, quantity_nanos: float, daily_volume: float) -> float:
        """Return the price move as a fraction; 0 when the daily volume (shares) is unknown."""
        if daily_volume <= 0 or quantity_nanos <= 0:
            return 0.0
        return self.coefficient * self.daily_volatility * math.sqrt(quantity_nanos / NANO / daily_volume)

    def cost_attos(self, quantity_nanos: int, price_nanos: int, daily_volume: float) -> int:
        """Return the estimated cost of a whole execution in 1e-18 currency units, positive."""
        fraction = self.fraction(quantity_nanos, daily_volume) * _MEAN_OVER_PATH
        return round(fraction * 1e9) * (quantity_nanos * price_nanos // NANO)


class RecentQuantity:
    """Executed quantity in 1e-9 shares that decays with the model's half-life."""

    def __init__(self, half_life_seconds: float) -> None:
        self._half_life_nanos = half_life_seconds * NANOS_PER_SECOND
        self._quantity_nanos = 0.0
        self._time_nanos = 0

    def add(self, time_nanos: int, quantity_nanos: int) -> None:
        """Count a fill (a negative one takes it back)."""
        self._quantity_nanos = max(self.at(time_nanos) + quantity_nanos, 0.0)
        self._time_nanos = max(self._time_nanos, time_nanos)

    def at(self, time_nanos: int) -> float:
        """Return what still counts at a market time."""
        age = max(time_nanos - self._time_nanos, 0)
        return self._quantity_nanos * math.exp2(-age / self._half_life_nanos)
