"""The adapter: a small change to the decoder's upper layers that teaches it the labels.

LoRA (Hu et al. 2022): a matrix `W` of a layer becomes `W + down @ up`, a product of low rank. The change
is added once, when the checkpoint is converted, so that reading a text costs what it cost before. Its figures
are made by `python -m triton_models.train_adapter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from triton_models.checkpoint import Checkpoint, Matrix

ADAPTER_FILE = Path(__file__).resolve().parent / "head" / "adapter.npz"
MATRICES = ("query_key_value", "attention_output", "gate_up", "down")
"""What is changed in a layer, by the names of `triton_models.checkpoint.Layer`."""

Change = tuple[Matrix, Matrix]
"""`[inputs, rank]` and `[rank, outputs]`."""


@dataclass(frozen=True)
class Adapter:
    """What is added to some of a decoder's matrices.

    Args:
        changes: by layer, from 0, and name of the matrix.
    """

    changes: Mapping[tuple[int, str], Change]

    @classmethod
    def load(cls, path: Path = ADAPTER_FILE) -> Adapter:
        """Return what `save` wrote."""
        with np.load(path) as stored:
            found: dict[tuple[int, str], Change] = {}
            for key in stored.files:
                layer, matrix, side = key.split(".")
                if side == "down":
                    down, up = (stored[f"{layer}.{matrix}.{part}"].astype(np.float32) for part in _SIDES)
                    found[int(layer), matrix] = (down, up)
            return cls(found)

    def save(self, path: Path) -> None:
        """Write the changes in half precision."""
        named = {
            f"{layer}.{matrix}.{side}": values.astype(np.float16)
            for (layer, matrix), change in self.changes.items()
            for side, values in zip(_SIDES, change, strict=True)
        }
        np.savez_compressed(path, **named)  # type: ignore[arg-type]  # numpy 1's and 2's stubs differ

    def merged(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint with the changes added.

        Raises ValueError when they belong to a decoder of another shape.
        """
        layers = list(checkpoint.layers)
        for (index, matrix), (down, up) in self.changes.items():
            before = getattr(layers[index], matrix) if index < len(layers) else None
            if before is None or before.shape != (down.shape[0], up.shape[1]):
                raise ValueError("this adapter belongs to a decoder of another shape")
            layers[index] = replace(layers[index], **{matrix: before + down @ up})
        return replace(checkpoint, layers=tuple(layers))


_SIDES = ("down", "up")
