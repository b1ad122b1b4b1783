"""Fit the head: `python -m triton_models.train_head --train NAME=FILE ...` in `.venv`, beside `.venv-triton`.

The first file is the one that the head's confidence is calibrated for; every file becomes a calibrated
source. Held-out texts (by hash, see `corpus`) are seen by nothing that is fitted, and are scored at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.special import softmax

from triton_models.head import HEAD_FILE, STATE_NAMES, WAVE_SEED, Head, state_vector
from triton_models.train_head.corpus import HELD_OUT_PERCENT, Example, read_examples
from triton_models.train_head.fitting import (
    FOLDS,
    Recipe,
    Words,
    calibration,
    fit,
    logits_of,
    out_of_fold,
    space_of,
)
from triton_models.train_head.scores import Scores, scores_of, tfidf_probabilities, vader_probabilities
from triton_models.train_head.states import states_of

_ROOT = Path(__file__).resolve().parents[2]
_VERSIONS = ("1", "2")
"""Both read with one head; version 2 gives the same label on 99 % of texts."""


@dataclass(frozen=True)
class Corpus:
    """All examples, file behind file."""

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    examples: list[Example]
    source: NDArray[np.int64]
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]

    def rows(self, *, held_out: bool, source: int | None = None) -> NDArray[np.int64]:
        """Return the rows that may be fitted on, or those that may not, of one source or all."""
        wanted = (self.folds < HELD_OUT_PERCENT) == held_out
        if source is not None:
            wanted &= self.source == source
        return np.flatnonzero(wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, fit, calibrate, write, score."""
    given = _parse(arguments)
    corpus = read_corpus([name.partition("=") for name in given.train])
    states = _states(corpus, given.environment, given.states)
    words = Words([example.text for example in corpus.examples])
    recipe = Recipe()
    weights = np.where(corpus.source == 0, 1.0, recipe.second_weight).astype(np.float32)
    fitted = corpus.rows(held_out=False)
    print(f"fitting on {len(fitted):,} texts, {FOLDS} times for calibration and once for good", flush=True)
    space = space_of(states[fitted], recipe)
    unseen = out_of_fold(space, states, words, corpus.labels, weights, corpus.folds, fitted, recipe)
    first = fitted[corpus.source[fitted] == 0]
    temperature, bias = calibration(unseen[first], corpus.labels[first])
    head = fit(space, states, words, corpus.labels, weights, fitted, recipe).calibrated(temperature, bias)
    unseen = unseen / temperature + bias
    calibrations = {}
    for number, name in enumerate(corpus.names):
        rows = fitted[corpus.source[fitted] == number]
        calibrations[name] = calibration(unseen[rows], corpus.labels[rows])
    given.head.parent.mkdir(parents=True, exist_ok=True)
    head.save(given.head)
    _write_calibrations(given.calibrations, calibrations, Head.load(given.head).name)
    table = score(corpus, states, words, Head.load(given.head), calibrations)
    told = {
        "files": [
            {
                "source": name,
                "file": path.name,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "texts": int((corpus.source == number).sum()),
            }
            for number, (name, path) in enumerate(zip(corpus.names, corpus.paths, strict=True))
        ],
        "held_out": f"SHA-256 of the normalised text, first 8 bytes, modulo 100, below {HELD_OUT_PERCENT}",
        "fitted_texts": len(fitted),
        "states": list(STATE_NAMES),
        "recipe": asdict(recipe),
        "seed": f"{WAVE_SEED}, of the waves' frequencies; L-BFGS draws nothing",
        "scikit_learn": sklearn.__version__,
        "temperature": round(temperature, 4),
        "bias": bias.round(4).tolist(),
        "scores_out_of_fold": _out_of_fold_scores(corpus, unseen, calibrations, fitted),
        "scores_on_held_out_texts": {name: scores.rounded() for name, scores in table.items()},
    }
    given.head.with_name("recipe.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    _print(table)
    return 0


def read_corpus(named: Sequence[tuple[str, str, str]]) -> Corpus:
    """Return the examples of `NAME=FILE` pairs. Raises ValueError for a file of no known form."""
    names = tuple(name for name, _, _ in named)
    paths = tuple(Path(path) for _, _, path in named)
    read = [read_examples(path) for path in paths]
    examples = [example for one in read for example in one]
    return Corpus(
        names,
        paths,
        examples,
        np.repeat(np.arange(len(read)), [len(one) for one in read]),
        np.array([example.label for example in examples]),
        np.array([example.fold for example in examples]),
    )


def score(
    corpus: Corpus,
    states: NDArray[np.float32],
    words: Words,
    head: Head,
    calibrations: dict[str, tuple[float, NDArray[np.float64]]],
) -> dict[str, Scores]:
    """Return the scores on held-out texts: the head's, calibrated for its source, and the peers'."""
    table = {}
    for number, name in enumerate(corpus.names):
        rows = corpus.rows(held_out=True, source=number)
        asked, labels = [corpus.examples[row] for row in rows], corpus.labels[rows]
        logits = logits_of(head, states, words, rows)
        temperature, bias = calibrations[name]
        table[f"{name}: market_llm"] = scores_of(softmax(logits / temperature + bias, axis=1), labels)
        table[f"{name}: label tokens alone"] = scores_of(
            softmax(states[rows, -3:].astype(np.float64), axis=1), labels
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


def _states(corpus: Corpus, environment: Path, folder: Path) -> NDArray[np.float32]:
    parts = []
    for number in range(len(corpus.names)):
        texts = [corpus.examples[row].text for row in np.flatnonzero(corpus.source == number)]
        parts.append(state_vector(states_of(texts, environment, folder)))
    return np.concatenate(parts)


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
    parser.add_argument("--states", type=Path, default=_ROOT / "build" / "triton" / "states")
    parser.add_argument("--environment", type=Path, default=_ROOT / ".venv-triton")
    given = parser.parse_args(arguments)
    for pair in given.train:
        if "=" not in pair:
            parser.error(f"--train {pair}: say NAME=FILE")
    return given


if __name__ == "__main__":
    sys.exit(main())
