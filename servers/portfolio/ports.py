"""What portfolio needs from outside: a durable place for what it took in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from servers.model.order import Fill
from servers.portfolio.domain.adjustments import Adjustment


@dataclass(frozen=True, slots=True)
class FillFact:
    """A fill, a bust (`is_bust`) or a correction (with `corrected`) out of the order journal."""

    sequence: int
    fill: Fill
    is_bust: bool = False
    corrected: Fill | None = None
    traceparent: str = ""


class LedgerJournal(Protocol):
    """Keeps fills and adjustments; each is durable when the call returns."""

    def load(self, after_sequence: int) -> AsyncIterator[tuple[int, FillFact | Adjustment]]:
        """Yield all that was saved above a sequence of the journal, in order, with its sequence there."""
        ...

    @property
    def orders_sequence(self) -> int:
        """Up to where the order events were taken in."""
        ...

    async def save_fills(self, facts: Sequence[FillFact], orders_sequence: int) -> int:
        """Store what order events said and how far they were read, in one transaction.

        Return the sequence of the journal that this reaches.
        """
        ...

    def first_answer(self, request_id: str, adjustment: Adjustment) -> Adjustment | None:
        """Return the first answer to an id; raises AlreadyExists REQUEST_ID_REUSED for other content."""
        ...

    async def save_adjustment(self, request_id: str, asked: Adjustment, adjustment: Adjustment) -> Adjustment:
        """Store an adjustment and return it with its sequence."""
        ...
