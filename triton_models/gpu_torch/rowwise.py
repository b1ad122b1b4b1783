"""What is done to rows between two matrix products: each function is one pass over memory once compiled.

`fused` compiles them with `torch.compile` where that works; they give the same answers where it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

LARGEST = 127
_SMALLEST_SCALE = 1e-12
"""A row of zeros is divided by this, not by zero."""


def normed(rows: Any, weight: Any, epsilon: float) -> Any:
    """Return RMS-normed rows (Zhang and Sennrich 2019), computed in fp32."""
    wide = rows.float()
    wide = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + epsilon)
    return (wide * weight.float()).to(rows.dtype)


def gated(gate_up: Any) -> Any:
    """Return SwiGLU (Shazeer 2020) of rows that hold gate and up side by side."""
    gate, up = gate_up.chunk(2, dim=-1)
    return functional.silu(gate) * up


def quantised(rows: Any) -> tuple[Any, Any]:
    """Return rows in 8 bits and the scale of each, `[rows, 1]` in fp32: its largest value becomes 127."""
    wide = rows.float()
    scales = (wide.abs().amax(dim=-1, keepdim=True) / LARGEST).clamp_min(_SMALLEST_SCALE)
    return (wide / scales).round().to(torch.int8), scales


def normed_quantised(rows: Any, weight: Any, epsilon: float) -> tuple[Any, Any]:
    """Return `normed` rows in 8 bits."""
    return quantised(normed(rows, weight, epsilon))


def gated_quantised(sums: Any, row_scales: Any, column_scales: Any) -> tuple[Any, Any]:
    """Return `gated` rows in 8 bits from the integer product with gate and up: the widest rows."""
    return quantised(gated(sums.float() * row_scales * column_scales))


def rescaled(sums: Any, row_scales: Any, column_scales: Any, like: Any) -> Any:
    """Return an integer product in the units and the type that `like` has."""
    return (sums.float() * row_scales * column_scales).to(like.dtype)


def rescaled_onto(residual: Any, sums: Any, row_scales: Any, column_scales: Any) -> Any:
    """Return the residual stream with an integer product added to it."""
    return (residual.float() + sums.float() * row_scales * column_scales).to(residual.dtype)


def rotated(heads: Any, cosines: Any, sines: Any) -> Any:
    """Return `[texts, tokens, heads, width]` turned by position (Su et al. 2021), a head in halves."""
    first, second = heads.float().chunk(2, dim=-1)
    cosines, sines = cosines[None, :, None], sines[None, :, None]
    turned = torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
    return turned.to(heads.dtype)


@dataclass(frozen=True, slots=True)
class Rowwise:
    """The functions of this module, compiled or as they stand."""

    normed: Callable[..., Any] = normed
    gated: Callable[..., Any] = gated
    quantised: Callable[..., Any] = quantised
    normed_quantised: Callable[..., Any] = normed_quantised
    gated_quantised: Callable[..., Any] = gated_quantised
    rescaled: Callable[..., Any] = rescaled
    rescaled_onto: Callable[..., Any] = rescaled_onto
    rotated: Callable[..., Any] = rotated
    is_compiled: bool = False


def fused(device: str, width: int, feed_forward: int) -> Rowwise:
    """Return the compiled functions, or the plain ones where this machine cannot compile for the device.

    Compiled for rows as wide as the decoder's; how many there are may vary.
    """
    functions = (
        *(normed, gated, quantised, normed_quantised, gated_quantised),
        *(rescaled, rescaled_onto, rotated),
    )
    try:
        compiled = {function.__name__: torch.compile(function) for function in functions}
        made = Rowwise(**compiled, is_compiled=True)
        with torch.inference_mode():
            _check(made, device, width, feed_forward)
    except Exception as error:  # noqa: BLE001 - a missing compiler shows as one of a dozen types
        print(f"rows are not fused, torch.compile failed: {type(error).__name__}", flush=True)
        return Rowwise()
    return made


def _check(made: Rowwise, device: str, width: int, feed_forward: int) -> None:
    """Run each function once and compare it with the plain one. Raises ArithmeticError when they differ."""
    kind = torch.float32 if device.startswith("cpu") else torch.float16
    count, halves = 64, 16

    def spread(*size: int, least: float = -3.0, most: float = 5.0) -> Any:
        steps = torch.linspace(least, most, math.prod(size), device=device)
        return steps.reshape(size)

    rows, weight = spread(count, width).to(kind), spread(width, least=0.5, most=1.5).to(kind)
    inner, turns = spread(count, 2 * feed_forward).to(kind), spread(count, halves)
    scales = torch.full((count, 1), 0.01, device=device)
    columns, inner_columns = (torch.full((size,), 0.02, device=device) for size in (width, 2 * feed_forward))
    sums, inner_sums = ((1e4 * one.float()).to(torch.int32) for one in (rows, inner))
    given: dict[str, tuple[Any, ...]] = {
        "normed": (rows, weight, 1e-5),
        "gated": (inner,),
        "quantised": (rows,),
        "normed_quantised": (rows, weight, 1e-5),
        "gated_quantised": (inner_sums, scales, inner_columns),
        "rescaled": (sums, scales, columns, rows),
        "rescaled_onto": (rows, sums, scales, columns),
        "rotated": (spread(2, count, 3, 2 * halves).to(kind), turns, turns),
    }
    plain = Rowwise()
    for name, arguments in given.items():
        found, expected = (getattr(one, name)(*arguments) for one in (made, plain))
        pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        for one, other in pairs:
            # One step of 8 bits: the two may round a tie apart. In half precision they round at other places.
            tolerance = 1.0 if one.dtype == torch.int8 else 0.01
            if not torch.allclose(one.float(), other.float(), rtol=0.01, atol=tolerance):
                raise ArithmeticError(f"{name} is not what it is uncompiled")
