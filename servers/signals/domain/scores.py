"""How right a set of answers was: accuracy, balanced accuracy, Matthews' correlation, area under the curve.

All rest on counts by day, so that a resampled set of days costs one product of matrices. Days are the
clusters of the bootstrap: rows of one day share its shocks and are drawn together (Cameron, Gelbach and
Miller, 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from servers.signals.domain.panel import Bools, Doubles, Int64s

METRICS = ("accuracy", "balanced_accuracy", "mcc", "auc")
SCORE_BINS = 512
LEAST_DAYS = 20
"""Below so many days no interval is printed."""


@dataclass(frozen=True, slots=True)
class Score:
    """A figure with its interval; both bounds are NaN where there are too few days."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DayCounts:
    """What one set of answers got right and wrong, by day.

    `cells` is days by (true rises, false rises, true falls, false falls); `rises` and `falls` are days by
    bins of the score, for the area under the curve.
    """

    cells: Doubles
    rises: Doubles
    falls: Doubles

    def metrics(self, weights: Doubles) -> Doubles:
        """Return samples by `METRICS`; `weights` is samples by days: how often each day was drawn."""
        true_rise, false_rise, true_fall, false_fall = (weights @ self.cells).T
        total = true_rise + false_rise + true_fall + false_fall
        accuracy = _ratio(true_rise + true_fall, total)
        sensitivity = _ratio(true_rise, true_rise + false_fall)
        specificity = _ratio(true_fall, true_fall + false_rise)
        spread = np.sqrt(
            (true_rise + false_rise)
            * (true_rise + false_fall)
            * (true_fall + false_rise)
            * (true_fall + false_fall)
        )
        mcc = np.where(
            spread > 0.0,
            _ratio(true_rise * true_fall - false_rise * false_fall, np.maximum(spread, 1e-300)),
            0.0,
        )
        rises, falls = weights @ self.rises, weights @ self.falls
        # A pair in one bin counts half.
        below = np.cumsum(falls, axis=1) - 0.5 * falls
        area = _ratio((rises * below).sum(axis=1), rises.sum(axis=1) * falls.sum(axis=1))
        return np.column_stack([accuracy, 0.5 * (sensitivity + specificity), mcc, area])


def count_by_day(day: Int64s, rose: Bools, probability: Doubles) -> DayCounts:
    """Count answers by day. A probability above one half says rise."""
    _, index = np.unique(day, return_inverse=True)
    days = int(index.max()) + 1 if len(index) else 0
    said = probability > 0.5
    cell = np.where(said, np.where(rose, 0, 1), np.where(rose, 3, 2))
    cells = np.zeros((days, 4))
    np.add.at(cells, (index, cell), 1.0)
    _, ranks = np.unique(probability, return_inverse=True)
    distinct = int(ranks.max()) + 1 if len(ranks) else 1
    if distinct <= SCORE_BINS:
        bins = ranks
    else:  # bins of equal size, ties kept together
        place = np.searchsorted(np.sort(probability), probability, side="left")
        bins = place * SCORE_BINS // max(len(probability), 1)
    rises, falls = np.zeros((days, SCORE_BINS)), np.zeros((days, SCORE_BINS))
    np.add.at(rises, (index[rose], bins[rose]), 1.0)
    np.add.at(falls, (index[~rose], bins[~rose]), 1.0)
    return DayCounts(cells, rises, falls)


def draw_days(days: int, samples: int, block_days: int, seed: int) -> Doubles:
    """Return samples by days: how often each was drawn, in runs of `block_days` that wrap round."""
    chance = np.random.default_rng(seed)
    runs = math.ceil(days / block_days)
    starts = chance.integers(0, days, size=(samples, runs))
    drawn = (starts[:, :, None] + np.arange(block_days)) % days
    drawn = drawn.reshape(samples, -1)[:, :days]
    weights = np.zeros((samples, days))
    np.add.at(weights, (np.arange(samples)[:, None], drawn), 1.0)
    return weights


def scored(counts: DayCounts, weights: Doubles) -> dict[str, Score]:
    """Return each metric with its 95 % interval over the drawn samples."""
    days = len(counts.cells)
    whole = counts.metrics(np.ones((1, days)))[0]
    if days < LEAST_DAYS:
        return {
            name: Score(float(value), math.nan, math.nan) for name, value in zip(METRICS, whole, strict=True)
        }
    low, high = np.nanpercentile(counts.metrics(weights), [2.5, 97.5], axis=0)
    return {name: Score(float(whole[at]), float(low[at]), float(high[at])) for at, name in enumerate(METRICS)}


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better one set of answers was than another, on the same rows.

    `relative` is the difference of accuracy by the other's accuracy; `p_value` is two-sided.
    """

    accuracy: Score
    relative: Score
    mcc: Score
    p_value: float
    mcc_p_value: float
    standard_error: float


def gain(counts: DayCounts, other: DayCounts, weights: Doubles) -> Gain:
    """Compare two sets of answers over the same days, day by day together."""
    days = len(counts.cells)
    one = np.ones((1, days))
    ours, theirs = counts.metrics(one)[0], other.metrics(one)[0]
    drawn_ours, drawn_theirs = counts.metrics(weights), other.metrics(weights)
    accuracy, mcc = drawn_ours[:, 0] - drawn_theirs[:, 0], drawn_ours[:, 2] - drawn_theirs[:, 2]
    relative = accuracy / drawn_theirs[:, 0]
    return Gain(
        accuracy=_score(float(ours[0] - theirs[0]), accuracy, days),
        relative=_score(float((ours[0] - theirs[0]) / theirs[0]), relative, days),
        mcc=_score(float(ours[2] - theirs[2]), mcc, days),
        p_value=_p_value(float(ours[0] - theirs[0]), accuracy),
        mcc_p_value=_p_value(float(ours[2] - theirs[2]), mcc),
        standard_error=float(relative.std()),
    )


def power(effect: float, standard_error: float) -> float:
    """Return the chance that a true effect of that size is found at 5 %, two-sided."""
    if standard_error <= 0.0:
        return 1.0 if effect else 0.0
    shift = abs(effect) / standard_error
    return _normal(shift - 1.959964) + _normal(-shift - 1.959964)


def holm(p_values: list[float]) -> list[float]:
    """Return p-values corrected for their number (Holm, 1979)."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def calibration_error(rose: Bools, probability: Doubles, bins: int = 10) -> float:
    """Return the expected calibration error over bins of equal size."""
    if not len(rose):
        return math.nan
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(part) * abs(float(rose[part].mean()) - float(probability[part].mean())) for part in parts]
    return sum(gaps) / len(rose)


def _p_value(value: float, drawn: Doubles) -> float:
    spread = float(drawn.std())
    if spread == 0.0:
        return 1.0 if value == 0.0 else 0.0
    return math.erfc(abs(value) / spread / math.sqrt(2.0))


def _score(value: float, drawn: Doubles, days: int) -> Score:
    if days < LEAST_DAYS:
        return Score(value, math.nan, math.nan)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Score(value, float(low), float(high))


def _ratio(above: Doubles, below: Doubles) -> Doubles:
    ratio: Doubles = np.divide(above, below, out=np.full_like(above, 0.5), where=below > 0.0)
    return ratio


def _normal(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2.0))
