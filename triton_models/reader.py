"""SmolLM2 on ONNX Runtime: reads texts after a shared prefix, scores the label tokens, generates nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from triton_models.prompt import Prompt, prompt, text_tokens, tokenizer
from triton_models.weights import GRAPH_NAME, LABEL_ROWS_NAME, PREFIX_NAME, SHAPE_NAME, VOCABULARY_NAME

Reals = NDArray[np.float32]

HIDDEN_FROM_VIEW = np.float32(-1e9)


class Reader:
    """A loaded model with its prefix, which `prepare` had it read once.

    Args:
        folder: what `triton_models.prepare` wrote.
        graph_name: which of the graphs there.
        threads: of ONNX Runtime; 1 spares the other core for who needs it more.
    """

    def __init__(
        self,
        folder: Path,
        graph_name: str = GRAPH_NAME,
        threads: int | None = None,
    ) -> None:
        vocabulary = json.loads((folder / VOCABULARY_NAME).read_text(encoding="utf-8"))
        shape = json.loads((folder / SHAPE_NAME).read_text(encoding="utf-8"))
        self._words = tokenizer(vocabulary["tokens"], vocabulary["merges"])
        self._prompt: Prompt = prompt(self._words)
        self._layer_count: int = shape["layers"]
        self._frequencies = _frequencies(shape["head_width"], shape["rope_base"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        # Spinning threads would take the core from the order path between two requests.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / graph_name), options, providers=["CPUExecutionProvider"]
        )
        self._label_rows: Reals = np.load(folder / LABEL_ROWS_NAME)
        empty = np.zeros((self._layer_count, 2, shape["key_heads"], 0, shape["head_width"]), np.float32)
        stored = folder / PREFIX_NAME
        self._prefix = np.load(stored) if stored.exists() else self._read_prefix(empty)

    @property
    def prefix(self) -> Reals:
        """Keys and values of the prompt before a text, `[layers, 2, key heads, tokens, head]`."""
        return self._prefix

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's own tokens, cut to what is read."""
        return text_tokens(self._words, texts)

    def read(self, texts: Sequence[str]) -> Reals:
        """Return the label tokens' scores of texts read in one batch, `[texts, labels]`."""
        suffix = list(self._prompt.suffix)
        prompts = [tokens + suffix for tokens in self.tokens(texts)]
        answers = np.cumsum([len(tokens) for tokens in prompts]) - 1
        inputs = {**self._inputs(prompts), "answers": answers, "prefix": self._prefix}
        (final,) = self._session.run(["final"], inputs)
        scores: Reals = final @ self._label_rows.T
        return scores

    def activations(self, texts: Sequence[str], names: Sequence[str]) -> list[Reals]:
        """Return outputs of the graph for every token of the texts, packed: `[tokens, channels]` each."""
        suffix = list(self._prompt.suffix)
        inputs = self._inputs([tokens + suffix for tokens in self.tokens(texts)])
        everything = {"answers": np.arange(len(inputs["rows"])), "prefix": self._prefix}
        found: list[Reals] = self._session.run(list(names), inputs | everything)
        return found

    def _read_prefix(self, empty: Reals) -> Reals:
        names = [f"{kind}_{layer}" for layer in range(self._layer_count) for kind in ("key", "value")]
        self._prefix = empty
        inputs = self._inputs([list(self._prompt.prefix)]) | {"answers": np.zeros(1, np.int64)}
        found = self._session.run(names, {**inputs, "prefix": empty})
        return np.stack([part[0] for part in found]).reshape(self._layer_count, 2, *found[0].shape[1:])

    def _inputs(self, batch: Sequence[Sequence[int]]) -> dict[str, NDArray[np.generic]]:
        before = self._prefix.shape[3]
        lengths = [len(tokens) for tokens in batch]
        longest = max(lengths)
        slots = np.zeros((len(batch), longest), dtype=np.int64)
        rows = np.empty(sum(lengths), dtype=np.int64)
        at = 0
        for index, length in enumerate(lengths):
            slots[index, :length] = np.arange(at, at + length)
            rows[at : at + length] = np.arange(index * longest, index * longest + length)
            at += length
        mask = np.zeros((longest, before + longest), dtype=np.float32)
        mask[:, before:][np.triu_indices(longest, 1)] = HIDDEN_FROM_VIEW
        angles = np.arange(before, before + longest)[:, None] * self._frequencies
        turns = np.stack((np.cos(angles), np.sin(angles))).astype(np.float32)
        return {
            "tokens": np.concatenate([np.asarray(tokens, dtype=np.int64) for tokens in batch]),
            "slots": slots,
            "rows": rows,
            "mask": mask,
            "turns": turns,
        }


def _frequencies(head_width: int, base: float) -> NDArray[np.float64]:
    """Return the angle a position turns by, for each column of half a head; both halves turn alike."""
    frequencies: NDArray[np.float64] = base ** -(np.arange(0, head_width, 2) / head_width)
    return frequencies
