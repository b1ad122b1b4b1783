"""What orders cost by symbol, size, volatility and time of day."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from servers.tca.orders import FinishedOrder

SIZE_EDGES = (0.01, 0.05, 0.15)
"""Quantity over the median daily volume at which one bucket of sizes ends and the next begins."""

SESSION_EDGES = ((1 / 6, "first sixth of the session"), (5 / 6, "middle"), (math.inf, "last sixth"))
VOLATILITY_NAMES = ("calm third", "middle third", "volatile third")
UNKNOWN = "unknown"


class Dimension(IntEnum):
    """The numbers are those of tapeline.execution.v1.CostDimension."""

    ALL = 1
    SYMBOL = 2
    SIZE = 3
    VOLATILITY = 4
    TIME_OF_DAY = 5


@dataclass(frozen=True, slots=True)
class Group:
    """What one algorithm cost on the orders of one bucket; figures are NaN where none is known."""

    dimension: Dimension
    bucket: str
    algorithm: str
    order_count: int
    mean_shortfall_bps: float
    median_shortfall_bps: float
    mean_tracking_error_bps: float
    median_tracking_error_bps: float
    p95_tracking_error_bps: float
    mean_filled_share: float


def size_bucket(share: float | None) -> str:
    """Return the bucket of a quantity over the median daily volume; None where that is not known."""
    if share is None:
        return "of unknown size"
    edges = (0.0, *SIZE_EDGES)
    for low, high in pairwise(edges):
        if share < high:
            return f"{low * 100:g} to {high * 100:g} % of a day"
    return f"{edges[-1] * 100:g} % of a day and more"


def buckets(orders: Sequence[FinishedOrder], dimension: Dimension) -> Mapping[str, list[FinishedOrder]]:
    """Return the orders by bucket of a dimension, in the order of the buckets."""
    names: Sequence[str]
    of: Callable[[FinishedOrder], str]
    if dimension is Dimension.ALL:
        return {"": list(orders)}
    if dimension is Dimension.SYMBOL:
        names, of = sorted({order.symbol for order in orders}), _symbol
    elif dimension is Dimension.SIZE:
        known = sorted({order.size_share for order in orders if order.size_share is not None})
        names = [*dict.fromkeys(size_bucket(share) for share in known), size_bucket(None)]
        of = _size
    elif dimension is Dimension.VOLATILITY:
        names, of = (*VOLATILITY_NAMES, UNKNOWN), _thirds(order.volatility for order in orders)
    else:
        names, of = (*(name for _, name in SESSION_EDGES), UNKNOWN), _time_of_day
    found: dict[str, list[FinishedOrder]] = {name: [] for name in names}
    for order in orders:
        found[of(order)].append(order)
    return {name: mine for name, mine in found.items() if mine}


def thirds(values: Iterable[float]) -> Callable[[float], int]:
    """Return what says in which third of the values, those that are known, one lies: 0, 1 or 2.

    A value at an edge lies above it.
    """
    known = _known(values)
    edges = np.percentile(known, [100 / 3, 200 / 3]) if len(known) else np.zeros(2)
    return lambda value: int(np.searchsorted(edges, value, side="right"))


def group(orders: Sequence[FinishedOrder], dimension: Dimension) -> list[Group]:
    """Return the figures of each bucket and algorithm."""
    groups = []
    for bucket, mine in buckets(orders, dimension).items():
        for algorithm in sorted({order.algorithm for order in mine}):
            its = [order for order in mine if order.algorithm == algorithm]
            shortfalls = _known(order.shortfall_bps for order in its)
            errors = _known(order.tracking_error_bps for order in its)
            groups.append(
                Group(
                    dimension,
                    bucket,
                    algorithm,
                    len(its),
                    _figure(np.mean, shortfalls),
                    _figure(np.median, shortfalls),
                    _figure(np.mean, errors),
                    _figure(np.median, errors),
                    _figure(lambda values: np.percentile(values, 95), errors),
                    float(np.mean([order.filled_share for order in its])),
                )
            )
    return groups


def _symbol(order: FinishedOrder) -> str:
    return order.symbol


def _size(order: FinishedOrder) -> str:
    return size_bucket(order.size_share)


def _time_of_day(order: FinishedOrder) -> str:
    if order.session_share is None:
        return UNKNOWN
    return next(name for edge, name in SESSION_EDGES if order.session_share < edge)


def _thirds(volatilities: Iterable[float]) -> Callable[[FinishedOrder], str]:
    third = thirds(volatilities)

    def name(order: FinishedOrder) -> str:
        return VOLATILITY_NAMES[third(order.volatility)] if math.isfinite(order.volatility) else UNKNOWN

    return name


def _known(values: Iterable[float]) -> npt.NDArray[np.float64]:
    return np.array([value for value in values if math.isfinite(value)], np.float64)


def _figure(of: Callable[[npt.NDArray[np.float64]], np.floating], values: npt.NDArray[np.float64]) -> float:
    return float(of(values)) if len(values) else math.nan
