"""The head gives distributions, says the same in bulk and one by one, and survives being written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from triton_models.head import HEAD_FILE, Head
from triton_models.lexical import BUCKETS, WORD_BUCKETS, families, unit_weights
from triton_models.train_head.fitting import (
    Recipe,
    Words,
    calibration,
    fit,
    logits_of,
    out_of_fold,
    softmax_regression,
)

TEXTS = [
    f"{name} {verb} {amount} percent after {cause}"
    for name in ("Acme", "Borealis", "Corvid", "Delta")
    for verb in ("falls", "rises", "closes")
    for amount in (1, 2, 3)
    for cause in ("earnings", "guidance", "a strike")
]
LABELS = np.array([("falls", "closes", "rises").index(text.split()[1]) for text in TEXTS])
ROWS = np.arange(len(TEXTS))
RECIPE = Recipe()


def answers() -> np.ndarray:
    """Return what a decoder might answer: right in most cases, sure in none."""
    draw = np.random.default_rng(7)
    made: np.ndarray = (np.eye(3)[LABELS] + draw.normal(size=(len(TEXTS), 3)) * 0.7).astype(np.float32)
    return made


@pytest.fixture(scope="module")
def fitted() -> Head:
    return fit(answers(), Words(TEXTS), LABELS, np.ones(len(TEXTS), np.float32), ROWS, RECIPE)


def test_a_head_learns_what_words_say(fitted: Head) -> None:
    assert (fitted.scores(answers(), TEXTS).argmax(axis=1) == LABELS).mean() > 0.95


def test_scores_in_bulk_equal_scores_text_by_text(fitted: Head) -> None:
    logits = logits_of(fitted, answers(), Words(TEXTS), ROWS)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    bulk = powers / powers.sum(axis=1, keepdims=True)
    assert np.allclose(fitted.scores(answers(), TEXTS), bulk, atol=1e-5)


def test_a_head_that_was_written_says_the_same_and_is_named_after_its_content(
    fitted: Head, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "head.npz")
    again = Head.load(tmp_path / "head.npz")
    assert np.allclose(again.scores(answers(), TEXTS), fitted.scores(answers(), TEXTS), atol=1e-4)
    assert again.name.startswith("head_")
    assert again.name == Head.load(tmp_path / "head.npz").name


def test_a_higher_temperature_lowers_confidence_and_keeps_labels(fitted: Head) -> None:
    warm = fitted.calibrated(3.0, np.zeros(3)).scores(answers(), TEXTS)
    cold = fitted.scores(answers(), TEXTS)
    assert (warm.argmax(axis=1) == cold.argmax(axis=1)).all()
    assert warm.max(axis=1).mean() < cold.max(axis=1).mean()


def test_out_of_fold_logits_come_from_heads_that_did_not_see_the_text() -> None:
    folds = np.arange(len(TEXTS)) % 10
    weights = np.ones(len(TEXTS), np.float32)
    rows = np.flatnonzero(folds > 1)
    logits = out_of_fold(answers(), Words(TEXTS), LABELS, weights, folds, rows, RECIPE)
    assert (logits[folds <= 1] == 0).all()
    fold = rows[folds[rows] % 3 == 0]
    seen = rows[folds[rows] % 3 != 0]
    head = fit(answers(), Words(TEXTS), LABELS, weights, seen, RECIPE)
    assert np.allclose(logits[fold], logits_of(head, answers(), Words(TEXTS), fold))


def test_a_decoder_that_answers_right_is_believed_whatever_it_adds_to_every_label() -> None:
    draw = np.random.default_rng(13)
    said = (np.eye(3)[LABELS] * 4 + draw.normal(size=(len(TEXTS), 1)) * 10).astype(np.float32)
    nothing_said = Words([""] * len(TEXTS))
    head = fit(said, nothing_said, LABELS, np.ones(len(TEXTS), np.float32), ROWS[::2], RECIPE)
    unseen = ROWS[1::2]
    assert (logits_of(head, said, nothing_said, unseen).argmax(axis=1) == LABELS[unseen]).all()
    assert head.answers.argmax(axis=0).tolist() == [0, 1, 2]


def test_the_regression_is_scikit_learns_on_both_kinds_of_features() -> None:
    draw = np.random.default_rng(2)
    rare = sparse.random(300, 40, density=0.1, format="csr", random_state=4, dtype=np.float32)
    dense = draw.normal(size=(300, 5)).astype(np.float32)
    labels = draw.integers(0, 3, size=300)
    weights = draw.uniform(0.2, 1.0, size=300).astype(np.float32)
    recipe = Recipe(penalty_inverse=0.5, most_iterations=500)
    by_word, by_dense, bias = softmax_regression(rare, dense, labels, weights, recipe)
    model = LogisticRegression(C=0.5, max_iter=2000, tol=1e-8)
    both = np.hstack([rare.toarray(), dense])
    model.fit(both, labels, sample_weight=weights)
    logits = rare @ by_word + dense @ by_dense + bias
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(chances, model.predict_proba(both), atol=2e-3)


def test_calibration_finds_the_temperature_that_logits_were_multiplied_with() -> None:
    draw = np.random.default_rng(3)
    logits = draw.normal(size=(20_000, 3)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < draw.random((len(chances), 1))).sum(axis=1)
    temperature, bias = calibration(logits * 2.5, labels)
    assert temperature == pytest.approx(2.5, rel=0.1)
    assert np.abs(bias).max() < 0.3


@given(st.text(max_size=400))
def test_any_text_has_buckets_within_bounds_and_weights_of_unit_length(text: str) -> None:
    words, characters = families(text)
    assert all(0 <= bucket < WORD_BUCKETS for bucket in words)
    assert all(WORD_BUCKETS <= bucket < BUCKETS for bucket in characters)
    weights = unit_weights(words, dict.fromkeys(words, 1.5))
    assert sum(weight**2 for weight in weights.values()) == pytest.approx(1.0 if words else 0.0)


def test_links_say_nothing() -> None:
    assert families("Acme falls https://t.co/abc") == families("Acme falls https://t.co/xyz")


def test_a_file_of_another_shape_is_no_head(tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    parts: dict[str, Any] = {
        "answers": np.zeros((3, 3)),
        "words": np.zeros((8, 3)),
        "rarity": np.zeros(8),
        "bias": np.zeros(3),
    }
    np.savez(path, **parts)
    with pytest.raises(ValueError, match="another shape"):
        Head.load(path)
    del parts["answers"]
    np.savez(path, **parts)
    with pytest.raises(ValueError, match="no answers"):
        Head.load(path)


def test_the_committed_head_loads_and_is_small() -> None:
    assert HEAD_FILE.stat().st_size < 1_000_000
    assert Head.load().words.shape == (BUCKETS, 3)
