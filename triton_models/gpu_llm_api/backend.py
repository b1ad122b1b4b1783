"""`market_llm` in Triton's Python backend, read by the LLM API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from triton_models.gpu_llm_api.reader import Reader
from triton_models.gpu_tensorrt.backend import response, texts_of, version_folder
from triton_models.gpu_tensorrt.reading import ANSWERS_NAME, TOKENIZER_NAME, Answers, Prompter

CHECKPOINT_NAME = "checkpoint"


class MarketModel:
    """Texts in; scores, label, confidence and model version out. What it reads lies beside its code."""

    def initialize(self, arguments: dict[str, str]) -> None:
        """Load tokenizer and weights."""
        folder = version_folder(arguments)
        self._answers = Answers.load(folder / ANSWERS_NAME)
        self._prompter = Prompter(Tokenizer.from_file(str(folder / CHECKPOINT_NAME / TOKENIZER_NAME)))
        self._reader = Reader(folder / CHECKPOINT_NAME)
        name = f"{arguments['model_name']}-{arguments['model_version']}"
        self._version = f"{name}-{self._answers.precision}-{self._answers.head_name}"

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that Triton has batched, reading all their texts at once."""
        batches = [texts_of(request) for request in requests]
        prompts, had_orders = self._prompter.prompts([text for batch in batches for text in batch])
        scores = self._answers.scores(self._reader.logits(prompts), had_orders)
        answers, at = [], 0
        for batch in batches:
            answers.append(response(scores[at : at + len(batch)], self._version))
            at += len(batch)
        return answers

    def finalize(self) -> None:
        """Let go of the GPU when Triton unloads the model."""
        self._reader.close()
