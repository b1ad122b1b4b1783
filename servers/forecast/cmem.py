"""Fit the component multiplicative error model of `native.volume_cmem`, and forecast a session with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from native.volume_cmem import cmem_filter
from servers.forecast.history import Doubles
from servers.forecast.simplex import minimise

ROUNDS = 20
TOLERANCE = 1e-5
SMALLEST_SEASONAL = 1e-4


@dataclass(frozen=True, slots=True)
class CmemFit:
    """What was fitted.

    Attributes:
        parameters: constant, persistence and surprise of the daily component, persistence and surprise of the
            intraday one.
        seasonal: factor of each bin, mean 1.
        median_ratio: median of volume over forecast in the past, where something traded.
        deviance: mean of log m + x / m at the end, volumes in units of their mean.
        has_converged: whether the last round changed the deviance by less than TOLERANCE of itself, with a
            simplex that had shrunk to a point.
    """

    parameters: Doubles
    seasonal: Doubles
    median_ratio: float
    deviance: float
    has_converged: bool

    def forecast(self, past: Doubles) -> CmemDay:
        """Return the forecast of the session after `past` (sessions by bins)."""
        days, bins = past.shape
        daily, intraday = np.empty(days + 1), np.empty(days * bins + 1)
        cmem_filter(np.ascontiguousarray(past.ravel()), bins, self.parameters, self.seasonal, daily, intraday)
        return CmemDay(self, float(daily[-1]), float(intraday[-1]))


class CmemDay:
    """One session, bin by bin."""

    def __init__(self, fit: CmemFit, daily: float, intraday: float) -> None:
        self._fit, self._daily, self._intraday, self._next = fit, daily, intraday, 0

    def update(self, volume: float) -> None:
        """Take the next bin."""
        persistence, surprise = self._fit.parameters[3:]
        shock = volume / (self._daily * self._fit.seasonal[self._next])
        self._intraday = float(1 - persistence - surprise + persistence * self._intraday + surprise * shock)
        self._next += 1

    def remaining_volumes(self, is_mean: bool = True) -> Doubles:
        """Return the forecast of every bin not yet taken; means, or medians given that they trade."""
        rest = self._fit.seasonal[self._next :]
        decay = float(self._fit.parameters[3:].sum()) ** np.arange(len(rest))
        means = self._daily * rest * (1 + decay * (self._intraday - 1))
        return np.asarray(means if is_mean else self._fit.median_ratio * means)


def fit_cmem(past: Doubles, start: CmemFit | None = None) -> CmemFit:
    """Fit to `past` (whole sessions by bins, oldest first): parameters and seasonal in turn, to convergence.

    Raises ValueError when nothing traded.
    """
    unit = float(past.mean())
    if not unit > 0:
        raise ValueError("nothing traded in any session")
    days, bins = past.shape
    volumes = np.ascontiguousarray(past.ravel() / unit)
    daily, intraday = np.empty(days + 1), np.empty(days * bins + 1)
    seasonal = past.mean(axis=0) / unit if start is None else start.seasonal
    seasonal = _scaled(seasonal)
    point = np.array([1.0, 0.0, 1.0, 0.0, 0.0]) if start is None else _point(start.parameters, unit)
    before, has_converged = np.inf, False

    def deviance(at: Doubles) -> float:
        return cmem_filter(volumes, bins, _parameters(at), seasonal, daily, intraday) / len(volumes)

    for _ in range(ROUNDS):
        point, value, is_point = minimise(deviance, point, TOLERANCE * 0.1)
        has_converged = is_point and abs(before - value) < TOLERANCE * (1 + abs(value))
        if has_converged:
            break
        before = value
        deviance(point)
        means = daily[:-1, None] * intraday[:-1].reshape(days, bins)
        seasonal = _scaled((volumes.reshape(days, bins) / means).mean(axis=0))
    parameters = _parameters(point)
    cmem_filter(volumes, bins, parameters, seasonal, daily, intraday)
    ratios = volumes.reshape(days, bins) / (daily[:-1, None] * intraday[:-1].reshape(days, bins) * seasonal)
    parameters[0] *= unit
    return CmemFit(parameters, seasonal, float(np.median(ratios[ratios > 0])), value, has_converged)


def _scaled(seasonal: Doubles) -> Doubles:
    kept = np.maximum(seasonal, SMALLEST_SEASONAL)
    return np.asarray(kept / kept.mean())


def _parameters(point: Doubles) -> Doubles:
    """Return parameters for a point without bounds: sums below 1, nothing negative."""
    daily, split, intraday, part, log_mean = np.clip(point, -12, 12)
    level, around = _unit(daily), _unit(intraday)
    constant = (1 - level) * np.exp(log_mean)
    first, second = _unit(split), _unit(part)
    return np.array([constant, level * first, level * (1 - first), around * second, around * (1 - second)])


def _point(parameters: Doubles, unit: float) -> Doubles:
    """Return the point that `_parameters` turns into these."""
    constant, kept, surprise, stays, shock = np.maximum(parameters, 1e-6)
    level, around = min(kept + surprise, 1 - 1e-5), min(stays + shock, 1 - 1e-5)
    return np.array(
        [
            _log_odds(level),
            _log_odds(kept / (kept + surprise)),
            _log_odds(around),
            _log_odds(stays / (stays + shock)),
            np.log(constant / unit / (1 - level)),
        ]
    )


def _unit(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def _log_odds(share: float) -> float:
    return float(np.log(share / (1 - share)))
