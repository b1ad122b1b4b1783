"""Walk forward through the sessions: before each one a forecast object a symbol, fitted on the past only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from native.volume_share import ShareForecast, prior_coefficients
from servers.forecast.curves import cut_to, pooled_curves
from servers.forecast.daily import DailyVolumeModel
from servers.forecast.history import Doubles, Panel
from servers.forecast.shares import ShareModel, share_rows

MOVE_SESSIONS = 20
MOVE_PRIOR_SESSIONS = 5.0
DEFAULT_MOVE = 0.012
"""Mean absolute daily log return where no symbol has two closes yet."""


@dataclass(frozen=True, slots=True)
class DayForecasts:
    """What is known of each symbol (rows) before a session opens.

    Attributes:
        curves: expected share of volume by bin of the session to come.
        volumes: expected volume of the session to come, NaN for a symbol without history.
        previous_prices: the last price of earlier sessions, NaN where there is none.
        typical_moves: mean absolute log return from close to close.
        coefficients: of `ShareForecast`.
    """

    curves: Doubles
    volumes: Doubles
    previous_prices: Doubles
    typical_moves: Doubles
    coefficients: Doubles

    def forecast(self, symbol: int) -> ShareForecast | None:
        """Return a new forecast of the symbol's session, None when it has no history."""
        if not np.isfinite(self.volumes[symbol]):
            return None
        return ShareForecast(
            self.curves[symbol],
            self.volumes[symbol],
            self.coefficients,
            self.previous_prices[symbol],
            self.typical_moves[symbol],
        )


class WalkForward:
    """Forecasts for one session after the other: ask `before`, and when it is over `learn` it."""

    def __init__(self) -> None:
        self._daily = DailyVolumeModel()
        self._shares = ShareModel()

    def before(self, past: Panel, bins: int) -> DayForecasts:
        """Return the forecasts for the session after `past`, which will have `bins` bins."""
        return self._known(past, bins, self._shares.fit(past.volumes.shape[2]))

    def walk(self, past: Panel, bins: int) -> DayForecasts:
        """Return what `before` does once each session of `past` was learnt in turn, fitted at the end."""
        prior = prior_coefficients()
        for day in range(1, len(past.sessions)):
            earlier, mine = past.before(day), int(past.bin_counts[day])
            known = self._known(earlier, mine, prior)  # what is learnt does not depend on the coefficients
            self.learn(known, earlier, past.volumes[:, day, :mine], past.prices[:, day, :mine])
        return self.before(past, bins)

    def _known(self, past: Panel, bins: int, coefficients: Doubles) -> DayForecasts:
        curves = pooled_curves(past)
        volumes = _whole_day_volumes(past)
        closes = _closes(past)
        return DayForecasts(
            cut_to(curves, bins),
            np.exp(self._daily.forecast(volumes)) * curves[:, :bins].sum(axis=1),
            closes[:, -1] if closes.shape[1] else np.full(len(past.symbols), np.nan),
            _typical_moves(closes),
            coefficients,
        )

    def learn(self, known: DayForecasts, past: Panel, volumes: Doubles, prices: Doubles) -> None:
        """Take a whole session that is over (symbols by bins); `known` and `past` are as before it."""
        if volumes.shape[1] != past.volumes.shape[2]:
            return
        totals = volumes.sum(axis=1)
        days = []
        for symbol in np.flatnonzero(totals > 0):
            forecast = known.forecast(int(symbol))
            if forecast is not None:
                typical = float(known.typical_moves[symbol])
                days.append(share_rows(forecast, volumes[symbol], prices[symbol], typical))
        self._shares.learn(days)
        self._daily.learn(_whole_day_volumes(past), totals)


def _whole_day_volumes(past: Panel) -> Doubles:
    return past.day_volumes[:, past.is_whole]


def _closes(past: Panel) -> Doubles:
    """Return the last price of every session, carried over sessions without one."""
    closes: Doubles = np.full(past.volumes.shape[:2], np.nan)
    for place in range(past.volumes.shape[2]):
        closes = np.where(np.isnan(past.prices[:, :, place]), closes, past.prices[:, :, place])
    for day in range(1, closes.shape[1]):
        closes[:, day] = np.where(np.isnan(closes[:, day]), closes[:, day - 1], closes[:, day])
    return closes


def _typical_moves(closes: Doubles) -> Doubles:
    """Return each symbol's mean absolute log return, drawn towards the median of all."""
    returns = np.abs(np.diff(np.log(closes[:, -MOVE_SESSIONS - 1 :]), axis=1))
    known = np.isfinite(returns)
    count, total = known.sum(axis=1), np.where(known, returns, 0.0).sum(axis=1)
    has = (count > 0) & (total > 0)
    usual = float(np.median(total[has] / count[has])) if has.any() else DEFAULT_MOVE
    return np.asarray((total + MOVE_PRIOR_SESSIONS * usual) / (count + MOVE_PRIOR_SESSIONS))
