"""Fit the Kalman filter of `native.volume_forecast` to a symbol's past sessions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from native.volume_forecast import VolumeForecast, expectation_maximisation
from servers.forecast.history import Doubles

START = (0.9, 0.1, 0.6, 0.1, 0.1)
"""Where the first fit begins: level persistence and variance, AR persistence and variance, noise variance."""

ROBUST_SD = 2.0
"""Innovations beyond this many standard deviations are outliers, in the robust variant."""

ITERATIONS = 500
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class KalmanFit:
    """What was fitted.

    Attributes:
        seasonal: mean log volume of each bin.
        dynamics: level persistence and variance, AR persistence and variance, noise variance.
        traded: share of sessions in which the bin traded at all.
        outlier_sd: bound of the robust variant, infinite for the plain one.
        log_likelihood: of the parameters that the last iteration began with.
        iterations: how many it took; ITERATIONS when it did not converge.
    """

    seasonal: Doubles
    dynamics: Doubles
    traded: Doubles
    outlier_sd: float
    log_likelihood: float
    iterations: int

    def forecast(self, past: Doubles) -> VolumeForecast:
        """Return a filter that has taken `past` (sessions by bins); `begin_day` begins the next session."""
        made = VolumeForecast(self.seasonal, self.dynamics, self.outlier_sd, self.traded)
        for volumes in past:
            made.take_day(volumes)
        return made


def fit_kalman(past: Doubles, outlier_sd: float = np.inf, start: KalmanFit | None = None) -> KalmanFit:
    """Fit to `past` (whole sessions by bins, oldest first) by expectation maximisation; 0 is an empty bin.

    `outlier_sd` chooses the robust variant; `start` is an earlier fit to go on from. A bin that never traded
    gets the mean of its neighbours. Raises ValueError when nothing traded at all.
    """
    with np.errstate(divide="ignore"):
        logs = np.where(past > 0, np.log(past), np.nan)
    begin = _first_seasonal(logs) if start is None else start.seasonal
    dynamics, seasonal, likelihood, used = expectation_maximisation(
        np.ascontiguousarray(logs.ravel()),
        past.shape[1],
        np.array(START) if start is None else start.dynamics,
        begin,
        outlier_sd,
        ITERATIONS,
        TOLERANCE,
    )
    # One session more of each kind (Laplace): no bin is certain to trade or not to trade.
    traded = ((past > 0).sum(axis=0) + 1.0) / (len(past) + 2.0)
    traded = np.where((past > 0).all(axis=0), 1.0, traded)
    return KalmanFit(seasonal, dynamics, traded, outlier_sd, likelihood, used)


def _first_seasonal(logs: Doubles) -> Doubles:
    """Return the mean of each bin's log volume, between its neighbours where it never traded."""
    known = np.isfinite(logs)
    if not known.any():
        raise ValueError("nothing traded in any session")
    count = known.sum(axis=0)
    means = np.where(known, logs, 0.0).sum(axis=0) / np.maximum(count, 1)
    seen = np.flatnonzero(count)
    return np.asarray(np.interp(np.arange(logs.shape[1]), seen, means[seen]))
