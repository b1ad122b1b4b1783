"""Sums by stratum, session and block, and what comes of drawing them again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from servers.tca.orders import FinishedOrder

Doubles = npt.NDArray[np.float64]

LEAST_SESSIONS = 20
"""Below it no interval is printed (docs/definitions.md)."""

RESAMPLES = 2_000
DRAWS = 10_000
EXACT_BLOCKS = 12
"""Up to so many blocks all ways in which the draw may come out are gone through."""

TUNED_SESSIONS = 60
"""Number of sessions at which the confidence sequence is about narrowest."""

_CHUNK = 500


class Resampled(NamedTuple):
    """95 % interval and standard error of a difference."""

    interval: tuple[float, float]
    standard_error: float


class Tested(NamedTuple):
    """Two-sided p, and the standard deviation of the difference when labels mean nothing."""

    p_value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Table:
    """The orders of two algorithms. Rows are (algorithm, unit, sum, count), by whatever unit is drawn again.

    Attributes:
        values: measured, basis points.
        is_first: whether an order is of the first algorithm.
        strata: number of each order's stratum.
        sessions: number of each order's session.
        blocks: number of each order's block (one number a stratum and block); -1 where nothing was drawn.
    """

    values: Doubles
    is_first: npt.NDArray[np.bool_]
    strata: npt.NDArray[np.int64]
    sessions: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]

    @classmethod
    def of(cls, orders: Sequence[FinishedOrder], of_shortfall: bool, first: str, second: str) -> Table | None:
        """Return the table of a measure; None where one of the algorithms has no order with a figure."""
        rows = []
        for order in orders:
            value = order.shortfall_bps if of_shortfall else order.tracking_error_bps
            if order.algorithm in (first, second) and math.isfinite(value):
                rows.append((value, order))
        is_first = np.array([order.algorithm == first for _, order in rows], bool)
        if not is_first.any() or is_first.all():
            return None
        strata = _numbers([order.stratum for _, order in rows])
        blocks = _numbers([f"{order.stratum}/{order.block}" for _, order in rows])
        is_drawn = np.array([order.block is not None for _, order in rows], bool)
        return cls(
            np.array([value for value, _ in rows], np.float64),
            is_first,
            strata,
            _numbers([order.session for _, order in rows]),
            np.where(is_drawn, blocks, -1),
        )

    @property
    def is_randomised(self) -> bool:
        """Whether every order's algorithm was drawn."""
        return bool((self.blocks >= 0).all())

    @property
    def first_count(self) -> int:
        """Orders of the first algorithm."""
        return int(self.is_first.sum())

    @property
    def second_count(self) -> int:
        """Orders of the second algorithm."""
        return len(self.is_first) - self.first_count

    @property
    def session_count(self) -> int:
        """Sessions of them."""
        return len(np.unique(self.sessions))

    @property
    def sample_ratio(self) -> float:
        """Chi-squared of the two numbers of orders, where both were equally likely."""
        return (self.first_count - self.second_count) ** 2 / len(self.is_first)

    def without(self, difference_bps: float) -> Table:
        """Return the table with a difference taken off the first algorithm's figures."""
        shift = np.where(self.is_first, difference_bps if math.isfinite(difference_bps) else 0.0, 0.0)
        return replace(self, values=self.values - shift)

    def difference(self) -> float:
        """Return the difference within strata; NaN where no stratum has both."""
        sums = self.sums(np.zeros(len(self.values), np.int64))
        return float(difference(*(part[0] for part in sums)))

    def sums(self, units: npt.NDArray[np.int64]) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """Return sums and counts of the first, then of the second, each units by strata."""
        shape = (int(units.max()) + 1, int(self.strata.max()) + 1)
        at = units * shape[1] + self.strata

        def summed(mine: npt.NDArray[np.bool_], values: Doubles) -> Doubles:
            total = np.bincount(at[mine], values[mine], shape[0] * shape[1])
            return total.astype(np.float64).reshape(shape)

        ones, other = np.ones(len(self.values)), ~self.is_first
        return (
            summed(self.is_first, self.values),
            summed(self.is_first, ones),
            summed(other, self.values),
            summed(other, ones),
        )


