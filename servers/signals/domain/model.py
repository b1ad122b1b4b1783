"""The model: a calibrated logistic regression on standardised features; every step can be shown.

Fitting is scikit-learn's, imported where it is used; answering is a few multiplications and needs numpy
alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from servers.signals.domain.panel import Bools, Doubles

CLIP = 5.0
"""A feature counts for at most so many standard deviations."""
LEAST_ROWS = 50


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Log-odds of a rise = intercept + sum of coefficient x clipped (value - mean) / scale.

    NaN counts as the mean. `slope` and `offset` map them to calibrated log-odds (Platt, 1999).
    """

    names: tuple[str, ...]
    means: Doubles
    scales: Doubles
    coefficients: Doubles
    intercept: float
    slope: float = 1.0
    offset: float = 0.0

    def standardised(self, values: Doubles) -> Doubles:
        """Return what the coefficients multiply: rows by features."""
        scaled = np.clip((values - self.means) / self.scales, -CLIP, CLIP)
        return np.nan_to_num(scaled, nan=0.0)

    def contributions(self, values: Doubles) -> Doubles:
        """Return each feature's share of the log-odds before calibration."""
        shares: Doubles = self.standardised(values) * self.coefficients
        return shares

    def log_odds(self, values: Doubles) -> Doubles:
        """Return the log-odds before calibration of each row."""
        odds: Doubles = self.contributions(values).sum(axis=-1) + self.intercept
        return odds

    def probability(self, values: Doubles) -> Doubles:
        """Return the calibrated probability of a rise of each row."""
        return sigmoid(self.slope * self.log_odds(values) + self.offset)

    def calibrated(self, log_odds: Doubles, rose: Bools) -> LinearModel:
        """Return the model with slope and offset fitted on answers that were given out of sample."""
        slope, offset = fit_platt(log_odds, rose)
        return LinearModel(
            self.names, self.means, self.scales, self.coefficients, self.intercept, slope, offset
        )


def sigmoid(log_odds: Doubles) -> Doubles:
    """Return probabilities of log-odds."""
    probability: Doubles = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -35.0, 35.0)))
    return probability


def fit_linear(names: Sequence[str], values: Doubles, rose: Bools, strength: float) -> LinearModel:
    """Fit on rows that may be learnt from; a penalty of 1 / `strength` holds the coefficients down.

    With fewer than `LEAST_ROWS` rows, without features, or with one outcome only, the answer is the (shrunk)
    frequency of a rise.
    """
    count = len(names)
    base = float((rose.sum() + 1.0) / (len(rose) + 2.0))
    intercept = float(np.log(base / (1.0 - base)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any value has no mean: it gets 0
        means = np.nan_to_num(np.nanmean(values, axis=0)) if len(values) else np.zeros(count)
        scales = np.nan_to_num(np.nanstd(values, axis=0)) if len(values) else np.zeros(count)
    # A column that does not vary says nothing; the bound is relative, for it carries rounding noise.
    flat = scales <= 1e-9 * (np.abs(means) + 1.0)
    scales = np.where(flat, 1.0, scales)
    model = LinearModel(tuple(names), means, scales, np.zeros(count), intercept)
    if count == 0 or len(rose) < LEAST_ROWS or rose.all() or not rose.any():
        return model
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=strength, solver="newton-cholesky", max_iter=50)
    inputs = model.standardised(values)
    inputs[:, flat] = 0.0
    fitted.fit(inputs, rose)
    coefficients = np.where(flat, 0.0, fitted.coef_[0])
    return LinearModel(tuple(names), means, scales, coefficients, float(fitted.intercept_[0]))


def fit_platt(log_odds: Doubles, rose: Bools) -> tuple[float, float]:
    """Return slope (at least 0) and offset that make log-odds true, with Platt's smoothed targets.

    A slope of 0 says that the answers knew nothing.
    """
    if len(rose) < LEAST_ROWS or rose.all() or not rose.any():
        return 1.0, 0.0
    positives, negatives = float(rose.sum()), float((~rose).sum())
    target = np.where(rose, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    centre, spread = float(log_odds.mean()), float(log_odds.std())
    base = float(np.log(positives / negatives))
    if spread < 1e-9:
        return 0.0, base
    design = np.column_stack([(log_odds - centre) / spread, np.ones(len(rose))])
    weights = np.array([0.0, base])
    for _ in range(30):  # Newton's method on two unknowns
        probability = sigmoid(design @ weights)
        gradient = design.T @ (target - probability)
        curvature = (design * (probability * (1.0 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-6 * np.eye(2), gradient)
        weights = weights + step
        if float(np.abs(step).max()) < 1e-9:
            break
    if weights[0] <= 0.0:
        return 0.0, base
    slope = float(weights[0]) / spread
    return slope, float(weights[1]) - slope * centre
