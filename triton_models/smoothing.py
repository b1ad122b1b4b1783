"""Move the range of activations into weights before both get 8 bits: SmoothQuant (Xiao et al. 2023).

A channel that is large in every text is divided by a factor where it is made (a norm, or the way up of the
feed-forward layer) and multiplied by it where it is used. The result is the same; its largest values are not.
Factors come from the largest value of each channel over 1,000 texts (`python -m triton_models.activations`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from triton_models.checkpoint import Checkpoint, Layer, Matrix

MAXIMA_FILE = Path(__file__).resolve().parent / "calibration" / "maxima.npz"
ALPHA = 0.5
"""Share of the range that moves: 0 leaves it with the activations, 1 gives all of it to the weights."""
PLACES = ("attention_norm", "feed_forward_norm", "gated")
"""Whose channels are smoothed, by the names that they have in the graph of each layer."""
_LEAST = 1e-5


@dataclass(frozen=True)
class Maxima:
    """The largest absolute value of each channel at each place: `[layers, channels]`."""

    attention_norm: Matrix
    feed_forward_norm: Matrix
    gated: Matrix

    @classmethod
    def load(cls, path: Path = MAXIMA_FILE) -> Maxima:
        """Return what the script wrote."""
        with np.load(path) as stored:
            return cls(*(stored[place].astype(np.float32) for place in PLACES))

    def save(self, path: Path) -> None:
        """Write them in half precision."""
        np.savez_compressed(
            path,
            attention_norm=self.attention_norm.astype(np.float16),
            feed_forward_norm=self.feed_forward_norm.astype(np.float16),
            gated=self.gated.astype(np.float16),
        )


def smoothed(checkpoint: Checkpoint, maxima: Maxima, alpha: float = ALPHA) -> Checkpoint:
    """Return a checkpoint that computes the same with calmer activations.

    Raises ValueError when the maxima belong to a decoder of another shape.
    """
    shape = checkpoint.shape
    wanted = ((shape.layers, shape.width),) * 2 + ((shape.layers, shape.feed_forward),)
    if tuple(getattr(maxima, place).shape for place in PLACES) != wanted:
        raise ValueError("these maxima belong to a decoder of another shape")
    layers = tuple(_layer(layer, maxima, index, alpha) for index, layer in enumerate(checkpoint.layers))
    return replace(checkpoint, layers=layers)


def factors(largest: Matrix, matrix: Matrix, alpha: float) -> Matrix:
    """Return by how much to divide each channel; their geometric mean is 1."""
    activation = np.maximum(largest, _LEAST)
    weight = np.maximum(np.abs(matrix).max(axis=1), _LEAST)
    logs = alpha * np.log(activation) - (1 - alpha) * np.log(weight)
    found: Matrix = np.exp(logs - logs.mean()).astype(np.float32)
    return found


def _layer(layer: Layer, maxima: Maxima, index: int, alpha: float) -> Layer:
    # The way down first: its factors change the way up, which the norm before it feeds.
    by = factors(maxima.gated[index], layer.down, alpha)
    gate, up = np.split(layer.gate_up, 2, axis=1)
    gate_up, down = np.concatenate((gate, up / by), axis=1), layer.down * by[:, None]
    before_attention = factors(maxima.attention_norm[index], layer.query_key_value, alpha)
    before_feed_forward = factors(maxima.feed_forward_norm[index], gate_up, alpha)
    return replace(
        layer,
        attention_norm=layer.attention_norm / before_attention,
        query_key_value=layer.query_key_value * before_attention[:, None],
        feed_forward_norm=layer.feed_forward_norm / before_feed_forward,
        gate_up=gate_up * before_feed_forward[:, None],
        down=down,
    )
