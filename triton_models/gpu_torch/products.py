"""Matrix products in half precision, and in 8 bits with 8-bit activations (W8A8).

In 8 bits every output of a matrix has a scale, taken once, and every row of activations has one, taken as it
comes: no calibration set is needed. `torch._int_mm` adds up in 32-bit integers, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn import functional

from triton_models.gpu_torch.rowwise import Rowwise, quantised

ROWS_STEP = 8
FEWEST_ROWS = 24
"""The integer product wants more than 16 rows on a GPU, and does best with multiples of 8."""


class Product(Protocol):
    """A matrix that prepared rows are multiplied with."""

    def __call__(self, rows: Any, like: Any) -> Any:
        """Return the product in the type of `like`."""

    def onto(self, residual: Any, rows: Any) -> Any:
        """Return the product added to the residual stream."""


class Arithmetic(Protocol):
    """A precision: how rows are prepared for products, and what a product is."""

    @property
    def name(self) -> str:
        """Part of the model's version."""

    def norm(self, rows: Any, weight: Any, epsilon: float) -> Any:
        """Return normed rows, ready for a product."""

    def gate(self, rows: Any, gate_up: Any, like: Any) -> Any:
        """Return the feed-forward layer's inner rows, ready for a product, in the type of `like`."""

    def enter(self, rows: Any) -> Any:
        """Return rows as they are, ready for a product."""

    def product(self, weight: Any) -> Product:
        """Return the product with `[outputs, inputs]`."""

    def table(self, weight: Any) -> Any:
        """Return a callable that looks rows of `[tokens, width]` up."""


@dataclass(frozen=True, slots=True)
class HalfProduct:
    """A product in the type of its weight."""

    weight: Any

    def __call__(self, rows: Any, like: Any) -> Any:
        del like
        return functional.linear(rows, self.weight)

    def onto(self, residual: Any, rows: Any) -> Any:
        return torch.addmm(residual, rows, self.weight.t())


@dataclass(frozen=True, slots=True)
class EightBitProduct:
    """A product of 8-bit rows with an 8-bit matrix.

    Args:
        weight: `[outputs, inputs]` in 8 bits.
        scales: of the outputs, `[outputs]` in fp32.
    """

    weight: Any
    scales: Any
    rowwise: Rowwise

    def __call__(self, rows: tuple[Any, Any], like: Any) -> Any:
        values, row_scales = rows
        return self.rowwise.rescaled(self.sums(values), row_scales, self.scales, like)

    def onto(self, residual: Any, rows: tuple[Any, Any]) -> Any:
        values, row_scales = rows
        return self.rowwise.rescaled_onto(residual, self.sums(values), row_scales, self.scales)

    def sums(self, values: Any) -> Any:
        """Return the product in 32-bit integers, exact."""
        count = values.shape[0]
        padded = padded_rows(count)
        if padded != count:
            values = functional.pad(values, (0, 0, 0, padded - count))
        return torch._int_mm(values, self.weight.t())[:count]


def padded_rows(count: int) -> int:
    """Return how many rows the integer product is given for `count`."""
    return max(FEWEST_ROWS, -(-count // ROWS_STEP) * ROWS_STEP)


@dataclass(frozen=True, slots=True)
class Half:
    """Half precision on a GPU; fp32 on a CPU, which has no fast half."""

    rowwise: Rowwise
    kind: Any

    @property
    def name(self) -> str:
        """Part of the model's version."""
        return "fp16" if self.kind == torch.float16 else "fp32"

    def norm(self, rows: Any, weight: Any, epsilon: float) -> Any:
        return self.rowwise.normed(rows, weight, epsilon)

    def gate(self, rows: Any, gate_up: HalfProduct, like: Any) -> Any:
        return self.rowwise.gated(gate_up(rows, like))

    def enter(self, rows: Any) -> Any:
        return rows

    def product(self, weight: Any) -> HalfProduct:
        return HalfProduct(weight.to(self.kind).contiguous())

    def table(self, weight: Any) -> Any:
        stored = weight.to(self.kind)
        return lambda tokens: functional.embedding(tokens, stored)


@dataclass(frozen=True, slots=True)
class EightBit:
    """8 bits for weights and the rows they meet; residual stream, attention and norms as in `Half`."""

    rowwise: Rowwise
    kind: Any

    @property
    def name(self) -> str:
        """Part of the model's version."""
        return "int8"

    def norm(self, rows: Any, weight: Any, epsilon: float) -> Any:
        return self.rowwise.normed_quantised(rows, weight, epsilon)

    def gate(self, rows: tuple[Any, Any], gate_up: EightBitProduct, like: Any) -> Any:
        del like
        values, row_scales = rows
        return self.rowwise.gated_quantised(gate_up.sums(values), row_scales, gate_up.scales)

    def enter(self, rows: Any) -> Any:
        return self.rowwise.quantised(rows)

    def product(self, weight: Any) -> EightBitProduct:
        """Return the product. Raises ValueError for sizes that the integer product does not take."""
        if weight.shape[0] % ROWS_STEP or weight.shape[1] % ROWS_STEP:
            raise ValueError(f"a product in 8 bits takes multiples of {ROWS_STEP}, not {tuple(weight.shape)}")
        values, scales = quantised(weight)
        return EightBitProduct(values, scales.reshape(-1), self.rowwise)

    def table(self, weight: Any) -> Any:
        values, scales = quantised(weight)

        def look_up(tokens: Any) -> Any:
            rows = functional.embedding(tokens, values).float() * functional.embedding(tokens, scales)
            return rows.to(self.kind)

        return look_up
