"""From texts to the probabilities of the labels: prompts, the reader, the scores of the label tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from triton_models.gpu_tensorrt.reading import LONGEST_TEXT_TOKENS, TOKENIZER_NAME, Answers, Prompter
from triton_models.gpu_torch.reader import Precision, Reader
from triton_models.gpu_torch.shape import read_shape

_KEPT_LOGITS = (0, 1, 2)
"""The reader's logits are the labels' alone, in their order."""


class Classifier:
    """A loaded checkpoint with its prompt.

    Args:
        folder: a Hugging Face checkpoint with `tokenizer.json`.
        calibration: an `answers.json` with temperature and bias; without it scores stay uncalibrated.
        device: such as `cuda` or `cpu`; a GPU where there is one when None.
        reuses_prefix: False reads every prompt whole, for comparison.
    """

    def __init__(
        self,
        folder: Path,
        precision: Precision,
        calibration: Path | None = None,
        device: str | None = None,
        reuses_prefix: bool = True,
    ) -> None:
        self._prompter = Prompter(Tokenizer.from_file(str(folder / TOKENIZER_NAME)))
        prefix = self._prompter.prefix
        (bare,), _ = self._prompter.prompts([""])
        longest = LONGEST_TEXT_TOKENS + len(bare) - len(prefix)
        labels = self._prompter.answer_tokens()
        self._reader = Reader(folder, prefix, labels, longest, precision, device, reuses_prefix)
        given = Answers.load(calibration) if calibration else Answers(_KEPT_LOGITS, "")
        self._answers = replace(given, tokens=_KEPT_LOGITS, precision=self._reader.precision)
        self.is_drawn = read_shape(folder).seed is not None

    @property
    def reader(self) -> Reader:
        """What reads the prompts."""
        return self._reader

    @property
    def version(self) -> str:
        """Precision, where the weights are from if not from a checkpoint, and how they become scores."""
        drawn = "drawn-" if self.is_drawn else ""
        return f"{self._answers.precision}-{drawn}{self._answers.head_name}"

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return `[texts, 3]`: bearish, neutral, bullish; each row a distribution."""
        prompts, had_orders = self._prompter.prompts(texts)
        return self._answers.scores(self._reader.logits(prompts), had_orders)
