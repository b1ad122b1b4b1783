"""Prompts to the logits of their labels: a prefix read once, batches padded to few sizes, a graph for each.

On a CPU the same code runs without CUDA graphs, in fp32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel

from triton_models.gpu_torch.decoder import Decoder
from triton_models.gpu_torch.products import Arithmetic, EightBit, Half
from triton_models.gpu_torch.rowwise import Rowwise, fused
from triton_models.gpu_torch.shape import read_shape
from triton_models.gpu_torch.weights import weights_of

Precision = Literal["fp16", "int8"]

BATCHES = (1, 2, 4, 8)
LENGTH_STEP = 16
_FINE_LENGTHS = 96
"""Up to here every step has a graph: most texts are short."""
_COARSE_STEP = 32
_WARM_UPS = 2
# They take a mask, and need no plan for each of the sizes.
_ATTENTION = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class Reader:
    """A loaded checkpoint.

    Args:
        folder: a Hugging Face checkpoint: `config.json` and safetensors.
        prefix: tokens that every prompt begins with; their keys and values are computed here, once.
        labels: tokens whose logits are wanted.
        longest: tokens that a prompt may have after the prefix.
        reuses_prefix: False reads every prompt whole, for comparison.
        fuses: whether the steps between products are compiled; None where that pays, on a GPU.
    """

    def __init__(
        self,
        folder: Path,
        prefix: Sequence[int],
        labels: Sequence[int],
        longest: int,
        precision: Precision,
        device: str | None = None,
        reuses_prefix: bool = True,
        fuses: bool | None = None,
    ) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._on_gpu = self.device.startswith("cuda")
        kind = torch.float16 if self._on_gpu else torch.float32
        shape = read_shape(folder)
        fuses = self._on_gpu if fuses is None else fuses
        rowwise = fused(self.device, shape.width, shape.feed_forward) if fuses else Rowwise()
        arithmetic: Arithmetic = EightBit(rowwise, kind) if precision == "int8" else Half(rowwise, kind)
        self.precision = arithmetic.name
        self.is_fused = rowwise.is_compiled
        self._prefix = tuple(prefix) if reuses_prefix else ()
        self._lengths = lengths(longest + len(prefix) - len(self._prefix))
        self._passes: dict[tuple[int, int], Callable[[Any, Any], Any]] = {}
        with torch.inference_mode(), sdpa_kernel(_ATTENTION):
            stored = weights_of(folder, shape, self.device)
            self._decoder = Decoder(
                shape, stored, self._prefix, labels, arithmetic, rowwise, self.device, kind
            )
            self._places = {length: self._decoder.places(length) for length in self._lengths}
            if self._on_gpu:
                self._capture_all()
                torch.cuda.empty_cache()  # what loading took and reading does not

    def logits(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return `[prompts, labels]`; any number of prompts, read eight at a time.

        Raises ValueError for a prompt without the prefix, or longer than the reader was made for.
        """
        own = [self._own(prompt) for prompt in prompts]
        with torch.inference_mode(), sdpa_kernel(_ATTENTION):
            parts = [self._read(own[at : at + BATCHES[-1]]) for at in range(0, len(own), BATCHES[-1])]
        return np.concatenate(parts)

    def _own(self, prompt: Sequence[int]) -> list[int]:
        shared = len(self._prefix)
        if tuple(prompt[:shared]) != self._prefix:
            raise ValueError("the prompt does not begin with the prefix")
        own = list(prompt[shared:])
        if not 0 < len(own) <= self._lengths[-1]:
            raise ValueError(f"a prompt of {len(own)} tokens after its prefix is not read here")
        return own

    def _read(self, own: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        length = next(length for length in self._lengths if length >= max(map(len, own)))
        batch = next(batch for batch in BATCHES if batch >= len(own))
        tokens = torch.zeros((batch, length), dtype=torch.int64)
        answers = torch.zeros(batch, dtype=torch.int64)
        for row, prompt in enumerate(own):
            tokens[row, : len(prompt)] = torch.tensor(prompt)
            answers[row] = len(prompt) - 1
        read = self._passes.get((batch, length), self._pass)
        found: NDArray[np.float32] = read(tokens, answers)[: len(own)].cpu().numpy()
        return found

    def _pass(self, tokens: Any, answers: Any) -> Any:
        places = self._places[tokens.shape[1]]
        return self._decoder.read(tokens.to(self.device), answers.to(self.device), places)

    def _capture_all(self) -> None:
        # The largest first: the smaller ones fit into the memory that it has taken.
        pool = torch.cuda.graph_pool_handle()
        for size in itertools.product(reversed(BATCHES), reversed(self._lengths)):
            self._passes[size] = self._captured(*size, pool)

    def _captured(self, batch: int, length: int, pool: Any) -> Callable[[Any, Any], Any]:
        tokens = torch.zeros((batch, length), dtype=torch.int64, device=self.device)
        answers = torch.zeros(batch, dtype=torch.int64, device=self.device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._pass(tokens, answers)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            logits = self._pass(tokens, answers)

        def replay(own: Any, last: Any) -> Any:
            tokens.copy_(own)
            answers.copy_(last)
            graph.replay()
            return logits

        return replay


def lengths(longest: int) -> tuple[int, ...]:
    """Return the lengths that rows are padded to: fine steps for short texts, coarse ones up to `longest`."""
    top = -(-longest // LENGTH_STEP) * LENGTH_STEP
    fine = range(2 * LENGTH_STEP, min(_FINE_LENGTHS, top), LENGTH_STEP)
    coarse = range(_FINE_LENGTHS, top, _COARSE_STEP)
    return (*fine, *coarse, max(top, 2 * LENGTH_STEP))
