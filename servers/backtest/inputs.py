"""What is known before each session of each symbol, and what its bins bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from native.volume_profile import static_curve
from native.volume_share import ShareForecast
from servers.backtest.tracking import BIN_NANOS, MEDIAN_SESSIONS, first_test_session
from servers.backtest.tracking_algorithms import STATIC_SESSIONS
from servers.forecast import DayForecasts, Panel, WalkForward
from servers.forecast.history import Doubles
from servers.model.calendar import Session

VOLATILITY_SESSIONS = 20
MIN_RETURNS = 5
DEFAULT_VOLATILITY = 0.02
"""Daily, where fewer than MIN_RETURNS closes tell none."""

Progress = Callable[[int, int], None]


class DayForecast(Protocol):
    """What a forecast of a day answers; it is told of a bin when the bin is over."""

    def remaining_volumes(self) -> Doubles:
        """Return the expected volume of every bin that is not over, shares."""
        ...

    def update(self, bin_index: int, volume: float, price: float) -> None:
        """Take a bin that is over; the price is NaN when nothing traded."""
        ...


@dataclass(frozen=True, slots=True)
class DayInputs:
    """One symbol's session: what its orders are made of.

    Attributes:
        median_volume: trailing median of 20 sessions, shares.
        volatility: standard deviation of daily log returns over 20 sessions.
        static_weights: mean share per bin over 60 sessions.
        curve, day_volume, coefficients, previous_price, typical_move: of the forecast before the open.
        volumes, prices: what the bins bring; a forecast sees each when it is over.
    """

    symbol: str
    session: Session
    median_volume: float
    volatility: float
    static_weights: Doubles
    curve: Doubles
    day_volume: float
    coefficients: Doubles
    previous_price: float
    typical_move: float
    volumes: Doubles
    prices: Doubles

    @property
    def edges(self) -> list[int]:
        """Return the edges of the bins, UTC epoch nanos; the last bin ends with the session."""
        opens, closes = self.session.open_time_nanos, self.session.close_time_nanos
        return [*range(opens, closes, BIN_NANOS), closes]

    def forecast(self) -> ShareForecast:
        """Return a new forecast, as it is before the open."""
        return ShareForecast(
            self.curve, self.day_volume, self.coefficients, self.previous_price, self.typical_move
        )

    def revisions(self) -> Doubles:
        """Return the forecast of all bins by how many are over: row b has seen b bins."""
        return revisions(self.forecast(), self.volumes, self.prices)


def day_inputs(
    panel: Panel, train_until: str | None, progress: Progress | None = None
) -> dict[str, list[DayInputs]]:
    """Return the inputs of every session after `train_until`, by symbol, walking forward.

    A symbol-day without any earlier volume is left out: nothing sizes its orders. Raises InvalidInput when no
    session is left.
    """
    first = first_test_session(panel, train_until)
    walk = WalkForward()
    found: dict[str, list[DayInputs]] = {symbol: [] for symbol in panel.symbols}
    for day in range(1, len(panel.sessions)):
        past, bins = panel.before(day), int(panel.bin_counts[day])
        volumes, prices = panel.volumes[:, day, :bins], panel.prices[:, day, :bins]
        known = walk.before(past, bins)
        if day >= first:
            for row in np.flatnonzero(volumes.any(axis=1)):
                made = _inputs(panel, past, known, day, int(row))
                if made is not None:
                    found[made.symbol].append(made)
        walk.learn(known, past, volumes, prices)
        if progress is not None:
            progress(day + 1, len(panel.sessions))
    return {symbol: days for symbol, days in found.items() if days}


def _inputs(panel: Panel, past: Panel, known: DayForecasts, day: int, row: int) -> DayInputs | None:
    bins = int(panel.bin_counts[day])
    whole = np.flatnonzero(past.is_whole)
    history = past.volumes[row, whole]
    totals = history.sum(axis=1)[-MEDIAN_SESSIONS:]
    median = float(np.median(totals)) if len(totals) else 0.0
    if median <= 0 or not np.isfinite(known.volumes[row]):
        return None
    static = static_curve(np.ascontiguousarray(history[-STATIC_SESSIONS:]), STATIC_SESSIONS)[:bins]
    return DayInputs(
        symbol=panel.symbols[row],
        session=panel.sessions[day],
        median_volume=median,
        volatility=_volatility(past.prices[row]),
        static_weights=static if static.any() else np.ones(bins),
        curve=known.curves[row],
        day_volume=float(known.volumes[row]),
        coefficients=known.coefficients.copy(),
        previous_price=float(known.previous_prices[row]),
        typical_move=float(known.typical_moves[row]),
        volumes=panel.volumes[row, day, :bins],
        prices=panel.prices[row, day, :bins],
    )


def revisions(forecast: DayForecast, volumes: Doubles, prices: Doubles) -> Doubles:
    """Return what a forecast says of all bins, row b when bins 0 to b - 1 are over; it is told bin by bin."""
    bins = len(volumes)
    table = np.zeros((bins, bins))
    for place, (volume, price) in enumerate(zip(volumes.tolist(), prices.tolist(), strict=True)):
        table[place, :place] = volumes[:place]
        table[place, place:] = forecast.remaining_volumes()
        forecast.update(place, volume, price)
    return table


def _volatility(prices: Doubles) -> float:
    """Return the standard deviation of daily log returns, from the last price of each session."""
    closes = [
        row[np.isfinite(row)][-1] for row in prices[-VOLATILITY_SESSIONS - 1 :] if np.isfinite(row).any()
    ]
    if len(closes) <= MIN_RETURNS:
        return DEFAULT_VOLATILITY
    return max(float(np.diff(np.log(closes)).std(ddof=1)), 1e-4)
