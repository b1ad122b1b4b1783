"""Prompts to the logits of their first answer token, through TensorRT-LLM's LLM API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_models.gpu_tensorrt.reading import LONGEST_PROMPT_TOKENS

BATCH = 8
KV_MEMORY_SHARE = 0.2
"""Of the GPU's free memory; eight prompts and the shared prefix need far less."""


class Reader:
    """A loaded checkpoint. What prompts share is computed once and kept in the paged KV cache.

    Args:
        checkpoint: FP8 checkpoint as `quantise` writes it.
    """

    def __init__(self, checkpoint: Path) -> None:
        from tensorrt_llm import LLM, SamplingParams
        from tensorrt_llm.llmapi import KvCacheConfig

        end = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
        self._llm = LLM(
            model=str(checkpoint),
            skip_tokenizer_init=True,
            max_batch_size=BATCH,
            max_seq_len=LONGEST_PROMPT_TOKENS + 1,
            max_num_tokens=BATCH * LONGEST_PROMPT_TOKENS,
            gather_generation_logits=True,
            kv_cache_config=KvCacheConfig(
                enable_block_reuse=True, dtype="fp8", free_gpu_memory_fraction=KV_MEMORY_SHARE
            ),
        )
        # The logits of the one answer token, not of the prompt's: those do not come with a reused prefix.
        self._sampling = SamplingParams(
            max_tokens=1, return_generation_logits=True, end_id=end, pad_id=end, detokenize=False
        )

    def logits(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return `[prompts, vocabulary]`."""
        asked = [list(prompt) for prompt in prompts]
        answered: list[Any] = self._llm.generate(asked, self._sampling, use_tqdm=False)
        rows = [one.outputs[0].generation_logits[0].float().cpu().numpy() for one in answered]
        return np.stack(rows).astype(np.float32)

    def close(self) -> None:
        """Give the GPU's memory back."""
        self._llm.shutdown()