def difference(
    first_sums: Doubles, first_counts: Doubles, second_sums: Doubles, second_counts: Doubles
) -> Doubles:
    """Return the difference over strata (the last axis), weighed by n1 n2 / (n1 + n2); NaN without any."""
    both = (first_counts > 0) & (second_counts > 0)
    one = np.where(both, first_counts, 1.0)
    other = np.where(both, second_counts, 1.0)
    weights = np.where(both, one * other / (one + other), 0.0)
    total = weights.sum(axis=-1)
    gaps = np.where(both, first_sums / one - second_sums / other, 0.0)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights * gaps).sum(axis=-1) / np.where(total > 0, total, np.nan))


def bootstrap_by_session(table: Table, seed: int) -> Resampled:
    """Return the 95 % interval of resamples of whole sessions, as many as there are, with replacement."""
    sessions = np.unique(table.sessions, return_inverse=True)[1]
    count = int(sessions.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    parts = (drawn.astype(np.float64) @ part for part in table.sums(sessions))
    found = difference(*parts)
    found = found[np.isfinite(found)]
    if not len(found):
        return Resampled((math.nan, math.nan), math.nan)
    low, high = np.percentile(found, [2.5, 97.5])
    return Resampled((float(low), float(high)), float(found.std()))


def randomisation_test(table: Table, seed: int) -> Tested:
    """Return how often labels swapped block by block are as far apart as those that were drawn.

    To exchange two algorithms in a whole block is as likely a draw as the one that came, also where a block
    is not complete or holds others beside.
    """
    blocks = np.unique(table.blocks, return_inverse=True)[1]
    count = int(blocks.max()) + 1
    parts = table.sums(blocks)
    seen = abs(table.difference())
    is_exact = count <= EXACT_BLOCKS
    generator = np.random.default_rng(seed)
    found = []
    for start in range(0, 2**count if is_exact else DRAWS, _CHUNK):
        if is_exact:
            numbers = np.arange(start, min(start + _CHUNK, 2**count))
            swaps = ((numbers[:, None] >> np.arange(count)) & 1).astype(np.float64)
        else:
            swaps = generator.integers(0, 2, (_CHUNK, count)).astype(np.float64)
        first_sums, first_counts, second_sums, second_counts = parts
        kept = 1.0 - swaps
        found.append(
            difference(
                kept @ first_sums + swaps @ second_sums,
                kept @ first_counts + swaps @ second_counts,
                kept @ second_sums + swaps @ first_sums,
                kept @ second_counts + swaps @ first_counts,
            )
        )
    differences = np.concatenate(found)
    known = differences[np.isfinite(differences)]
    if not math.isfinite(seen) or not len(known):
        return Tested(1.0, math.nan)
    as_far = int((np.abs(known) >= seen * (1 - 1e-9) - 1e-12).sum())
    p_value = as_far / len(known) if is_exact else (as_far + 1) / (len(known) + 1)
    return Tested(p_value, float(known.std()))


def confidence_sequence(table: Table, level: float) -> tuple[float, float] | None:
    """Return bounds that hold at all sessions at once with probability 1 - level; None with too few.

    Each session counts once, by its own difference within strata.
    """
    sessions = np.unique(table.sessions, return_inverse=True)[1]
    by_session = difference(*table.sums(sessions))
    by_session = by_session[np.isfinite(by_session)]
    count = len(by_session)
    if count < LEAST_SESSIONS:
        return None
    rate = (-2 * math.log(level) + math.log(-2 * math.log(level) + 1)) / TUNED_SESSIONS
    scale = count * rate + 1
    reach = float(by_session.std(ddof=1)) * math.sqrt(
        2 * scale / (count**2 * rate) * math.log(math.sqrt(scale) / level)
    )
    middle = float(by_session.mean())
    return middle - reach, middle + reach


def _numbers(names: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1].astype(np.int64)
