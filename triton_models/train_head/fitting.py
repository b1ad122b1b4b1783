"""Fits the head: a penalised softmax regression over answers and words; its temperature out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from sklearn.metrics import f1_score

from triton_models.head import Head, log_chances
from triton_models.lexical import BUCKETS, families, unit_weights
from triton_models.train_head.corpus import FOLDS

Reals = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """What is chosen and not fitted.

    Args:
        penalty_inverse: C of the regression; larger fits closer.
        most_iterations: of the optimiser (L-BFGS, which draws nothing at random).
        second_weight: weight of an example of the second file beside one of the first.
    """

    penalty_inverse: float = 1.0
    most_iterations: int = 100
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
    answers: Reals, words: Words, labels: Labels, weights: Reals, rows: NDArray[np.int64], recipe: Recipe
) -> Head:
    """Return a head fitted on the named rows, with temperature 1.

    Args:
        answers: the label tokens' scores of every text, `[texts, 3]`.
    """
    rarity = words.rarity(rows)
    by_word, by_answer, bias = softmax_regression(
        words.matrix(rows, rarity), log_chances(answers[rows]), labels[rows], weights[rows], recipe
    )
    # As they are stored: what is fitted is what is served.
    return Head(by_answer, by_word.astype(np.float16).astype(np.float32), rarity, bias, name="")


def softmax_regression(
    counts: sparse.csr_matrix, dense: Reals, labels: Labels, weights: Reals, recipe: Recipe
) -> tuple[Reals, Reals, Reals]:
    """Return weights of the sparse features, of the dense ones, `[features, labels]`, and `[labels]` of none.

    Minimises the weighted sum of the cross-entropies plus half the weights' square over C, as scikit-learn
    does, which takes either kind of features but not both side by side without making the dense ones sparse.
    """
    rare = counts.shape[1]
    transposed = counts.T.tocsr()
    truth = np.eye(3, dtype=np.float32)[labels]
    heavy = weights.astype(np.float32)[:, None]
    penalty = np.float32(1 / recipe.penalty_inverse)

    def cost(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        guess = flat.astype(np.float32).reshape(-1, 3)
        by_word, by_dense, bias = guess[:rare], guess[rare:-1], guess[-1]
        logits = counts @ by_word + dense @ by_dense + bias
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        totals = powers.sum(axis=1, keepdims=True)
        misses = (powers / totals - truth) * heavy
        slope = np.vstack([transposed @ misses, dense.T @ misses, misses.sum(axis=0)])
        slope[:-1] += penalty * guess[:-1]
        loss = float((heavy * (np.log(totals) - (truth * logits).sum(axis=1, keepdims=True))).sum())
        return loss + float(penalty * (guess[:-1] ** 2).sum() / 2), slope.ravel().astype(np.float64)

    found = optimize.minimize(
        cost,
        np.zeros((rare + dense.shape[1] + 1) * 3),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": recipe.most_iterations, "ftol": 1e-7},
    )
    guess = found.x.astype(np.float32).reshape(-1, 3)
    return guess[:rare], guess[rare:-1], guess[-1]


def logits_of(head: Head, answers: Reals, words: Words, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return `[rows, 3]`, in bulk what `Head.scores` does text by text."""
    logits: NDArray[np.float64] = (
        head.from_answers(answers[rows]) + words.matrix(rows, head.rarity) @ head.words
    ).astype(np.float64)
    return logits


def out_of_fold(
    answers: Reals,
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
        head = fit(answers, words, labels, weights, seen, recipe)
        logits[unseen] = logits_of(head, answers, words, unseen)
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
