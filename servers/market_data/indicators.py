"""What indicators are computed from, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from servers.market_data.history import BarColumns, Doubles

IndicatorOutputs = Mapping[str, Doubles]


@dataclass(frozen=True, slots=True)
class BarSeries:
    """Bars as doubles: prices in currency units, volume in shares."""

    open: Doubles
    high: Doubles
    low: Doubles
    close: Doubles
    volume: Doubles

    @classmethod
    def of(cls, bars: BarColumns) -> BarSeries:
        """Return bars as series of one length."""
        return cls(
            bars.open_nanos / 1e9,
            bars.high_nanos / 1e9,
            bars.low_nanos / 1e9,
            bars.close_nanos / 1e9,
            bars.volume,
        )
