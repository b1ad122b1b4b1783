"""The head: what the decoder answers and a text's own words say together about its label.

One softmax regression over two views of a text: the decoder's own answer, as its adapter taught it, and
hashed n-grams of words and characters. Its figures are made by `python -m triton_models.train_head`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triton_models.lexical import BUCKETS, families, unit_weights

Reals = NDArray[np.float32]

HEAD_FILE = Path(__file__).resolve().parent / "head" / "head.npz"


def log_chances(logits: Reals) -> Reals:
    """Return the logarithms of the chances that logits `[texts, labels]` give each label."""
    centred = logits - logits.max(axis=1, keepdims=True)
    logarithms: Reals = centred - np.log(np.exp(centred).sum(axis=1, keepdims=True))
    return logarithms


@dataclass(frozen=True)
class Head:
    """A fitted head.

    Args:
        answers: weights of the decoder's own answer, in logarithms of its chances, `[3, 3]`.
        words: weights of the buckets, `[BUCKETS, 3]`.
        rarity: of each bucket, `[BUCKETS]`; 0 for one that no fitted text had.
        bias: `[3]`.
        name: tells heads apart; part of MODEL_VERSION.
    """

    answers: Reals
    words: Reals
    rarity: Reals
    bias: Reals
    name: str

    @classmethod
    def load(cls, path: Path = HEAD_FILE) -> Head:
        """Return the head of a file, named after its content. Raises ValueError when its shape is wrong."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with np.load(path) as stored:
            if missing := set(_STORED) - set(stored.files):
                raise ValueError(f"{path} holds no head of this version of the code: no {min(missing)}")
            parts = {name: stored[name].astype(np.float32) for name in _STORED}
        if parts["words"].shape != (BUCKETS, 3) or parts["answers"].shape != (3, 3):
            raise ValueError(f"{path} holds no head of this version of the code: another shape")
        return cls(**parts, name=f"head_{digest[:8]}")

    def save(self, path: Path) -> None:
        """Write the figures, in half precision where that is what was fitted."""
        np.savez_compressed(
            path,
            answers=self.answers,
            words=self.words.astype(np.float16),
            rarity=self.rarity.astype(np.float16),
            bias=self.bias,
        )

    def calibrated(self, temperature: float, bias: NDArray[np.floating]) -> Head:
        """Return the head whose logits are divided by a temperature, then moved by a bias."""
        return replace(
            self,
            answers=self.answers / temperature,
            words=self.words / temperature,
            bias=(self.bias / temperature + bias).astype(np.float32),
        )

    def from_answers(self, answers: Reals) -> Reals:
        """Return the logits `[texts, 3]` before a text's words are heard, from the label tokens' scores."""
        return log_chances(answers) @ self.answers + self.bias

    def scores(self, answers: Reals, texts: Sequence[str]) -> Reals:
        """Return `[texts, 3]`: bearish, neutral, bullish; each row a distribution.

        Args:
            answers: the label tokens' scores of each text, `[texts, 3]`.
            texts: what the decoder read.
        """
        logits = self.from_answers(answers)
        for row, text in enumerate(texts):
            logits[row] += self._from_words(text)
        scores: Reals = np.exp(log_chances(logits)).astype(np.float32)
        return scores

    def _from_words(self, text: str) -> Reals:
        found = np.zeros(3, dtype=np.float32)
        for family in families(text):
            rarity = {bucket: float(self.rarity[bucket]) for bucket in family if self.rarity[bucket] > 0}
            weights = unit_weights(family, rarity)
            if weights:
                found += np.fromiter(weights.values(), np.float32) @ self.words[list(weights)]
        return found


_STORED = ("answers", "words", "rarity", "bias")
