"""Plain twins of the volume forecasts: textbook matrices for scalars, whole sums for running ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
ONES = np.ones(2)


@dataclass
class Kalman:
    """The state space of Chen, Feng and Palomar (2016), with a bound of outliers in deviations."""

    bins: int
    dynamics: Doubles
    seasonal: Doubles
    outlier_sd: float = math.inf

    def transition(self, bin_index: int) -> tuple[Doubles, Doubles]:
        level, level_variance, ar, ar_variance, _ = self.dynamics
        is_new_day = bin_index % self.bins == 0
        matrix = np.diag([level if is_new_day else 1.0, ar])
        return matrix, np.diag([level_variance if is_new_day else 0.0, ar_variance])

    def filter(self, observed: Sequence[float]) -> "Filtered":
        mean, cover = np.zeros(2), np.eye(2)
        found = Filtered([], [], [], 0.0)
        for i, value in enumerate(observed):
            if i:
                matrix, noise = self.transition(i)
                mean, cover = matrix @ mean, matrix @ cover @ matrix.T + noise
            found.predicted.append((mean, cover))
            outlier = 0.0
            if not math.isnan(value):
                error = value - self.seasonal[i % self.bins] - mean.sum()
                variance = cover.sum() + self.dynamics[4]
                bound = self.outlier_sd * math.sqrt(variance)
                outlier = math.copysign(max(abs(error) - bound, 0.0), error)
                gain = cover @ ONES / variance
                found.likelihood -= (math.log(2 * math.pi * variance) + (error - outlier) ** 2 / variance) / 2
                if outlier:
                    found.likelihood -= self.outlier_sd * abs(outlier) / math.sqrt(variance)
                mean = mean + gain * (error - outlier)
                cover = cover - np.outer(gain, ONES @ cover)
            found.outliers.append(outlier)
            found.filtered.append((mean, cover))
        return found

    def step(self, observed: Sequence[float]) -> tuple[Doubles, Doubles, float]:
        """Return dynamics and seasonal after a step of expectation maximisation, log likelihood before it."""
        found = self.filter(observed)
        count = len(observed)
        means, covers = [found.filtered[-1][0]], [found.filtered[-1][1]]
        crosses: list[Doubles] = []
        for i in range(count - 2, -1, -1):
            matrix, _ = self.transition(i + 1)
            mean, cover = found.filtered[i]
            gain = cover @ matrix.T @ np.linalg.inv(found.predicted[i + 1][1])
            crosses.insert(
                0,
                covers[0] @ gain.T + np.outer(means[0], mean + gain @ (means[0] - found.predicted[i + 1][0])),
            )
            means.insert(0, mean + gain @ (means[0] - found.predicted[i + 1][0]))
            covers.insert(0, cover + gain @ (covers[0] - found.predicted[i + 1][1]) @ gain.T)
        second = [cover + np.outer(mean, mean) for mean, cover in zip(means, covers, strict=True)]
        known = [i for i in range(count) if not math.isnan(observed[i])]
        clean = [observed[i] - found.outliers[i] for i in range(count)]
        seasonal = self.seasonal.copy()
        for place in range(self.bins):
            left = [clean[i] - means[i].sum() for i in known if i % self.bins == place]
            seasonal[place] = np.mean(left) if left else seasonal[place]
        noise = np.mean(
            [(clean[i] - seasonal[i % self.bins] - means[i].sum()) ** 2 + covers[i].sum() for i in known]
        )
        days = range(self.bins, count, self.bins)
        parts = []
        for at, steps in ((0, days), (1, range(1, count))):
            both = sum(crosses[i - 1][at, at] for i in steps)
            before = sum(second[i - 1][at, at] for i in steps)
            now = sum(second[i][at, at] for i in steps)
            keep = min(max(both / before, 0.0), 0.9999)
            parts += [keep, max((now - 2 * keep * both + keep**2 * before) / len(steps), 1e-8)]
        return np.array([*parts, max(noise, 1e-8)]), seasonal, found.likelihood


@dataclass
class Filtered:
    """What the filter passed through, bin by bin."""

    predicted: list[tuple[Doubles, Doubles]]
    filtered: list[tuple[Doubles, Doubles]]
    outliers: list[float]
    likelihood: float


def share_features(
    curve: Sequence[float],
    day_volume: float,
    volumes: Sequence[float],
    prices: Sequence[float],
    context: tuple[float, float],
) -> list[float]:
    """Return surprise, recent, move and constant after the bins whose volumes are given."""
    shares = [weight / sum(curve) for weight in curve]
    count = len(volumes)

    def surprise(first: int) -> float:
        ratio = (sum(volumes[first:]) / day_volume + 0.1) / (sum(shares[first:count]) + 0.1)
        return min(max(math.log(ratio), -4.0), 4.0)

    previous, typical = context
    known = [price for price in prices if price > 0]
    moved = math.log1p(abs(math.log(known[-1] / previous)) / typical) if known and previous > 0 else 0.0
    return [surprise(0), surprise(max(0, count - 6)) - surprise(0), moved, 1.0]


def share_remaining(
    curve: Sequence[float],
    day_volume: float,
    coefficients: Sequence[float],
    features: Sequence[float],
    count: int,
) -> float:
    """Return the expected volume of what is left after `count` bins."""
    done = sum(curve[:count]) / sum(curve)
    if count == len(curve) or done > 1 - 1e-12:
        return 0.0
    knots = [0.0, 1 / 3, 2 / 3, 1.0]
    exponent = sum(
        feature * float(np.interp(done, knots, coefficients[4 * i : 4 * i + 4]))
        for i, feature in enumerate(features)
    )
    return day_volume * (1 - done) * math.exp(min(max(exponent, -4.0), 4.0))


def cmem(
    volumes: Sequence[float], bins: int, parameters: Sequence[float], seasonal: Sequence[float]
) -> tuple[float, float, float]:
    """Return the deviance, and the daily and the intraday component of what comes next."""
    constant, keep, shock, stays, surprise = parameters
    level, around, total = max(sum(volumes[:bins]) / bins, 1e-12), 1.0, 0.0
    for first in range(0, len(volumes), bins):
        ratios = []
        for place in range(bins):
            mean = max(level * seasonal[place] * around, 1e-12)
            ratio = volumes[first + place] / mean
            ratios.append(ratio)
            total += math.log(mean) + ratio
            around = max(1 - stays - surprise + stays * around + surprise * around * ratio, 1e-12)
        level = max(constant + keep * level + shock * level * sum(ratios) / bins, 1e-12)
    return total, level, around
