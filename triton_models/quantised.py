"""Matrix products with 8-bit weights, for version 2: a scale for every block of 32 inputs of every output.

`MatMulNBits` of ONNX Runtime; at accuracy level 4 it quantises activations too, by the same blocks and anew
for each text, so that one large activation costs its own block alone and no calibration set is needed. (One
scale a tensor, as in plain W8A8, lets a few outlying channels of this decoder drown the others; moving them
into the weights beforehand is SmoothQuant's answer: Xiao et al. 2023.)
"""

from __future__ import annotations

import numpy as np

from triton_models.checkpoint import Matrix
from triton_models.graph import RUNTIME_DOMAIN, Graph, float_product

BLOCK = 32
_LARGEST = 127
_ZERO = 128
"""How the operator stores a zero."""
_EIGHT_BIT_ACTIVATIONS = 4


def eight_bit_product(graph: Graph, activation: str, name: str, matrix: Matrix) -> str:
    """Add the product with an `[inputs, outputs]` matrix in 8 bits; inputs is a multiple of the block.

    The way down from the feed-forward layer stays in fp32: its input has the widest range of all.
    """
    if name.endswith(".down"):
        return float_product(graph, activation, name, matrix)
    inputs, outputs = matrix.shape
    blocks = matrix.T.reshape(outputs, inputs // BLOCK, BLOCK)
    scales = np.abs(blocks).max(axis=2) / _LARGEST
    scales[scales == 0] = 1.0
    stored = np.rint(blocks / scales[:, :, None]) + _ZERO
    return graph.add(
        "MatMulNBits",
        name,
        activation,
        graph.weight(f"{name}.weight", stored.astype(np.uint8)),
        graph.weight(f"{name}.scales", scales.astype(np.float32)),
        domain=RUNTIME_DOMAIN,
        K=inputs,
        N=outputs,
        bits=8,
        block_size=BLOCK,
        accuracy_level=_EIGHT_BIT_ACTIVATIONS,
    )
