"""A Llama- or Mistral-shaped decoder that reads: tokens after a shared prefix in, the labels' logits out.

Grouped-query attention, rotary positions, RMS norms and SwiGLU (Touvron et al. 2023, Jiang et al. 2023).
Rows are padded on the right, where attention never looks back at them from; so padding changes no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from triton_models.gpu_torch.products import Arithmetic, Product
from triton_models.gpu_torch.rowwise import Rowwise
from triton_models.gpu_torch.shape import Shape
from triton_models.gpu_torch.weights import Weights

Prefix = Sequence[tuple[Any, Any]]
"""Keys and values of each layer, `[1, key heads, tokens, head width]`."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer; products that read the same rows are one."""

    attention_norm: Any
    query_key_value: Product
    attention_output: Product
    feed_forward_norm: Any
    gate_up: Product
    down: Product


@dataclass(frozen=True, slots=True)
class Places:
    """Where a row's tokens stand and what they see; the same for every row of a batch.

    Args:
        cosines: of each position's angles, `[tokens, half a head's width]`; sines likewise.
        mask: added to the scores, `[query heads of a key head x tokens, prefix + tokens]`.
    """

    cosines: Any
    sines: Any
    mask: Any


class Decoder:
    """A decoder on a device.

    Args:
        weights: tensors by name, read one at a time, so that at most one of them is there in two forms.
        labels: tokens whose logits are computed; of the output matrix only their rows are kept.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Weights,
        labels: Sequence[int],
        arithmetic: Arithmetic,
        rowwise: Rowwise,
        device: str,
        kind: Any,
    ) -> None:
        self.shape = shape
        self._arithmetic, self._rowwise = arithmetic, rowwise
        self._device, self._kind = device, kind
        embeddings = weights.tensor("model.embed_tokens.weight")
        outputs = embeddings if shape.ties_embeddings else weights.tensor("lm_head.weight")
        self._label_rows = outputs[list(labels)].to(device).float()
        self._embed = arithmetic.table(embeddings.to(device))
        del embeddings, outputs
        self._layers = [self._layer(weights, index) for index in range(shape.layers)]
        self._final_norm = weights.tensor("model.norm.weight").to(device, kind)

    def no_prefix(self) -> Prefix:
        """Return the prefix of texts that are read whole."""
        size = (1, self.shape.key_heads, 0, self.shape.head_width)
        empty = torch.zeros(size, device=self._device, dtype=self._kind)
        return [(empty, empty)] * self.shape.layers

    def read_prefix(self, tokens: Sequence[int]) -> Prefix:
        """Return the keys and values of tokens that every text begins with."""
        found: list[tuple[Any, Any]] = []
        rows = torch.tensor([list(tokens)], device=self._device)
        last = torch.tensor([len(tokens) - 1], device=self._device)
        self.read(rows, last, self.places(0, len(tokens)), self.no_prefix(), found)
        return found

    def places(self, start: int, count: int) -> Places:
        """Return the places of `count` tokens after `start` others."""
        shape = self.shape
        halves = torch.arange(0, shape.head_width, 2, dtype=torch.float64) / shape.head_width
        positions = torch.arange(start, start + count, dtype=torch.float64)
        angles = positions[:, None] * shape.rope_base**-halves
        ahead = torch.arange(start + count)[None, :] - torch.arange(start, start + count)[:, None]
        seen = ahead <= 0
        if shape.window is not None:
            seen &= ahead > -shape.window
        mask = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
        return Places(
            angles.cos().to(self._device, torch.float32),
            angles.sin().to(self._device, torch.float32),
            mask.repeat(shape.heads // shape.key_heads, 1).to(self._device, self._kind),
        )

    def read(
        self,
        tokens: Any,
        answers: Any,
        places: Places,
        prefix: Prefix,
        kept: list[tuple[Any, Any]] | None = None,
    ) -> Any:
        """Return the labels' logits after each row, `[rows, labels]` in fp32.

        Args:
            tokens: `[rows, tokens]`.
            answers: the place of each row's last own token, `[rows]`.
            kept: gets the keys and values of every layer.
        """
        texts, count = tokens.shape
        rows = self._embed(tokens.reshape(-1))
        answer_rows = torch.arange(texts, device=tokens.device) * count + answers
        epsilon = self.shape.norm_epsilon
        for index, (layer, past) in enumerate(zip(self._layers, prefix, strict=True)):
            entering = self._arithmetic.norm(rows, layer.attention_norm, epsilon)
            projected = layer.query_key_value(entering, rows)
            attended = self._attended(projected.reshape(texts, count, -1), places, past, kept)
            if index == self.shape.layers - 1:
                # After the last keys only the place of the answer matters.
                rows, attended = rows[answer_rows], attended[answer_rows]
            rows = layer.attention_output.onto(rows, self._arithmetic.enter(attended))
            entering = self._arithmetic.norm(rows, layer.feed_forward_norm, epsilon)
            rows = layer.down.onto(rows, self._arithmetic.gate(entering, layer.gate_up, rows))
        final = self._rowwise.normed(rows, self._final_norm, epsilon)
        return functional.linear(final.float(), self._label_rows)

    def _attended(
        self, projected: Any, places: Places, past: tuple[Any, Any], kept: list[tuple[Any, Any]] | None
    ) -> Any:
        """Return what each token gathers, `[rows x tokens, attention width]`."""
        shape = self.shape
        texts, count, _ = projected.shape
        turning = shape.heads + shape.key_heads
        heads = projected.reshape(texts, count, turning + shape.key_heads, shape.head_width)
        turned = self._rowwise.rotated(heads[:, :, :turning], places.cosines, places.sines)
        # Query heads that share a key head stand behind one another: one product for all of them.
        query = turned[:, :, : shape.heads].reshape(texts, count, shape.key_heads, -1, shape.head_width)
        query = query.permute(0, 2, 3, 1, 4).reshape(texts, shape.key_heads, -1, shape.head_width)
        key = turned[:, :, shape.heads :].transpose(1, 2)
        value = heads[:, :, turning:].transpose(1, 2)
        if kept is not None:
            kept.append((key.contiguous(), value.contiguous()))
        keys, values = (
            torch.cat((before.expand(texts, -1, -1, -1), own), dim=2)
            for before, own in zip(past, (key, value), strict=True)
        )
        mixed = functional.scaled_dot_product_attention(query, keys, values, attn_mask=places.mask)
        mixed = mixed.reshape(texts, shape.key_heads, -1, count, shape.head_width)
        return mixed.permute(0, 3, 1, 2, 4).reshape(texts * count, shape.attention_width)

    def _layer(self, weights: Weights, index: int) -> Layer:
        at = f"model.layers.{index}"

        def part(*names: str) -> Any:
            found = [weights.tensor(f"{at}.{name}.weight").to(self._device) for name in names]
            return found[0] if len(found) == 1 else torch.cat(found)

        attention = [f"self_attn.{name}_proj" for name in "qkv"]
        product = self._arithmetic.product
        return Layer(
            attention_norm=part("input_layernorm").to(self._kind),
            query_key_value=product(part(*attention)),
            attention_output=product(part("self_attn.o_proj")),
            feed_forward_norm=part("post_attention_layernorm").to(self._kind),
            gate_up=product(part("mlp.gate_proj", "mlp.up_proj")),
            down=product(part("mlp.down_proj")),
        )
