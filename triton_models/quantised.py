"""Matrix products in 8 bits, for version 2: a scale for every output of a matrix, and one for every token.

Weights are signed and scaled once; a token's activations are scaled by its own largest value, so that no text
changes the answer to another. `MatMulIntegerToFloat` of ONNX Runtime takes them as unsigned bytes around 128:
that is the form for which processors have instructions (VNNI). The checkpoint is smoothed first.
"""

from __future__ import annotations

import numpy as np

from triton_models.checkpoint import Matrix
from triton_models.graph import RUNTIME_DOMAIN, Graph

_LARGEST = 127
_ZERO = 128
_TINY = 1e-20
"""A token of zeros stays one."""


def eight_bit_product(graph: Graph, activation: str, name: str, matrix: Matrix) -> str:
    """Add the product with an `[inputs, outputs]` matrix in 8 bits."""
    levels, largest = _levels(graph, activation)
    scales = np.abs(matrix).max(axis=0) / _LARGEST
    scales[scales == 0] = 1.0
    product = graph.add(
        "MatMulIntegerToFloat",
        f"{name}.in_steps",
        levels,
        graph.weight(f"{name}.weight", np.rint(matrix / scales).astype(np.int8)),
        "one",
        graph.weight(f"{name}.scales", (scales / _LARGEST).astype(np.float32)),
        "zero",
        domain=RUNTIME_DOMAIN,
    )
    return graph.add("Mul", name, product, largest)


def _levels(graph: Graph, activation: str) -> tuple[str, str]:
    """Add, once, what an activation is in steps of a 127th of each token's largest value, and that value."""
    levels, largest = f"{activation}.levels", f"{activation}.largest"
    if all(node.name != levels for node in graph.nodes):
        graph.weight("one", np.array([1.0], np.float32))
        graph.weight("zero", np.array([_ZERO], np.uint8))
        sizes = graph.add("Abs", f"{activation}.sizes", activation)
        reached = graph.add("ReduceMax", f"{activation}.reached", sizes, axes=[1], keepdims=1)
        graph.add("Max", largest, reached, graph.weight("tiny", np.array([_TINY], np.float32)))
        most = graph.weight("most", np.array([_LARGEST], np.float32))
        steps = graph.add("Div", f"{activation}.steps", most, largest)
        scaled = graph.add("Mul", f"{activation}.scaled", activation, steps)
        graph.add("QuantizeLinear", levels, scaled, "one", "zero")
    return levels, largest
