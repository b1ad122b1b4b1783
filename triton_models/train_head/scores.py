"""How good a classifier is: accuracy, macro-F1, all labels alike, coverage at 0.7, calibration error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score

from triton_models.train_head.corpus import BEARISH, BULLISH, NEUTRAL, Example

Probabilities = NDArray[np.float64]

CONFIDENT = 0.7
"""The confidence from which on a post counts."""
_BINS = 15
_VADER_NEUTRAL = 0.05
"""VADER's authors call a compound score within this of zero neutral (Hutto and Gilbert 2014)."""


@dataclass(frozen=True)
class Scores:
    """One classifier on one set of texts; a share is between 0 and 1, None where confidence means nothing.

    The balanced accuracy is the mean over labels of the share that was found: what samples with as many texts
    of each label have on average.
    """

    texts: int
    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    confident_share: float | None
    confident_accuracy: float | None
    calibration_error: float | None

    def rounded(self) -> dict[str, float | None]:
        """Return the figures with four places."""
        return {name: None if value is None else round(value, 4) for name, value in asdict(self).items()}


def scores_of(probabilities: Probabilities, labels: NDArray[np.int64], *, claims: bool = True) -> Scores:
    """Return the scores of `[texts, 3]` answers; `claims` says whether they claim to be probabilities."""
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = answers == labels
    sure = confidence >= CONFIDENT
    return Scores(
        texts=len(labels),
        accuracy=float(right.mean()),
        macro_f1=float(f1_score(labels, answers, average="macro", zero_division=0.0)),
        balanced_accuracy=float(balanced_accuracy_score(labels, answers)),
        confident_share=float(sure.mean()) if claims else None,
        confident_accuracy=float(right[sure].mean()) if claims and sure.any() else None,
        calibration_error=_calibration_error(confidence, right) if claims else None,
    )


def tfidf_probabilities(fitted: Sequence[Example], asked: Sequence[Example]) -> Probabilities:
    """Return what TF-IDF of one and two words with logistic regression says, fitted on the first examples."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        LogisticRegression(C=10, max_iter=300),
    )
    model.fit([example.text for example in fitted], [example.label for example in fitted])
    probabilities: Probabilities = model.predict_proba([example.text for example in asked])
    return probabilities


def vader_probabilities(asked: Sequence[Example]) -> Probabilities:
    """Return VADER's answers, each with certainty, since it claims none."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    compound: Callable[[str], dict[str, float]] = SentimentIntensityAnalyzer().polarity_scores
    answers = np.zeros((len(asked), 3))
    for row, example in enumerate(asked):
        score = compound(example.text)["compound"]
        label = BULLISH if score >= _VADER_NEUTRAL else BEARISH if score <= -_VADER_NEUTRAL else NEUTRAL
        answers[row, label] = 1.0
    return answers


def _calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over bins of equal width."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(right[bins == one].mean() - confidence[bins == one].mean())) * float((bins == one).mean())
        for one in np.unique(bins)
    ]
    return sum(gaps)
