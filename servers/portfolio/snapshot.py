"""The ledger as rows and back: a short cut for a restart, which may be thrown away.

Fills and adjustments are rows that never change, so that a snapshot writes down only what is new. Each
position comes with the figures it had: what is folded again has to give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, fields
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

from servers.journal.parts import Image, Kept, Part, SnapshotBroken
from servers.model.nanos import Money
from servers.portfolio.domain.adjustments import Adjustment, AdjustmentKind
from servers.portfolio.domain.ledger import Ledger, Line
from servers.portfolio.domain.position import Entry, PositionState
from servers.portfolio.engine import PortfolioEngine

NAME = "ledger"
VERSION = 1
PART_ROWS = 512
LINES, ADJUSTMENTS, POSITIONS = "lines", "adjustments", "positions"

Row = TypeVar("Row")

_figures = attrgetter(*(field.name for field in fields(PositionState)))
_KINDS = {int(kind): kind for kind in AdjustmentKind}


class LedgerState:
    """The engine's ledger as what a snapshot is made of."""

    def __init__(self, engine: PortfolioEngine) -> None:
        self._engine = engine
        self._taken = {LINES: 0, ADJUSTMENTS: 0}

    @property
    def sequence(self) -> int:
        """The journal's sequence in the ledger; 0, so that it is not saved, when a fact broke off in it."""
        return self._engine.sequence if self._engine.is_whole else 0

    def capture(self) -> Image:
        """Return the ledger with the rows that are new since the last call, and all positions."""
        ledger = self._engine.ledger
        positions = [
            [*key, history.currency_code, *_figures(history.state)]
            for key, history in ledger.positions.items()
        ]
        taken = {LINES: len(ledger.lines), ADJUSTMENTS: len(ledger.adjustments)}
        parts: dict[Part, Callable[[], list[Any]]] = {}
        for part, lines in _parts(ledger.lines, self._taken[LINES]):
            parts[LINES, part] = partial(_line_rows, lines)
        for part, adjustments in _parts(ledger.adjustments, self._taken[ADJUSTMENTS]):
            parts[ADJUSTMENTS, part] = partial(_adjustment_rows, adjustments)
        for part, rows in _parts(positions, 0):
            parts[POSITIONS, part] = partial(list, rows)
        facts = {"repeated": ledger.repeated_fills, "unknown": ledger.unknown_reversals}
        counts = {**taken, POSITIONS: len(positions)}
        before, self._taken = self._taken, taken
        return Image(self._engine.sequence, facts, counts, parts, before)

    def give_back(self, image: Image) -> None:
        """Count as new again what was not saved."""
        self._taken = image.changes

    def restore(self, kept: Kept) -> None:
        """Put a ledger into the engine that folds to the figures kept. Raises SnapshotBroken."""
        ledger = Ledger()
        try:
            lines = [_line(row) for row in kept.rows[LINES]]
            adjustments = [_adjustment(row) for row in kept.rows[ADJUSTMENTS]]
            positions = {(row[0], row[1]): row for row in kept.rows[POSITIONS]}
            ledger.restore(lines, adjustments, {key: row[2] for key, row in positions.items()})
            ledger.repeated_fills, ledger.unknown_reversals = kept.facts["repeated"], kept.facts["unknown"]
        except (LookupError, ValueError, TypeError) as error:
            raise SnapshotBroken(f"a row cannot be read: {error!r}") from error
        for key, history in ledger.positions.items():
            if [*_figures(history.state)] != positions[key][3:]:
                raise SnapshotBroken(f"{key} does not fold to the figures it had")
        self._taken = {LINES: len(lines), ADJUSTMENTS: len(adjustments)}
        self._engine.ledger = ledger
        self._engine.sequence = kept.sequence


def _parts(rows: Sequence[Row], first_new: int) -> Iterator[tuple[int, Sequence[Row]]]:
    """Yield the parts with rows from `first_new` on, with their numbers."""
    for start in range(first_new - first_new % PART_ROWS, len(rows), PART_ROWS):
        yield start // PART_ROWS, rows[start : start + PART_ROWS]


def _line_rows(lines: Sequence[Line]) -> list[Any]:
    return [[*key] if entry is None else [*key, *entry] for key, entry in lines]


def _line(row: list[Any]) -> Line:
    key, entry = (row[0], row[1], row[2]), row[3:]
    return key, Entry._make(entry) if entry else None


def _adjustment_rows(adjustments: Sequence[Adjustment]) -> list[Any]:
    return [astuple(adjustment) for adjustment in adjustments]


def _adjustment(row: list[Any]) -> Adjustment:
    kind, account, symbol, quantity_nanos, price_nanos, cash, *rest = row
    money = None if cash is None else Money(*cash)
    return Adjustment(_KINDS[kind], account, symbol, quantity_nanos, price_nanos, money, *rest)
