"""Fit the coefficients of `native.volume_share` on past days of all symbols: how much of a surprise lasts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from native.volume_share import FEATURE_NAMES, KNOT_COUNT, ShareForecast, prior_coefficients
from servers.forecast.history import Doubles

TRAILING_SESSIONS = 60
"""Sessions that the coefficients are fitted on."""

BIN_STEP = 3
"""Every third bin is a row: neighbours say nearly the same."""

PRIOR_SYMBOL_DAYS = 50.0
"""Symbol-days that the prior coefficients are worth."""

LARGEST_WEIGHT = 5.0
STEPS = 6


@dataclass(frozen=True, slots=True)
class ShareRows:
    """What one symbol's day teaches: one row for every `BIN_STEP`-th bin before which something had traded.

    Attributes:
        features: rows by (feature, knot).
        odds: log odds of the share done, before any coefficient.
        share_done: what it turned out to be.
    """

    features: Doubles
    odds: Doubles
    share_done: Doubles


def share_rows(forecast: ShareForecast, volumes: Doubles, prices: Doubles) -> ShareRows:
    """Return the rows of a day that is over; `forecast` is a new one of that day, and is used up."""
    total = float(volumes.sum())
    features, odds, done = [], [], []
    for place, (volume, price) in enumerate(zip(volumes.tolist(), prices.tolist(), strict=True)):
        prior = forecast.prior_odds() if place % BIN_STEP == 1 else np.nan
        if np.isfinite(prior):
            features.append(np.outer(forecast.features(), forecast.knot_weights()).ravel())
            odds.append(prior)
            done.append(forecast.volume_done / total)
        forecast.update(place, volume, price)
    width = len(FEATURE_NAMES) * KNOT_COUNT
    return ShareRows(np.array(features).reshape(-1, width), np.array(odds), np.array(done))


class ShareModel:
    """Coefficients for `ShareForecast`, refitted whenever asked on the sessions learnt so far.

    The share done, A / V, is a fraction: its log odds are log(A / (D Q)) - x . beta, fitted by
    quasi-likelihood (Papke and Wooldridge 1996), which bounds what one outlying day can do. A day weighs by
    how much its price moved against what is usual for the symbol, since the error of a schedule is paid in
    price moves; the prior (half of a surprise lasts) counts as PRIOR_SYMBOL_DAYS symbol-days.
    """

    def __init__(self) -> None:
        self._days: deque[tuple[Doubles, Doubles, Doubles, Doubles]] = deque(maxlen=TRAILING_SESSIONS)
        self._coefficients = prior_coefficients()

    def learn(self, rows: list[ShareRows], moves: Doubles) -> None:
        """Take a day: the rows of each symbol, and its `moves` (realised volatility over the usual)."""
        moved = np.clip(moves / np.median(moves), 1 / LARGEST_WEIGHT, LARGEST_WEIGHT) if len(rows) else moves
        weights = [np.full(len(row.odds), weight) for row, weight in zip(rows, moved, strict=True)]
        if rows:
            self._days.append(
                (
                    np.concatenate([row.features for row in rows]),
                    np.concatenate([row.odds for row in rows]),
                    np.concatenate([row.share_done for row in rows]),
                    np.concatenate(weights),
                )
            )

    def fit(self, bins: int) -> Doubles:
        """Return the coefficients, fitted on what was learnt; `bins` of a session scale the prior."""
        if self._days:
            features, odds, share_done, weights = (
                np.concatenate(column) for column in zip(*self._days, strict=True)
            )
            # The model's odds fall with x . beta: the sign of the features turns.
            penalty = (
                PRIOR_SYMBOL_DAYS
                * (bins / BIN_STEP)
                * np.maximum((weights[:, None] * features**2).mean(axis=0), 1e-12)
            )
            self._coefficients = _fit(-features, odds, share_done, weights, penalty, self._coefficients)
        return self._coefficients


def _fit(
    features: Doubles, odds: Doubles, share_done: Doubles, weights: Doubles, penalty: Doubles, start: Doubles
) -> Doubles:
    """Return the penalised maximum of the binomial quasi-likelihood, by Newton's steps from `start`."""
    prior, found = prior_coefficients(), start.copy()
    for _ in range(STEPS):
        fitted = 1.0 / (1.0 + np.exp(-(odds + features @ found)))
        slope = features.T @ (weights * (share_done - fitted)) - penalty * (found - prior)
        curvature = (features * (weights * fitted * (1.0 - fitted))[:, None]).T @ features + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        found = found + step
        if float(np.abs(step).max()) < 1e-6:
            break
    return np.asarray(found)
