"""The head: what the decoder's hidden states and a text's own words say together about its label.

A linear layer over hidden states of several layers (the mean over the text's tokens and the state at the
place of the answer), the label tokens' scores and hashed n-grams, with a temperature. Its figures are made
by `python -m triton_models.train_head`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triton_models.lexical import BUCKETS, families, unit_weights

Reals = NDArray[np.float32]

HEAD_FILE = Path(__file__).resolve().parent / "head" / "head.npz"
MEAN_LAYERS = (14, 20, 26)
"""Layers whose states are averaged over the text."""
LAST_LAYERS = (20, 26, -1)
"""Layers whose state at the place of the answer counts; -1 is the last one, normed."""
STATE_NAMES = (
    *(f"mean_{layer}" for layer in MEAN_LAYERS),
    *(f"last_{layer}" for layer in LAST_LAYERS),
    "labels",
)
"""The parts of a state vector, in their order."""
LAYERS = tuple(sorted({layer for layer in (*MEAN_LAYERS, *LAST_LAYERS) if layer > 0}))


def state_vector(parts: Mapping[str, NDArray[np.floating]]) -> Reals:
    """Return `[texts, features]` from the named parts of `STATE_NAMES`, each `[texts, width]`."""
    return np.concatenate([np.asarray(parts[name], dtype=np.float32) for name in STATE_NAMES], axis=1)


@dataclass(frozen=True)
class Head:
    """A fitted head.

    Args:
        states: weights of the state vector, `[features, 3]`, standardisation included.
        words: weights of the buckets, `[BUCKETS, 3]`.
        rarity: of each bucket, `[BUCKETS]`; 0 for one that no fitted text had.
        bias: `[3]`.
        name: tells heads apart; part of MODEL_VERSION.
    """

    states: Reals
    words: Reals
    rarity: Reals
    bias: Reals
    name: str

    @classmethod
    def load(cls, path: Path = HEAD_FILE) -> Head:
        """Return the head of a file, named after its content. Raises ValueError when its shape is wrong."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with np.load(path) as stored:
            parts = {name: stored[name].astype(np.float32) for name in ("states", "words", "rarity", "bias")}
        if parts["words"].shape != (BUCKETS, 3) or parts["states"].shape[1:] != (3,):
            raise ValueError(f"{path} holds no head of this version of the code")
        return cls(**parts, name=f"head_{digest[:8]}")

    def save(self, path: Path) -> None:
        """Write the figures, in half precision where that is what was fitted."""
        np.savez_compressed(
            path,
            states=self.states,
            words=self.words.astype(np.float16),
            rarity=self.rarity.astype(np.float16),
            bias=self.bias,
        )

    def calibrated(self, temperature: float, bias: NDArray[np.floating]) -> Head:
        """Return the head whose logits are divided by a temperature, then moved by a bias."""
        return replace(
            self,
            states=self.states / temperature,
            words=self.words / temperature,
            bias=(self.bias / temperature + bias).astype(np.float32),
        )

    def scores(self, states: Reals, texts: Sequence[str]) -> Reals:
        """Return `[texts, 3]`: bearish, neutral, bullish; each row a distribution."""
        logits = states @ self.states + self.bias
        for row, text in enumerate(texts):
            logits[row] += self._from_words(text)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores: Reals = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return scores

    def _from_words(self, text: str) -> Reals:
        found = np.zeros(3, dtype=np.float32)
        for family in families(text):
            rarity = {bucket: float(self.rarity[bucket]) for bucket in family if self.rarity[bucket] > 0}
            weights = unit_weights(family, rarity)
            if weights:
                found += np.fromiter(weights.values(), np.float32) @ self.words[list(weights)]
        return found
