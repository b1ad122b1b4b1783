"""`market_llm` in Triton's Python backend, read by PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from triton_models.gpu_tensorrt.backend import response, texts_of, version_folder
from triton_models.gpu_tensorrt.reading import ANSWERS_NAME
from triton_models.gpu_torch.classifier import Classifier
from triton_models.gpu_torch.reader import Precision
from triton_models.weights import weights_folder

THREADS_VARIABLE = "MARKET_LLM_THREADS"
"""Threads of the arithmetic where there is no GPU; unset or 0 takes every core."""


class MarketModel:
    """One version of the model; a subclass names its precision.

    The checkpoint is the folder that `MARKET_LLM_WEIGHTS` names; an `answers.json` with a calibration may
    lie beside the version's code.
    """

    precision: ClassVar[Precision]

    def initialize(self, arguments: dict[str, str]) -> None:
        """Load the weights, read the prefix once, capture the graphs."""
        threads = int(os.environ.get(THREADS_VARIABLE, "0"))
        if threads:
            torch.set_num_threads(threads)
        calibration = version_folder(arguments) / ANSWERS_NAME
        self._classifier = Classifier(
            weights_folder(), self.precision, calibration if calibration.is_file() else None
        )
        name = f"{arguments['model_name']}-{arguments['model_version']}"
        self._version = f"{name}-{self._classifier.version}"

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that Triton has batched, reading all their texts at once."""
        batches = [texts_of(request) for request in requests]
        scores = self._classifier.scores([text for batch in batches for text in batch])
        answers, at = [], 0
        for batch in batches:
            answers.append(response(scores[at : at + len(batch)], self._version))
            at += len(batch)
        return answers
