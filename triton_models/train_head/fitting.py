"""Fits the head: a penalised logistic regression over states and words, then its temperature out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from triton_models.head import Head
from triton_models.lexical import BUCKETS, families, unit_weights

Reals = NDArray[np.float32]
Labels = NDArray[np.int64]

FOLDS = 3


@dataclass(frozen=True)
class Recipe:
    """What is chosen and not fitted.

    Args:
        penalty_inverse: C of the regression; larger fits closer.
        state_scale: length of a standardised state feature beside the words' unit length.
        most_iterations: of the optimiser (L-BFGS, which draws nothing at random).
        second_weight: weight of an example of the second file beside one of the first.
    """

    penalty_inverse: float = 3.0
    state_scale: float = 0.02
    most_iterations: int = 150
    second_weight: float = 0.25


class Words:
    """Hashed n-grams of many texts, counted once; rarity comes from those that are fitted on."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._families = [families(text) for text in texts]

    def rarity(self, rows: NDArray[np.int64]) -> Reals:
        """Return log((1 + texts) / (1 + texts with it)) + 1 for each bucket that two texts or more have."""
        counts = np.zeros(BUCKETS)
        for row in rows:
            for family in self._families[row]:
                counts[list(family)] += 1
        rarity = np.log((1 + len(rows)) / (1 + counts)) + 1
        rarity[counts < 2] = 0
        # As it is stored: what is fitted is what is served.
        stored: Reals = rarity.astype(np.float16).astype(np.float32)
        return stored

    def matrix(self, rows: NDArray[np.int64], rarity: Reals) -> sparse.csr_matrix:
        """Return `[rows, BUCKETS]`."""
        known = {int(bucket): float(rarity[bucket]) for bucket in np.flatnonzero(rarity)}
        indices: list[int] = []
        values: list[float] = []
        ends = [0]
        for row in rows:
            for family in self._families[row]:
                weights = unit_weights(family, known)
                indices += weights.keys()
                values += weights.values()
            ends.append(len(indices))
        return sparse.csr_matrix((np.array(values, np.float32), indices, ends), shape=(len(rows), BUCKETS))


def fit(
    states: Reals, words: Words, labels: Labels, weights: Reals, rows: NDArray[np.int64], recipe: Recipe
) -> Head:
    """Return a head fitted on the named rows, with temperature 1."""
    centre, spread = states[rows].mean(axis=0), states[rows].std(axis=0) + 1e-6
    scale = recipe.state_scale / spread
    rarity = words.rarity(rows)
    features = sparse.hstack(
        [words.matrix(rows, rarity), sparse.csr_matrix((states[rows] - centre) * scale)], format="csr"
    )
    model = LogisticRegression(C=recipe.penalty_inverse, max_iter=recipe.most_iterations)
    model.fit(features, labels[rows], sample_weight=weights[rows])
    by_word, by_state = model.coef_[:, :BUCKETS].T, model.coef_[:, BUCKETS:].T
    return Head(
        states=(by_state * scale[:, None]).astype(np.float32),
        words=by_word.astype(np.float16).astype(np.float32),
        rarity=rarity,
        bias=(model.intercept_ - (centre * scale) @ by_state).astype(np.float32),
        name="",
    )


def logits_of(head: Head, states: Reals, words: Words, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return `[rows, 3]`, in bulk what `Head.scores` does text by text."""
    logits: NDArray[np.float64] = (
        states[rows] @ head.states + head.bias + words.matrix(rows, head.rarity) @ head.words
    ).astype(np.float64)
    return logits


def out_of_fold(
    states: Reals,
    words: Words,
    labels: Labels,
    weights: Reals,
    folds: NDArray[np.int64],
    rows: NDArray[np.int64],
    recipe: Recipe,
) -> NDArray[np.float64]:
    """Return the logits of the named rows, each from a head that did not see its fold; others are zero."""
    logits = np.zeros((len(labels), 3))
    for fold in range(FOLDS):
        apart = folds[rows] % FOLDS == fold
        seen, unseen = rows[~apart], rows[apart]
        head = fit(states, words, labels, weights, seen, recipe)
        logits[unseen] = logits_of(head, states, words, unseen)
    return logits


def calibration(logits: NDArray[np.float64], labels: Labels) -> tuple[float, NDArray[np.float64]]:
    """Return the temperature and the bias of each label (Guo et al. 2017: vector scaling, one temperature).

    The temperature makes the labels most likely. The bias, in steps of a tenth, makes accuracy and macro-F1
    together largest: labels are rare to different degrees, and the most likely answer alone would say the
    common one too often.
    """
    bias = max(_BIASES, key=lambda tried: _worth(logits, labels, tried))

    def cost(log_temperature: float) -> float:
        scaled = (logits + bias) / np.exp(log_temperature)
        top = scaled.max(axis=1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((total - scaled[np.arange(len(labels)), labels]).mean())

    temperature = float(np.exp(optimize.minimize_scalar(cost, bounds=(-2.0, 3.0), method="bounded").x))
    return temperature, bias / temperature


_BIASES = [np.array([bearish, 0.0, bullish]) / 10 for bearish in range(-3, 10) for bullish in range(-3, 10)]


def _worth(logits: NDArray[np.float64], labels: Labels, bias: NDArray[np.float64]) -> float:
    answers = (logits + bias).argmax(axis=1)
    return float((answers == labels).mean() + f1_score(labels, answers, average="macro"))
