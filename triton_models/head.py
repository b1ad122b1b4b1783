"""The head: what the decoder's hidden states and a text's own words say together about its label.

One softmax regression over three views of a text: hidden states of several layers (the mean over the text's
tokens and the state at the place of the answer) with the label tokens' scores; waves over those states,
which let the answer bend where a plane cannot; and hashed n-grams. Its figures are made by
`python -m triton_models.train_head`.
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
WAVE_SEED = 0
"""Draws the waves' frequencies, so that no file has to keep them."""


def state_vector(parts: Mapping[str, NDArray[np.floating]]) -> Reals:
    """Return `[texts, features]` from the named parts of `STATE_NAMES`, each `[texts, width]`."""
    return np.concatenate([np.asarray(parts[name], dtype=np.float32) for name in STATE_NAMES], axis=1)


@dataclass(frozen=True)
class Space:
    """Where state vectors lie; learnt from texts without their labels.

    Args:
        centre: `[features]`.
        spread: `[features]`; a standardised state is its distance from the centre in spreads.
        kernel_width: of the kernel that the waves stand for; 1 is the average distance of two texts.
        frequencies: of the waves, `[features, waves]`; drawn again wherever a head is loaded.
    """

    centre: Reals
    spread: Reals
    kernel_width: float
    frequencies: Reals

    @classmethod
    def drawn(cls, centre: Reals, spread: Reals, kernel_width: float, waves: int) -> Space:
        """Return the space with so many waves: the same on every machine, under every version of numpy."""
        # A RandomState keeps its stream, a Generator may not (NEP 19); fitting and serving differ in numpy.
        draw = np.random.RandomState(WAVE_SEED)
        distance = np.sqrt(2 * len(centre))
        frequencies = draw.standard_normal((len(centre), waves)) / (kernel_width * distance)
        return cls(centre, spread, kernel_width, frequencies.astype(np.float32))

    def standardised(self, states: Reals) -> Reals:
        """Return `[texts, features]`, with mean 0 and spread 1 over the texts the space was learnt from."""
        return (states - self.centre) / self.spread

    def waves(self, standardised: Reals) -> Reals:
        """Return `[texts, 2 * waves]`, whose products are near a Gaussian kernel (Rahimi and Recht 2007)."""
        phases = standardised @ self.frequencies
        found: Reals = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
        return found / np.float32(np.sqrt(self.frequencies.shape[1]))


@dataclass(frozen=True)
class Head:
    """A fitted head.

    Args:
        space: where states lie.
        states: weights of the standardised states, `[features, 3]`.
        waves: weights of the waves, `[2 * waves, 3]`.
        words: weights of the buckets, `[BUCKETS, 3]`.
        rarity: of each bucket, `[BUCKETS]`; 0 for one that no fitted text had.
        bias: `[3]`.
        name: tells heads apart; part of MODEL_VERSION.
    """

    space: Space
    states: Reals
    waves: Reals
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
        if parts["words"].shape != (BUCKETS, 3) or parts["states"].shape[1:] != (3,):
            raise ValueError(f"{path} holds no head of this version of the code: another shape")
        space = Space.drawn(
            parts.pop("centre"),
            parts.pop("spread"),
            float(parts.pop("kernel_width")),
            waves=len(parts["waves"]) // 2,
        )
        return cls(space=space, **parts, name=f"head_{digest[:8]}")

    def save(self, path: Path) -> None:
        """Write the figures, in half precision where that is what was fitted."""
        np.savez_compressed(
            path,
            centre=self.space.centre,
            spread=self.space.spread,
            kernel_width=self.space.kernel_width,
            states=self.states,
            waves=self.waves,
            words=self.words.astype(np.float16),
            rarity=self.rarity.astype(np.float16),
            bias=self.bias,
        )

    def calibrated(self, temperature: float, bias: NDArray[np.floating]) -> Head:
        """Return the head whose logits are divided by a temperature, then moved by a bias."""
        return replace(
            self,
            states=self.states / temperature,
            waves=self.waves / temperature,
            words=self.words / temperature,
            bias=(self.bias / temperature + bias).astype(np.float32),
        )

    def from_states(self, states: Reals) -> Reals:
        """Return the logits `[texts, 3]` before a text's words are heard."""
        standardised = self.space.standardised(states)
        return standardised @ self.states + self.space.waves(standardised) @ self.waves + self.bias

    def scores(self, states: Reals, texts: Sequence[str]) -> Reals:
        """Return `[texts, 3]`: bearish, neutral, bullish; each row a distribution."""
        logits = self.from_states(states)
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


_STORED = ("centre", "spread", "kernel_width", "states", "waves", "words", "rarity", "bias")
