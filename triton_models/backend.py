"""`market_llm` in Triton's Python backend: texts in; scores, label, confidence and model version out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import triton_python_backend_utils as triton

from triton_models.classifier import Classifier
from triton_models.prompt import LABELS
from triton_models.weights import GRAPH_NAME, QUANTISED_GRAPH_NAME, weights_folder

THREADS_VARIABLE = "MARKET_LLM_THREADS"
"""Threads of ONNX Runtime; unset or 0 takes every core."""
_GRAPHS = {"fp32": GRAPH_NAME, "int8": QUANTISED_GRAPH_NAME}


class MarketModel:
    """One version of the model; a subclass names its precision."""

    precision: ClassVar[str]

    def initialize(self, arguments: dict[str, str]) -> None:
        """Load the weights, read the prefix once, load the head."""
        threads = int(os.environ.get(THREADS_VARIABLE, "0"))
        self._classifier = Classifier(weights_folder(), _GRAPHS[self.precision], threads)
        head = self._classifier.head_name
        self._version = f"{arguments['model_name']}-{arguments['model_version']}-{self.precision}-{head}"
        self._labels = np.array([label.encode() for label in LABELS], dtype=object)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that Triton has batched, reading all their texts at once."""
        batches = [triton.get_input_tensor_by_name(request, "TEXT").as_numpy() for request in requests]
        texts = [text.decode("utf-8", "replace") for batch in batches for text in batch.reshape(-1)]
        scores = self._classifier.scores(texts)
        answers, at = [], 0
        for batch in batches:
            answers.append(self._answer(scores[at : at + batch.shape[0]]))
            at += batch.shape[0]
        return answers

    def _answer(self, scores: np.ndarray) -> Any:
        rows = len(scores)
        return triton.InferenceResponse(
            [
                triton.Tensor("SCORES", scores),
                triton.Tensor("LABEL", self._labels[scores.argmax(axis=1)].reshape(rows, 1)),
                triton.Tensor("CONFIDENCE", scores.max(axis=1, keepdims=True)),
                triton.Tensor("MODEL_VERSION", np.full((rows, 1), self._version.encode(), dtype=object)),
            ]
        )
