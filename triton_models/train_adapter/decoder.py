"""The decoder in PyTorch, as far as fitting needs it: layers that read padded texts after a shared prefix.

Products are in bfloat16, four times as fast as fp32 where the processor has instructions for it; the residual
stream and what is fitted stay in fp32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from triton_models.checkpoint import Checkpoint
from triton_models.checkpoint import Layer as Weights

Tensor = Any

_FAST = torch.bfloat16


class Layer:
    """One decoder layer with frozen weights.

    Args:
        weights: as the checkpoint has them.
        changes: by name of the matrix, what is added to it: `[inputs, rank]` and `[rank, outputs]`.
    """

    def __init__(
        self, checkpoint: Checkpoint, weights: Weights, changes: Mapping[str, tuple[Tensor, Tensor]]
    ) -> None:
        self._shape = checkpoint.shape
        self._norms = {
            name: torch.from_numpy(getattr(weights, name)) for name in ("attention_norm", "feed_forward_norm")
        }
        self._matrices = {
            name: torch.from_numpy(getattr(weights, name)).to(_FAST)
            for name in ("query_key_value", "attention_output", "gate_up", "down")
        }
        self._changes = changes

    def __call__(
        self, hidden: Tensor, turns: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Any]:
        """Return the states after the layer and its keys and values.

        Args:
            hidden: `[texts, tokens, width]`, in fp32.
            turns: cosine and sine of each position, `[2, tokens, half a head]`.
            past: keys and values of the prefix, `[1, key heads, prefix, head]` each.
        """
        mixed, own = self._attention(self._normed("attention_norm", hidden), turns, past)
        hidden = hidden + self._product("attention_output", mixed).float()
        gate, up = self._product("gate_up", self._normed("feed_forward_norm", hidden)).chunk(2, dim=-1)
        return hidden + self._product("down", functional.silu(gate) * up).float(), own

    def _normed(self, name: str, hidden: Tensor) -> Tensor:
        scale = self._norms[name]
        return functional.rms_norm(hidden, scale.shape, scale, self._shape.norm_epsilon).to(_FAST)

    def _product(self, name: str, activation: Tensor) -> Tensor:
        found = activation @ self._matrices[name]
        if name not in self._changes:
            return found
        down, up = self._changes[name]
        return found + (activation @ down.to(_FAST)) @ up.to(_FAST)

    def _attention(self, normed: Tensor, turns: Tensor, past: Any) -> tuple[Tensor, Any]:
        shape = self._shape
        texts, tokens, _ = normed.shape
        projected = self._product("query_key_value", normed).unflatten(-1, (-1, shape.head_width))
        query, key, value = projected.transpose(1, 2).split((shape.heads, *(shape.key_heads,) * 2), dim=1)
        query, key = _turned(query, turns), _turned(key, turns)
        own = (key, value)
        before = 0
        if past is not None:
            before = past[0].shape[2]
            key, value = (
                torch.cat((one.expand(texts, -1, -1, -1), new), dim=2)
                for one, new in zip(past, own, strict=True)
            )
        sees = torch.ones(tokens, before + tokens, dtype=torch.bool).tril(before)
        # The scale of the scores is in the query's weights.
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=sees, scale=1.0, enable_gqa=True
        )
        return mixed.transpose(1, 2).flatten(2), own


def turns_of(checkpoint: Checkpoint, first: int, tokens: int) -> Tensor:
    """Return cosine and sine for the positions from `first` on, `[2, tokens, half a head]`."""
    width = checkpoint.shape.head_width
    frequencies = checkpoint.shape.rope_base ** -(np.arange(0, width, 2) / width)
    angles = np.arange(first, first + tokens)[:, None] * frequencies
    return torch.from_numpy(np.stack((np.cos(angles), np.sin(angles)))).to(_FAST)


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Return texts of `[tokens, width]` side by side, zeros behind the shorter ones."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def _turned(heads: Tensor, turns: Tensor) -> Tensor:
    first, second = heads.chunk(2, dim=-1)
    cosine, sine = turns[0], turns[1]
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
