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

PRIOR_SYMBOL_DAYS = 200.0
"""Symbol-days that the prior coefficients are worth."""

COMING_BINS = 12
"""Bins whose price move says how dear an error before them was."""

LARGEST_MOVE = 10.0
"""A move beyond this many times the session's median weighs as much as one of it, and so for small ones."""

STEPS = 6


@dataclass(frozen=True, slots=True)
class ShareRows:
    """What one symbol's day teaches: one row for every `BIN_STEP`-th bin before which something had traded.

    Attributes:
        features: rows by (feature, knot).
        odds: log odds of the share done, before any coefficient.
        share_done: what it turned out to be.
        moves: how much the price moved in the next COMING_BINS bins, over the symbol's typical move of a day.
    """

    features: Doubles
    odds: Doubles
    share_done: Doubles
    moves: Doubles


def share_rows(forecast: ShareForecast, volumes: Doubles, prices: Doubles, typical_move: float) -> ShareRows:
    """Return the rows of a day that is over; `forecast` is a new one of that day, and is used up."""
    total = float(volumes.sum())
    features, odds, done, moved = [], [], [], []
    coming = _coming_moves(prices) / typical_move
    for place, (volume, price) in enumerate(zip(volumes.tolist(), prices.tolist(), strict=True)):
        prior = forecast.prior_odds() if place % BIN_STEP == 1 else np.nan
        if np.isfinite(prior):
            features.append(np.outer(forecast.features(), forecast.knot_weights()).ravel())
            odds.append(prior)
            done.append(forecast.volume_done / total)
            moved.append(coming[place])
        forecast.update(place, volume, price)
    width = len(FEATURE_NAMES) * KNOT_COUNT
    return ShareRows(np.array(features).reshape(-1, width), np.array(odds), np.array(done), np.array(moved))


def _coming_moves(prices: Doubles) -> Doubles:
    """Return for every bin the root of the sum of squared log returns of that bin and the next 11."""
    logs = np.log(prices)
    known = np.flatnonzero(np.isfinite(logs))
    returns = np.zeros(len(prices))
    returns[known[1:]] = np.diff(logs[known]) ** 2
    total = np.concatenate([[0.0], np.cumsum(returns)])
    ends = np.minimum(np.arange(len(prices)) + COMING_BINS, len(prices))
    return np.asarray(np.sqrt(total[ends] - total[:-1]))


class ShareModel:
    """Coefficients for `ShareForecast`, refitted whenever asked on the sessions learnt so far.

    The share done, A / V, is a fraction: its log odds are log(A / (D Q)) - x . beta, fitted by
    quasi-likelihood (Papke and Wooldridge 1996), which bounds what one outlying day can do. The error of a
    schedule is the sum over bins of (share done - share of the volume) times the price move that follows, so
    its variance weighs an error by the variance of that move: a row weighs by the squared move of the bins
    that come (as they turned out, on days that are over). The prior counts as PRIOR_SYMBOL_DAYS symbol-days.
    """

    def __init__(self) -> None:
        self._sessions: deque[tuple[Doubles, Doubles, Doubles, Doubles]] = deque(maxlen=TRAILING_SESSIONS)
        self._coefficients = prior_coefficients()

    def learn(self, days: list[ShareRows]) -> None:
        """Take a session: the rows of each symbol that traded."""
        moves = [rows.moves for rows in days if len(rows.moves)]
        if not moves:
            return
        usual = max(float(np.median(np.concatenate(moves))), 1e-12)
        self._sessions.append(
            (
                np.concatenate([rows.features for rows in days]),
                np.concatenate([rows.odds for rows in days]),
                np.concatenate([rows.share_done for rows in days]),
                np.clip(np.concatenate(moves) / usual, 1 / LARGEST_MOVE, LARGEST_MOVE) ** 2,
            )
        )

    def fit(self, bins: int) -> Doubles:
        """Return the coefficients, fitted on what was learnt; `bins` of a session scale the prior."""
        if self._sessions:
            features, odds, share_done, weights = (
                np.concatenate(column) for column in zip(*self._sessions, strict=True)
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
