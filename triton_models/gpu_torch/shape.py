"""The sizes of a Llama- or Mistral-shaped decoder, as a Hugging Face checkpoint's `config.json` has them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG_NAME = "config.json"
SEED_KEY = "tapeline_random_seed"
"""In a config.json of ours: the weights are drawn with this seed, and there is no file of them."""
_KINDS = frozenset({"llama", "mistral"})


@dataclass(frozen=True, slots=True)
class Stretch:
    """How Llama 3.1 and later slow rotations down that turn less than once in the context of their training.

    Args:
        factor: by which the slowest are slowed.
        slow: turns in `context` below which the whole factor counts; above `fast` none of it does.
        context: tokens of the first training.
    """

    factor: float
    slow: float
    fast: float
    context: int

    def stretched(self, frequency: float) -> float:
        """Return the angle a position turns by, from what it would be without stretching."""
        turns = self.context * frequency / (2 * math.pi)
        kept = min(1.0, max(0.0, (turns - self.slow) / (self.fast - self.slow)))
        return frequency * (kept + (1 - kept) / self.factor)


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder's sizes.

    Args:
        window: positions that a token looks back on, itself included; None where it sees all.
        ties_embeddings: whether the embeddings serve as output matrix too.
        seed: the weights are drawn, not read; None for a real checkpoint.
    """

    layers: int
    width: int
    feed_forward: int
    heads: int
    key_heads: int
    head_width: int
    vocabulary: int
    rope_base: float
    norm_epsilon: float
    window: int | None = None
    ties_embeddings: bool = False
    stretch: Stretch | None = None
    seed: int | None = None

    @property
    def attention_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        """Width of all key heads together; as wide as the values."""
        return self.key_heads * self.head_width

    def frequencies(self) -> list[float]:
        """Return the angle that a position turns by, for each pair of a head's columns."""
        plain = [self.rope_base ** (-2 * pair / self.head_width) for pair in range(self.head_width // 2)]
        return plain if self.stretch is None else [self.stretch.stretched(one) for one in plain]

    def to_config(self) -> dict[str, object]:
        """Return what `read_shape` reads of a shape without stretch."""
        return {
            "model_type": "mistral",
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "head_dim": self.head_width,
            "vocab_size": self.vocabulary,
            "rope_theta": self.rope_base,
            "rms_norm_eps": self.norm_epsilon,
            "sliding_window": self.window,
            "tie_word_embeddings": self.ties_embeddings,
            "hidden_act": "silu",
            **({SEED_KEY: self.seed} if self.seed is not None else {}),
        }


MISTRAL_7B = Shape(
    layers=32,
    width=4096,
    feed_forward=14336,
    heads=32,
    key_heads=8,
    head_width=128,
    vocabulary=32768,
    rope_base=1e6,
    norm_epsilon=1e-5,
)
"""Mistral-7B-Instruct-v0.3."""


def read_shape(folder: Path) -> Shape:
    """Return the sizes of the checkpoint in `folder`.

    Raises FileNotFoundError without a config.json, and ValueError for a decoder that is not computed here.
    """
    return shape_of(json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8")))


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Return the sizes that a config states. Raises ValueError for a decoder that is not computed here."""
    kind = config.get("model_type")
    if kind not in _KINDS:
        raise ValueError(f"{kind} is neither the llama nor the mistral architecture")
    if config.get("hidden_act", "silu") != "silu":
        raise ValueError(f"the activation {config['hidden_act']} is not computed here")
    if config.get("attention_bias") or config.get("mlp_bias"):
        raise ValueError("products with a bias are not computed here")
    # Newer checkpoints state the rotary base in rope_parameters, older ones only what stretches positions.
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
    return Shape(
        layers=int(config["num_hidden_layers"]),
        width=width,
        feed_forward=int(config["intermediate_size"]),
        heads=heads,
        key_heads=int(config.get("num_key_value_heads") or heads),
        head_width=int(config.get("head_dim") or width // heads),
        vocabulary=int(config["vocab_size"]),
        rope_base=float(config.get("rope_theta") or rope.get("rope_theta") or 10_000.0),
        norm_epsilon=float(config["rms_norm_eps"]),
        window=config.get("sliding_window") if config.get("use_sliding_window", True) else None,
        ties_embeddings=bool(config.get("tie_word_embeddings", False)),
        stretch=_stretch_of(rope),
        seed=config.get(SEED_KEY),
    )


def _stretch_of(rope: Mapping[str, Any]) -> Stretch | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise ValueError(f"positions scaled by {kind} are not computed here")
    return Stretch(
        factor=float(rope["factor"]),
        slow=float(rope["low_freq_factor"]),
        fast=float(rope["high_freq_factor"]),
        context=int(rope["original_max_position_embeddings"]),
    )
