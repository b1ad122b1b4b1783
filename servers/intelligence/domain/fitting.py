"""Fit a source's calibration to texts whose labels are known, and say how good it is out of sample.

The likelihood is concave in the inverse temperature and the biases, so Newton's method finds its only
maximum; a small ridge towards "leave it as it is" keeps it finite where every text was right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from servers.intelligence.domain.calibration import Calibration
from servers.intelligence.domain.sentiment import Label, Scores

Read = tuple[Scores, Label]
"""What the model said of a text before calibration, and what is true."""

FOLDS = 5
LEAST_TEXTS = 50
RIDGE = 1.0
BINS = 10
_START = (1.0, 0.0, 0.0, 0.0)
_ITERATIONS = 30


@dataclass(frozen=True, slots=True)
class Goodness:
    """How good probabilities are; shares are 0 to 1.

    Attributes:
        calibration_error: mean distance of confidence and accuracy in ten bins of equal width, weighted by
            their texts (expected calibration error; Naeini, Cooper and Hauskrecht, AAAI 2015).
        confident_share: of texts with a confidence of 0.7 and more; `confident_accuracy` is theirs.
    """

    texts: int
    accuracy: float
    calibration_error: float
    confident_share: float
    confident_accuracy: float


def fit(reads: Sequence[Read]) -> Calibration:
    """Return the calibration that makes the labels most likely. Raises ValueError for fewer than 50 texts."""
    if len(reads) < LEAST_TEXTS:
        raise ValueError(f"{len(reads)} texts, at least {LEAST_TEXTS} are needed")
    logs = [(tuple(math.log(max(score, 1e-6)) for score in scores), label - 1) for scores, label in reads]
    weights = list(_START)
    for _ in range(_ITERATIONS):
        gradient = [RIDGE * (weight - start) for weight, start in zip(weights, _START, strict=True)]
        hessian = [[RIDGE * (row == column) for column in range(4)] for row in range(4)]
        for log, label in logs:
            shares = _softmax([weights[0] * log[place] + weights[1 + place] for place in range(3)])
            mean = sum(share * one for share, one in zip(shares, log, strict=True))
            gradient[0] += mean - log[label]
            for place in range(3):
                gradient[1 + place] += shares[place] - (place == label)
            for place, share in enumerate(shares):
                features = [log[place] - mean, *((place == other) - shares[other] for other in range(3))]
                for row in range(4):
                    for column in range(4):
                        hessian[row][column] += share * features[row] * features[column]
        step = _solve(hessian, gradient)
        weights = [weight - change for weight, change in zip(weights, step, strict=True)]
        weights[0] = max(weights[0], 0.05)
        if max(map(abs, step)) < 1e-9:
            break
    middle = sum(weights[1:]) / 3
    return Calibration(1.0 / weights[0], (weights[1] - middle, weights[2] - middle, weights[3] - middle))


def out_of_fold(reads: Sequence[Read]) -> list[Read]:
    """Return every text as calibrated by a fit that has not seen it: five folds, in turn."""
    made: list[Read] = list(reads)
    for fold in range(FOLDS):
        calibration = fit([read for place, read in enumerate(reads) if place % FOLDS != fold])
        for place in range(fold, len(reads), FOLDS):
            made[place] = (calibration.apply(reads[place][0]), reads[place][1])
    return made


def goodness_of(reads: Sequence[Read]) -> Goodness:
    """Return how good probabilities are. Raises ValueError for none."""
    if not reads:
        raise ValueError("no texts")
    is_right = [scores.label is label for scores, label in reads]
    bins: list[list[int]] = [[] for _ in range(BINS)]
    for place, (scores, _) in enumerate(reads):
        bins[min(BINS - 1, int(scores.confidence * BINS))].append(place)
    error = sum(abs(sum(reads[place][0].confidence - is_right[place] for place in places)) for places in bins)
    confident = [
        right for right, (scores, _) in zip(is_right, reads, strict=True) if scores.confidence >= 0.7
    ]
    return Goodness(
        len(reads),
        sum(is_right) / len(reads),
        error / len(reads),
        len(confident) / len(reads),
        sum(confident) / len(confident) if confident else 0.0,
    )


def _softmax(logits: Sequence[float]) -> list[float]:
    highest = max(logits)
    powers = [math.exp(logit - highest) for logit in logits]
    total = sum(powers)
    return [power / total for power in powers]


def _solve(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> list[float]:
    """Return the solution of a positive definite system, by elimination with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, vector, strict=True)]
    size = len(rows)
    for place in range(size):
        pivot = max(range(place, size), key=lambda row: abs(rows[row][place]))
        rows[place], rows[pivot] = rows[pivot], rows[place]
        for row in range(place + 1, size):
            factor = rows[row][place] / rows[place][place]
            rows[row] = [one - factor * other for one, other in zip(rows[row], rows[place], strict=True)]
    solution = [0.0] * size
    for place in reversed(range(size)):
        rest = sum(rows[place][column] * solution[column] for column in range(place + 1, size))
        solution[place] = (rows[place][size] - rest) / rows[place][place]
    return solution
