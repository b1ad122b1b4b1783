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

from triton_models.gpu_torch.products import Arithmetic, Half, Product
from triton_models.gpu_torch.rowwise import Rowwise
from triton_models.gpu_torch.shape import Shape
from triton_models.gpu_torch.weights import Weights

_MASK_STEP = 16
"""Rows of the mask begin at multiples of this: fused attention would copy it otherwise."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """One decoder layer's weights, `[outputs, inputs]`; those that read the same rows are one."""

    attention_norm: Any
    query_key_value: Any
    attention_output: Any
    feed_forward_norm: Any
    gate_up: Any
    down: Any


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer in some arithmetic."""

    arithmetic: Arithmetic
    attention_norm: Any
    query_key_value: Product
    attention_output: Product
    feed_forward_norm: Any
    gate_up: Product
    down: Product

    @classmethod
    def of(cls, tensors: Tensors, arithmetic: Arithmetic) -> Layer:
        """Return the layer with its products in that arithmetic."""
        return cls(
            arithmetic,
            tensors.attention_norm,
            arithmetic.product(tensors.query_key_value),
            arithmetic.product(tensors.attention_output),
            tensors.feed_forward_norm,
            arithmetic.product(tensors.gate_up),
            arithmetic.product(tensors.down),
        )


@dataclass(frozen=True, slots=True)
class Places:
    """Where a row's tokens stand and what they see; the same for every row of a batch.

    Args:
        cosines: of each position's angles, `[tokens, half a head's width]`; sines likewise.
        mask: added to the scores, `[query heads of a key head x tokens, tokens before and own]`.
    """

    cosines: Any
    sines: Any
    mask: Any


class Decoder:
    """A decoder on a device.

    Each layer is loaded, reads the prefix in full precision, and is then kept in the arithmetic asked for: so
    in 8 bits the prefix keeps the few tokens with huge activations that begin a text (Sun et al. 2024), and
    at most one layer is there in two forms.

    Args:
        weights: tensors by name, read one at a time.
        prefix: tokens that every row begins with; may be none.
        labels: tokens whose logits are computed; of the output matrix only their rows are kept.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Weights,
        prefix: Sequence[int],
        labels: Sequence[int],
        arithmetic: Arithmetic,
        rowwise: Rowwise,
        device: str,
        kind: Any,
    ) -> None:
        self._shape, self._rowwise = shape, rowwise
        self._device, self._kind = device, kind
        self._prefix_length = len(prefix)
        embeddings = weights.tensor("model.embed_tokens.weight").to(device, kind)
        outputs = embeddings if shape.ties_embeddings else weights.tensor("lm_head.weight")
        self._label_rows = outputs[list(labels)].to(device).float()
        self._embed = arithmetic.table(embeddings)
        rows = functional.embedding(torch.tensor(list(prefix), dtype=torch.int64, device=device), embeddings)
        del embeddings, outputs
        exact, places = Half(rowwise, kind), self._places(0, len(prefix))
        nothing = torch.zeros((1, shape.key_heads, 0, shape.head_width), device=device, dtype=kind)
        self._layers: list[Layer] = []
        self._prefix: list[tuple[Any, Any]] = []
        for index in range(shape.layers):
            tensors = self._tensors(weights, index)
            seen = nothing, nothing
            if prefix:
                rows, seen = self._through(Layer.of(tensors, exact), rows, 1, places, seen)
            self._prefix.append(seen)
            self._layers.append(Layer.of(tensors, arithmetic))
        self._final_norm = weights.tensor("model.norm.weight").to(device, kind)

    def places(self, count: int) -> Places:
        """Return the places of `count` tokens after the prefix."""
        return self._places(self._prefix_length, count)

    def read(self, tokens: Any, answers: Any, places: Places) -> Any:
        """Return the labels' logits after each row, `[rows, labels]` in fp32.

        Args:
            tokens: what follows the prefix, `[rows, tokens]`.
            answers: the place of each row's last own token, `[rows]`.
        """
        texts, count = tokens.shape
        rows = self._embed(tokens.reshape(-1))
        for layer, before in zip(self._layers[:-1], self._prefix[:-1], strict=True):
            rows, _ = self._through(layer, rows, texts, places, before)
        answer_rows = torch.arange(texts, device=tokens.device) * count + answers
        rows, _ = self._through(self._layers[-1], rows, texts, places, self._prefix[-1], answer_rows)
        final = self._rowwise.normed(rows, self._final_norm, self._shape.norm_epsilon)
        return functional.linear(final.float(), self._label_rows)

    def _through(
        self,
        layer: Layer,
        rows: Any,
        texts: int,
        places: Places,
        before: tuple[Any, Any],
        wanted: Any | None = None,
    ) -> tuple[Any, tuple[Any, Any]]:
        """Return the residual stream after a layer, of the rows wanted, and the keys and values of all."""
        arithmetic, epsilon = layer.arithmetic, self._shape.norm_epsilon
        entering = arithmetic.norm(rows, layer.attention_norm, epsilon)
        projected = layer.query_key_value(entering, rows)
        attended, seen = self._attended(projected, texts, places, before)
        if wanted is not None:
            rows, attended = rows[wanted], attended[wanted]
        rows = layer.attention_output.onto(rows, arithmetic.enter(attended))
        entering = arithmetic.norm(rows, layer.feed_forward_norm, epsilon)
        return layer.down.onto(rows, arithmetic.gate(entering, layer.gate_up, rows)), seen

    def _attended(
        self, projected: Any, texts: int, places: Places, before: tuple[Any, Any]
    ) -> tuple[Any, tuple[Any, Any]]:
        """Return what each token gathers, `[rows, attention width]`, and all that could be seen."""
        shape = self._shape
        turning = shape.heads + shape.key_heads
        heads = projected.reshape(texts, -1, turning + shape.key_heads, shape.head_width)
        count = heads.shape[1]
        turned = self._rowwise.rotated(heads[:, :, :turning], places.cosines, places.sines)
        # Query heads that share a key head stand behind one another: one product for all of them.
        query = turned[:, :, : shape.heads].reshape(texts, count, shape.key_heads, -1, shape.head_width)
        query = query.permute(0, 2, 3, 1, 4).reshape(texts, shape.key_heads, -1, shape.head_width)
        own = turned[:, :, shape.heads :].transpose(1, 2), heads[:, :, turning:].transpose(1, 2)
        keys, values = (
            torch.cat((one.expand(texts, -1, -1, -1), other), dim=2)
            for one, other in zip(before, own, strict=True)
        )
        mixed = functional.scaled_dot_product_attention(query, keys, values, attn_mask=places.mask)
        mixed = mixed.reshape(texts, shape.key_heads, -1, count, shape.head_width)
        flat = mixed.permute(0, 3, 1, 2, 4).reshape(texts * count, shape.attention_width)
        return flat, (keys, values)

    def _places(self, start: int, count: int) -> Places:
        shape = self._shape
        positions = torch.arange(start, start + count, dtype=torch.float64)
        angles = positions[:, None] * torch.tensor(shape.frequencies(), dtype=torch.float64)
        ahead = torch.arange(start + count)[None, :] - torch.arange(start, start + count)[:, None]
        hidden = ahead > 0
        if shape.window is not None:
            hidden |= ahead <= -shape.window
        repeated = hidden.repeat(shape.heads // shape.key_heads, 1)
        spare = -(start + count) % _MASK_STEP
        mask = torch.zeros((len(repeated), start + count + spare))
        mask[:, : start + count].masked_fill_(repeated, float("-inf"))
        return Places(
            angles.cos().to(self._device, torch.float32),
            angles.sin().to(self._device, torch.float32),
            mask.to(self._device, self._kind)[:, : start + count],
        )

    def _tensors(self, weights: Weights, index: int) -> Tensors:
        at = f"model.layers.{index}"

        def part(*names: str) -> Any:
            found = [weights.tensor(f"{at}.{name}.weight").to(self._device, self._kind) for name in names]
            return found[0] if len(found) == 1 else torch.cat(found)

        return Tensors(
            attention_norm=part("input_layernorm"),
            query_key_value=part(*(f"self_attn.{name}_proj" for name in "qkv")),
            attention_output=part("self_attn.o_proj"),
            feed_forward_norm=part("post_attention_layernorm"),
            gate_up=part("mlp.gate_proj", "mlp.up_proj"),
            down=part("mlp.down_proj"),
        )
