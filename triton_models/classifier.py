"""From texts to the calibrated probabilities of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from triton_models.reader import Reader, Reals


class Classifier:
    """A loaded model with its head."""

    def __init__(self, folder: Path, graph_name: str, threads: int) -> None:
        self._reader = Reader(folder, graph_name, threads or None)
        self.head_name = "labels"

    def scores(self, texts: Sequence[str]) -> Reals:
        """Return `[texts, labels]`, each row a distribution."""
        logits = self._reader.read(texts).label_logits
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores: Reals = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
        return scores
