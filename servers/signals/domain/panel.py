"""Rows to learn from: what was known of a symbol at a moment, and what its price did afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Group(StrEnum):
    """Where a feature comes from."""

    PRICE = "price"
    NEWS = "news"
    SOCIAL = "social"
    REGIME = "regime"


@dataclass(frozen=True, slots=True)
class FeatureBlock:
    """Columns of one group. `values` is rows by names; NaN is a figure that could not be computed."""

    names: tuple[str, ...]
    values: Doubles


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows in order of their decision time.

    Attributes:
        day: cluster of each row: rows of one day share its shocks. Ascending.
        decision_nanos: moment up to which features may look, UTC epoch nanoseconds.
        label_start_nanos, label_end_nanos: the stretch over which the move is taken.
        moves: log return over that stretch.
        blocks: the features by group.
    """

    day: Int64s
    decision_nanos: Int64s
    label_start_nanos: Int64s
    label_end_nanos: Int64s
    moves: Doubles
    blocks: Mapping[Group, FeatureBlock]

    def __len__(self) -> int:
        return len(self.day)

    @property
    def rose(self) -> Bools:
        """Return the label: whether the price was higher at the end; unchanged counts as not."""
        return self.moves > 0.0

    def matrix(self, groups: Sequence[Group]) -> tuple[tuple[str, ...], Doubles]:
        """Return names and values of the features of some groups, side by side."""
        blocks = [self.blocks[group] for group in groups]
        names = tuple(name for block in blocks for name in block.names)
        if not blocks:
            return (), np.zeros((len(self), 0))
        return names, np.concatenate([block.values for block in blocks], axis=1)

    def with_moves(self, moves: Doubles) -> Panel:
        """Return the same rows with other outcomes."""
        return Panel(
            self.day, self.decision_nanos, self.label_start_nanos, self.label_end_nanos, moves, self.blocks
        )

    def with_blocks(self, blocks: Mapping[Group, FeatureBlock]) -> Panel:
        """Return the same rows and outcomes with other features."""
        return Panel(
            self.day, self.decision_nanos, self.label_start_nanos, self.label_end_nanos, self.moves, blocks
        )
