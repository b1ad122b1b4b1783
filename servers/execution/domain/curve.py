"""A typical intraday volume curve, for symbols without a history of their own."""

from __future__ import annotations

from servers.execution.domain.parameters import MINUTE_NANOS, SessionTimes

TYPICAL_BIN_NANOS = 5 * MINUTE_NANOS
_CURVATURE = 1.2


def typical_curve(session: SessionTimes) -> tuple[float, ...]:
    """Return shares of 5-minute bins that sum to 1: a parabola, 1.8 times the mean at the ends, 0.6 midway.

    Markets trade most after the open and before the close (Jain and Joh, "The Dependence between Hourly
    Prices and Trading Volume", 1988). It is fitted to nothing, and the report says that it was used.
    """
    length = session.close_time_nanos - session.open_time_nanos
    bins = max(-(-length // TYPICAL_BIN_NANOS), 1)
    weights = [1 + _CURVATURE * ((2 * (i + 0.5) / bins - 1) ** 2 - 1 / 3) for i in range(bins)]
    total = sum(weights)
    return tuple(weight / total for weight in weights)
