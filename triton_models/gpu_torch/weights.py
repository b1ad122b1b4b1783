"""Where a decoder's tensors come from: safetensors files as Hugging Face lays them out, or a seed."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open

from triton_models.gpu_torch.shape import Shape

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
_SPREAD = 0.02


class Weights(Protocol):
    """A checkpoint's tensors by their Hugging Face names."""

    def tensor(self, name: str) -> Any:
        """Return one tensor, `[outputs, inputs]` for a product. Raises KeyError when there is none."""


class StoredWeights:
    """The tensors of a checkpoint's files, read one at a time.

    Args:
        folder: `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
        device: where they are read to.

    Raises FileNotFoundError when neither is there.
    """

    def __init__(self, folder: Path, device: str) -> None:
        index, single = folder / INDEX_NAME, folder / SINGLE_NAME
        if index.is_file():
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            self._files = {name: folder / shard for name, shard in shards.items()}
        elif single.is_file():
            with safe_open(single, framework="pt") as stored:
                self._files = dict.fromkeys(stored.keys(), single)
        else:
            raise FileNotFoundError(f"{folder} has neither {INDEX_NAME} nor {SINGLE_NAME}")
        self._device = device

    def tensor(self, name: str) -> Any:
        """Return one tensor in the type that it is stored in."""
        with safe_open(self._files[name], framework="pt", device=self._device) as stored:
            return stored.get_tensor(name)


class DrawnWeights:
    """Normal random tensors, the same ones for a seed, a name and a device: for timing, not for answers.

    The two products that add to the residual stream are scaled down with depth, so that it keeps its size
    (Radford et al. 2019).
    """

    def __init__(self, shape: Shape, seed: int, device: str) -> None:
        self._shape, self._seed, self._device = shape, seed, device

    def tensor(self, name: str) -> Any:
        """Return one tensor, half precision on a GPU. Raises KeyError for a name that a decoder has not."""
        size = self._size(name)
        on_gpu = not self._device.startswith("cpu")
        kind = torch.float16 if on_gpu else torch.float32
        if name.endswith("norm.weight"):
            return torch.ones(size, device=self._device, dtype=kind)
        generator = torch.Generator(self._device).manual_seed(self._seed + zlib.crc32(name.encode()))
        spread = _SPREAD
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            spread /= math.sqrt(2 * self._shape.layers)
        made = torch.empty(size, device=self._device, dtype=kind)
        return made.normal_(0.0, spread, generator=generator)

    def _size(self, name: str) -> tuple[int, ...]:
        shape = self._shape
        sizes: dict[str, tuple[int, ...]] = {
            "embed_tokens": (shape.vocabulary, shape.width),
            "lm_head": (shape.vocabulary, shape.width),
            "norm": (shape.width,),
            "input_layernorm": (shape.width,),
            "post_attention_layernorm": (shape.width,),
            "q_proj": (shape.attention_width, shape.width),
            "k_proj": (shape.key_width, shape.width),
            "v_proj": (shape.key_width, shape.width),
            "o_proj": (shape.width, shape.attention_width),
            "gate_proj": (shape.feed_forward, shape.width),
            "up_proj": (shape.feed_forward, shape.width),
            "down_proj": (shape.width, shape.feed_forward),
        }
        return sizes[name.split(".")[-2]]


def weights_of(folder: Path, shape: Shape, device: str) -> Weights:
    """Return the checkpoint's tensors: drawn where its config names a seed, read otherwise."""
    return StoredWeights(folder, device) if shape.seed is None else DrawnWeights(shape, shape.seed, device)
