"""How much will trade in a day: known before it opens, from the volumes of earlier days."""

from __future__ import annotations

import numpy as np

from servers.forecast.history import Doubles

LONG_SESSIONS = 20
SHORT_SESSIONS = 5
PRIOR = np.array([0.3, 0.3])
"""Before anything is fitted: how much of yesterday's and of last week's departure from the month lasts."""

PRIOR_WEIGHT = 20.0
"""Symbol-days that the prior is worth."""


class DailyVolumeModel:
    """A heterogeneous autoregression of log volume (HAR; Corsi 2009), its coefficients shared by all symbols.

    log V = month + a (yesterday - month) + b (week - month): month and week are means of log volume over 20
    and 5 sessions. It learns a day at a time (`learn`), by ridge regression around PRIOR, so that six days of
    history give a forecast too.
    """

    def __init__(self) -> None:
        self._moments = np.zeros((2, 2))
        self._products = np.zeros(2)
        self._count = 0

    def forecast(self, past_volumes: Doubles) -> Doubles:
        """Return the expected log of next day's volume by symbol (rows), NaN for a symbol without history.

        `past_volumes`: symbols by sessions, oldest first; a session without volume says nothing.
        """
        month, departures = _departures(past_volumes)
        return np.asarray(month + departures @ self._coefficients())

    def learn(self, past_volumes: Doubles, volumes: Doubles) -> None:
        """Take what a day brought (`volumes` by symbol), beside what was known before it (`past_volumes`)."""
        month, departures = _departures(past_volumes)
        known = np.isfinite(month) & (volumes > 0)
        rows = departures[known]
        self._moments += rows.T @ rows
        self._products += rows.T @ (np.log(volumes[known]) - month[known])
        self._count += int(known.sum())

    def _coefficients(self) -> Doubles:
        if not self._count:
            return PRIOR
        # The prior counts as PRIOR_WEIGHT symbol-days with departures of the usual size.
        penalty = np.eye(2) * max(PRIOR_WEIGHT * float(np.trace(self._moments)) / 2 / self._count, 1e-9)
        return np.asarray(
            PRIOR + np.linalg.solve(self._moments + penalty, self._products - self._moments @ PRIOR)
        )


def _departures(past_volumes: Doubles) -> tuple[Doubles, Doubles]:
    """Return the month's mean log volume, and how far yesterday and the week's mean were from it."""
    with np.errstate(divide="ignore"):
        logs = np.where(past_volumes > 0, np.log(past_volumes), np.nan)
    month, week = _mean(logs[:, -LONG_SESSIONS:]), _mean(logs[:, -SHORT_SESSIONS:])
    yesterday = _mean(logs[:, -1:])
    rows = np.stack([yesterday - month, week - month], axis=1)
    return month, np.nan_to_num(rows, nan=0.0)


def _mean(logs: Doubles) -> Doubles:
    known = np.isfinite(logs)
    count = known.sum(axis=1)
    total = np.where(known, logs, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(logs), np.nan), where=count > 0))
