"""Fit the head: `python -m triton_models.train_head --train NAME=FILE ...` in `.venv`, beside `.venv-triton`.

The first file is the one that the head's confidence is calibrated for; every file becomes a calibrated
source. Held-out texts (by hash, see `corpus`) are seen by nothing that is fitted, and are scored at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.special import softmax

from triton_models.head import HEAD_FILE, Head
from triton_models.train_adapter.unseen import UNSEEN_FILE, UnseenAnswers
from triton_models.train_head.corpus import FOLDS, HELD_OUT_RULE, Corpus, read_corpus
from triton_models.train_head.fitting import (
    Recipe,
    Words,
    calibration,
    fit,
    logits_of,
    out_of_fold,
)
from triton_models.train_head.reading import answers_of
from triton_models.train_head.scores import Scores, scores_of, tfidf_probabilities, vader_probabilities

_ROOT = Path(__file__).resolve().parents[2]
_VERSIONS = ("1", "2")
"""Both read with one head; version 2 gives the same label on 99 % of texts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, fit, calibrate, write, score."""
    given = _parse(arguments)
    try:
        corpus = read_corpus(given.train)
        answers = _answers(corpus, UnseenAnswers.load(given.unseen), given)
    except (OSError, ValueError) as error:
        print(f"train_head: {error}", file=sys.stderr)
        return 2
    fitted = corpus.rows(held_out=False)
    words = Words([example.text for example in corpus.examples])
    recipe = Recipe()
    weights = np.where(corpus.source == 0, 1.0, recipe.second_weight).astype(np.float32)
    print(f"fitting on {len(fitted):,} texts, {FOLDS} times for calibration and once for good", flush=True)
    unseen = out_of_fold(answers, words, corpus.labels, weights, corpus.folds, fitted, recipe)
    first = fitted[corpus.source[fitted] == 0]
    temperature, bias = calibration(unseen[first], corpus.labels[first])
    head = fit(answers, words, corpus.labels, weights, fitted, recipe).calibrated(temperature, bias)
    unseen = unseen / temperature + bias
    calibrations = {}
    for number, name in enumerate(corpus.names):
        rows = fitted[corpus.source[fitted] == number]
        calibrations[name] = calibration(unseen[rows], corpus.labels[rows])
    given.head.parent.mkdir(parents=True, exist_ok=True)
    head.save(given.head)
    _write_calibrations(given.calibrations, calibrations, Head.load(given.head).name)
    table = score(corpus, answers, words, Head.load(given.head), calibrations)
    told = {
        "files": corpus.provenance(),
        "held_out": HELD_OUT_RULE,
        "fitted_texts": len(fitted),
        "recipe": asdict(recipe),
        "seed": "none: L-BFGS draws nothing; the adapter's stands in adapter.json",
        "scikit_learn": sklearn.__version__,
        "temperature": round(temperature, 4),
        "bias": bias.round(4).tolist(),
        "scores_out_of_fold": _out_of_fold_scores(corpus, unseen, calibrations, fitted),
        "scores_on_held_out_texts": {name: scores.rounded() for name, scores in table.items()},
    }
    given.head.with_name("recipe.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    _print(table)
    return 0


def score(
    corpus: Corpus,
    answers: NDArray[np.float32],
    words: Words,
    head: Head,
    calibrations: dict[str, tuple[float, NDArray[np.float64]]],
) -> dict[str, Scores]:
    """Return the scores on held-out texts: the head's, calibrated for its source, and the peers'."""
    table = {}
    for number, name in enumerate(corpus.names):
        rows = corpus.rows(held_out=True, source=number)
        asked, labels = [corpus.examples[row] for row in rows], corpus.labels[rows]
        logits = logits_of(head, answers, words, rows)
        temperature, bias = calibrations[name]
        table[f"{name}: market_llm"] = scores_of(softmax(logits / temperature + bias, axis=1), labels)
        table[f"{name}: the decoder's own answer"] = scores_of(
            softmax(answers[rows].astype(np.float64), axis=1), labels
        )
        fitted = [corpus.examples[row] for row in corpus.rows(held_out=False, source=number)]
        table[f"{name}: TF-IDF, logistic regression"] = scores_of(tfidf_probabilities(fitted, asked), labels)
        table[f"{name}: VADER"] = scores_of(vader_probabilities(asked), labels, claims=False)
    return table


def _out_of_fold_scores(
    corpus: Corpus,
    unseen: NDArray[np.float64],
    calibrations: dict[str, tuple[float, NDArray[np.float64]]],
    fitted: NDArray[np.int64],
) -> dict[str, dict[str, float | None]]:
    """Return the scores of answers whose head did not see the text; only calibration did."""
    told = {}
    for number, name in enumerate(corpus.names):
        rows = fitted[corpus.source[fitted] == number]
        temperature, bias = calibrations[name]
        answers = softmax(unseen[rows] / temperature + bias, axis=1)
        told[name] = scores_of(answers, corpus.labels[rows]).rounded()
    return told


def _answers(corpus: Corpus, unseen: UnseenAnswers, given: argparse.Namespace) -> NDArray[np.float32]:
    """Return what the decoder says of each text, of those that were fitted on one that had not seen them."""
    answers = np.zeros((len(corpus.labels), 3), dtype=np.float32)
    fitted, held_out = corpus.rows(held_out=False), corpus.rows(held_out=True)
    answers[fitted] = unseen.of([corpus.examples[row].text for row in fitted])
    texts = [corpus.examples[row].text for row in held_out]
    answers[held_out] = answers_of(texts, given.environment, given.answers)
    return answers


def _write_calibrations(
    path: Path, calibrations: dict[str, tuple[float, NDArray[np.float64]]], head_name: str
) -> None:
    lines = [
        "# Temperature and bias per version of the model and source; other sources are uncalibrated.",
        f"# Made by `python -m triton_models.train_head`, out of fold, for {head_name}.",
    ]
    for version in _VERSIONS:
        for name, (temperature, bias) in calibrations.items():
            values = ", ".join(f"{value:.4f}" for value in bias)
            lines += [
                "",
                f'[versions."{version}".sources.{name}]',
                f"temperature = {temperature:.4f}",
                f"bias = [{values}]",
            ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _print(table: dict[str, Scores]) -> None:
    print("| held-out texts | n | accuracy | macro-F1 | balanced | share >= 0.7 | right there | ECE |")
    print("|---|---|---|---|---|---|---|---|")
    for name, scores in table.items():
        figures = [
            f"{value:.3f}" if value is not None else "-" for value in list(asdict(scores).values())[1:]
        ]
        print(f"| {name} | {scores.texts:,} | {' | '.join(figures)} |")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m triton_models.train_head", description=__doc__)
    parser.add_argument("--train", metavar="NAME=FILE", action="append", required=True, help="labelled texts")
    parser.add_argument("--head", type=Path, default=HEAD_FILE, help="where the figures go")
    parser.add_argument("--calibrations", type=Path, default=HEAD_FILE.with_name("calibration.toml"))
    parser.add_argument("--answers", type=Path, default=_ROOT / "build" / "triton" / "answers")
    parser.add_argument("--environment", type=Path, default=_ROOT / ".venv-triton")
    parser.add_argument(
        "--unseen", type=Path, default=UNSEEN_FILE, help="what adapters that had not seen a text said of it"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
