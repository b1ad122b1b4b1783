"""The decoder as an ONNX graph that reads: prefill alone, with the keys and values of a prefix given.

Texts of one batch lie packed one behind another, so that no matrix product works on padding; only attention
sees them side by side. Inputs (N tokens in all, B texts, T tokens in the longest, P tokens of prefix):

    tokens  int64 [N]           every text's tokens, packed
    slots   int64 [B, T]        row of each text's token; 0 where a text has ended
    rows    int64 [N]           place of each packed token in the flattened `[B, T]`
    mask    float [T, P + T]    0 where a token may look, a large negative number where not
    answers int64 [A]           packed rows that the last layer works out to its end; it has no use for others
    turns   float [2, T, half]  cosine and sine of each position's rotation, for half of a head's columns
    prefix  float [layers, 2, key heads, P, head]   keys and values computed before

Outputs: `final` float [A, width], the last layer's states, normed; `key_<layer>` and `value_<layer>` float
[B, key heads, T, head], from which a prefix is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from triton_models.checkpoint import Checkpoint, Matrix, Shape

OPSET = 17
RUNTIME_DOMAIN = "com.microsoft"

Product = Callable[["Graph", str, str, Matrix], str]
"""Adds the product of an activation with a weight matrix: graph, activation, name, matrix -> result."""


class Graph:
    """Collects nodes and weights; every method returns the name of what it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def add(
        self, kind: str, name: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any
    ) -> str:
        """Add a node whose results are `name`, or `name.0`, `name.1`, ... when it has several."""
        results = [name] if outputs == 1 else [f"{name}.{index}" for index in range(outputs)]
        self.nodes.append(
            helper.make_node(kind, list(inputs), results, name=name, domain=domain, **attributes)
        )
        return name

    def weight(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a constant."""
        self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def integers(self, *values: int) -> str:
        """Add, once, a constant list of integers, such as a shape."""
        name = "integers" + "".join(f"_{value}" for value in values)
        if name not in self.weights:
            self.weight(name, np.array(values, dtype=np.int64))
        return name

    def reshape(self, name: str, value: str, *shape: int) -> str:
        """Add a reshape; 0 keeps a dimension, -1 takes what is left."""
        return self.add("Reshape", name, value, self.integers(*shape))


def float_product(graph: Graph, activation: str, name: str, matrix: Matrix) -> str:
    """Add the plain product in fp32."""
    return graph.add("MatMul", name, activation, graph.weight(f"{name}.weight", matrix))


def decoder(checkpoint: Checkpoint, product: Product = float_product) -> onnx.ModelProto:
    """Return the graph of a checkpoint; `product` says how weights are multiplied (fp32 or quantised)."""
    graph, shape = Graph(), checkpoint.shape
    # Half precision halves the largest table; the checkpoint's own is 8 bits wide.
    table = graph.weight("embeddings", checkpoint.embeddings.astype(np.float16))
    gathered = graph.add("Gather", "embedded_half", table, "tokens", axis=0)
    hidden = graph.add("Cast", "hidden_0", gathered, to=TensorProto.FLOAT)
    _add_shared(graph, shape)
    for index in range(shape.layers):
        hidden = _layer(graph, checkpoint, index, hidden, product)
    _norm(graph, "final", hidden, checkpoint.final_norm, shape.norm_epsilon)
    return _model(graph, checkpoint)


def _add_shared(graph: Graph, shape: Shape) -> None:
    """Add what every layer reads: rotations, the prefix by layer, and shapes that depend on the batch."""
    graph.add("Split", "turn", "turns", axis=0, outputs=2)
    for number, part in enumerate(("cosine", "sine")):
        graph.add("Squeeze", part, f"turn.{number}", graph.integers(0))
    graph.weight("first_place", np.zeros(1, dtype=np.int64))
    graph.add("Gather", "answer_places", "rows", "answers", axis=0)
    graph.add("Split", "past", "prefix", axis=0, outputs=shape.layers)
    graph.add("Shape", "texts", "slots", start=0, end=1)
    graph.add("Concat", "copies", "texts", graph.integers(1, 1, 1), axis=0)
    graph.add("Shape", "mask_shape", "mask")
    graph.add("Concat", "score_shape", "texts", graph.integers(shape.heads), "mask_shape", axis=0)


def _norm(graph: Graph, name: str, value: str, scale: Matrix, epsilon: float) -> str:
    weight = graph.weight(f"{name}.scale", scale)
    return graph.add("SimplifiedLayerNormalization", name, value, weight, axis=-1, epsilon=epsilon)


def _layer(graph: Graph, checkpoint: Checkpoint, index: int, hidden: str, product: Product) -> str:
    layer, at, epsilon = checkpoint.layers[index], f"layer_{index}", checkpoint.shape.norm_epsilon
    normed = _norm(graph, f"{at}.attention_norm", hidden, layer.attention_norm, epsilon)
    projected = product(graph, normed, f"{at}.query_key_value", layer.query_key_value)
    is_last = index == checkpoint.shape.layers - 1
    attended = _attention(graph, checkpoint, index, projected, "answer_places" if is_last else "rows")
    if is_last:
        hidden = graph.add("Gather", f"{at}.answers", hidden, "answers", axis=0)
    mixed = product(graph, attended, f"{at}.attention_output", layer.attention_output)
    middle = graph.add("Add", f"{at}.middle", hidden, mixed)
    normed = _norm(graph, f"{at}.feed_forward_norm", middle, layer.feed_forward_norm, epsilon)
    # Two products: splitting the result of one would copy all of it.
    way_in, up = (
        product(graph, normed, f"{at}.{part}", matrix)
        for part, matrix in zip(("gate", "up"), np.split(layer.gate_up, 2, axis=1), strict=True)
    )
    # QuickGelu with alpha 1 is x * sigmoid(x), SwiGLU's gate, in one pass.
    gate = graph.add("QuickGelu", f"{at}.gate_open", way_in, domain=RUNTIME_DOMAIN, alpha=1.0)
    gated = graph.add("Mul", f"{at}.gated", gate, up)
    down = product(graph, gated, f"{at}.down", layer.down)
    return graph.add("Add", f"hidden_{index + 1}", middle, down)


def _attention(graph: Graph, checkpoint: Checkpoint, index: int, projected: str, rows: str) -> str:
    """Add grouped-query attention of each text over the prefix and itself; `[N, 3 parts]` -> `[rows, width]`.

    Positions turn by rotary embedding (Su et al. 2021): first half of a head against its second.
    """
    shape, at = checkpoint.shape, f"layer_{index}"
    heads, keys, width = shape.heads, shape.key_heads, shape.head_width
    side_by_side = graph.add("Gather", f"{at}.side_by_side", projected, "slots", axis=0)
    split = graph.reshape(f"{at}.by_head", side_by_side, 0, 0, heads + 2 * keys, width)
    ordered = graph.add("Transpose", f"{at}.ordered", split, perm=[0, 2, 1, 3])
    graph.add("Split", f"{at}.parts", ordered, graph.integers(heads + keys, keys), axis=1, outputs=2)
    turned = graph.add(
        "RotaryEmbedding",
        f"{at}.turned",
        f"{at}.parts.0",
        "first_place",
        "cosine",
        "sine",
        domain=RUNTIME_DOMAIN,
    )
    graph.add("Split", f"{at}.turned_parts", turned, graph.integers(heads, keys), axis=1, outputs=2)
    query = f"{at}.turned_parts.0"
    key = graph.add("Identity", f"key_{index}", f"{at}.turned_parts.1")
    value = graph.add("Identity", f"value_{index}", f"{at}.parts.1")
    # The prefix is the same for every text of the batch.
    past = graph.add("Squeeze", f"{at}.past", f"past.{index}", graph.integers(0))
    graph.add("Split", f"{at}.past_parts", past, axis=0, outputs=2)
    seen = {}
    for number, (kind, new) in enumerate((("keys", key), ("values", value))):
        repeated = graph.add("Expand", f"{at}.past_{kind}", f"{at}.past_parts.{number}", "copies")
        seen[kind] = graph.add("Concat", f"{at}.{kind}", repeated, new, axis=2)
    # Query heads that share a key head stand behind one another: one product for all of them.
    grouped = graph.reshape(f"{at}.grouped", query, 0, keys, -1, width)
    turned = graph.add("Transpose", f"{at}.keys_turned", seen["keys"], perm=[0, 1, 3, 2])
    scores = graph.add("MatMul", f"{at}.scores", grouped, turned)
    by_head = graph.add("Reshape", f"{at}.scores_by_head", scores, "score_shape")
    masked = graph.add("Add", f"{at}.masked", by_head, "mask")
    shares = graph.add("Softmax", f"{at}.shares", masked, axis=-1)
    shares = graph.add(
        "Reshape", f"{at}.shares_grouped", shares, graph.add("Shape", f"{at}.grouped_shape", scores)
    )
    mixed = graph.add("MatMul", f"{at}.mixed", shares, seen["values"])
    mixed = graph.add("Reshape", f"{at}.mixed_by_head", mixed, graph.add("Shape", f"{at}.query_shape", query))
    back = graph.add("Transpose", f"{at}.mixed_ordered", mixed, perm=[0, 2, 1, 3])
    flat = graph.reshape(f"{at}.mixed_flat", back, -1, heads * width)
    return graph.add("Gather", f"{at}.attended", flat, rows, axis=0)


def _model(graph: Graph, checkpoint: Checkpoint) -> onnx.ModelProto:
    shape = checkpoint.shape
    integer, real = TensorProto.INT64, TensorProto.FLOAT
    inputs = [
        helper.make_tensor_value_info("tokens", integer, ["N"]),
        helper.make_tensor_value_info("slots", integer, ["B", "T"]),
        helper.make_tensor_value_info("rows", integer, ["N"]),
        helper.make_tensor_value_info("mask", real, ["T", "S"]),
        helper.make_tensor_value_info("answers", integer, ["A"]),
        helper.make_tensor_value_info("turns", real, [2, "T", shape.head_width // 2]),
        helper.make_tensor_value_info(
            "prefix", real, [shape.layers, 2, shape.key_heads, "P", shape.head_width]
        ),
    ]
    own: list[str | int] = ["B", shape.key_heads, "T", shape.head_width]
    results: dict[str, list[str | int]] = {"final": ["A", shape.width]}
    results |= {f"{kind}_{index}": own for index in range(shape.layers) for kind in ("key", "value")}
    outputs = [helper.make_tensor_value_info(name, real, size) for name, size in results.items()]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(RUNTIME_DOMAIN, 1)]
    body = helper.make_graph(graph.nodes, "decoder", inputs, outputs, list(graph.weights.values()))
    return helper.make_model(body, opset_imports=opsets, ir_version=8, producer_name="tapeline")
