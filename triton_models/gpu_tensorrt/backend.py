"""The ends of the chain in Triton's Python backend: texts to tokens, and logits to answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton
from tokenizers import Tokenizer

from triton_models.gpu_tensorrt.reading import ANSWERS_NAME, LABELS, TOKENIZER_NAME, Answers, Prompter, padded


class Preprocessing:
    """Turns texts into prompts' tokens; `tokenizer.json` lies beside the version's code."""

    def initialize(self, arguments: dict[str, str]) -> None:
        """Load the tokenizer."""
        self._prompter = Prompter(Tokenizer.from_file(str(version_folder(arguments) / TOKENIZER_NAME)))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request with tensors of its own width: the engine takes ragged batches."""
        return [self._answer(texts_of(request)) for request in requests]

    def _answer(self, texts: list[str]) -> Any:
        prompts, had_orders = self._prompter.prompts(texts)
        tokens, lengths = padded(prompts)
        return triton.InferenceResponse(
            [
                triton.Tensor("INPUT_IDS", tokens),
                triton.Tensor("INPUT_LENGTHS", lengths),
                triton.Tensor("REQUEST_OUTPUT_LEN", np.ones_like(lengths)),
                triton.Tensor("RETURN_GENERATION_LOGITS", np.ones(lengths.shape, dtype=np.bool_)),
                triton.Tensor("HAD_ORDERS", had_orders.reshape(-1, 1)),
            ]
        )


class Postprocessing:
    """Turns logits into the contract's outputs; `answers.json` lies beside the version's code."""

    def initialize(self, arguments: dict[str, str]) -> None:
        """Load which tokens stand for the labels."""
        self._answers = Answers.load(version_folder(arguments) / ANSWERS_NAME)
        self._version = f"market_llm-{arguments['model_version']}-{self._answers.precision}"

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request from its own logits."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        logits = triton.get_input_tensor_by_name(request, "GENERATION_LOGITS").as_numpy()
        had_orders = triton.get_input_tensor_by_name(request, "HAD_ORDERS").as_numpy()
        # One beam, one token.
        scores = self._answers.scores(logits[:, 0, 0], had_orders[:, 0])
        return response(scores, f"{self._version}-{self._answers.head_name}")


def texts_of(request: Any) -> list[str]:
    """Return a request's texts."""
    batch = triton.get_input_tensor_by_name(request, "TEXT").as_numpy()
    return [text.decode("utf-8", "replace") for text in batch.reshape(-1)]


def response(scores: np.ndarray, version: str) -> Any:
    """Return the contract's outputs for `[texts, 3]` scores."""
    rows = len(scores)
    labels = np.array([label.encode() for label in LABELS], dtype=object)
    return triton.InferenceResponse(
        [
            triton.Tensor("SCORES", scores),
            triton.Tensor("LABEL", labels[scores.argmax(axis=1)].reshape(rows, 1)),
            triton.Tensor("CONFIDENCE", scores.max(axis=1, keepdims=True)),
            triton.Tensor("MODEL_VERSION", np.full((rows, 1), version.encode(), dtype=object)),
        ]
    )


def version_folder(arguments: dict[str, str]) -> Path:
    """Return the folder that Triton loaded the version's code from."""
    return Path(arguments["model_repository"]) / arguments["model_version"]
