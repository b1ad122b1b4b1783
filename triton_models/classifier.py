"""From texts to the calibrated probabilities of the labels: the decoder, then the head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from triton_models.head import HEAD_FILE, Head
from triton_models.hostile import SHRINKAGE, without_label_words, without_orders
from triton_models.prompt import CHARACTERS_READ, one_line
from triton_models.reader import Reader, Reals


class Classifier:
    """A loaded decoder with its head.

    Args:
        folder: what `triton_models.prepare` wrote.
        graph_name: which of the graphs there.
        threads: of the arithmetic; 0 takes every core.
        head_path: the head's figures.
    """

    def __init__(self, folder: Path, graph_name: str, threads: int, head_path: Path = HEAD_FILE) -> None:
        self._head = Head.load(head_path)
        self._reader = Reader(folder, graph_name, threads or None)

    @property
    def head_name(self) -> str:
        """Name of the head, part of the model's version."""
        return self._head.name

    def scores(self, texts: Sequence[str]) -> Reals:
        """Return `[texts, 3]`: bearish, neutral, bullish; each row a distribution."""
        cleaned = [without_orders(text[:CHARACTERS_READ]) for text in texts]
        read = [one_line(text) for text, _ in cleaned]
        masked = {
            row: left for row, text in enumerate(read) if (left := without_label_words(text)) is not None
        }
        scores = self._read([*read, *masked.values()])
        hostile = {row for row, (_, had_orders) in enumerate(cleaned) if had_orders}
        for place, row in enumerate(masked, start=len(texts)):
            if scores[place].argmax() != scores[row].argmax():
                scores[row] = scores[place]
                hostile.add(row)
        rows = sorted(hostile)
        scores[rows] = SHRINKAGE / 3 + (1 - SHRINKAGE) * scores[rows]
        return scores[: len(texts)]

    def _read(self, texts: list[str]) -> Reals:
        # The head sees of a text what the decoder sees.
        return self._head.scores(self._reader.read(texts), texts)
