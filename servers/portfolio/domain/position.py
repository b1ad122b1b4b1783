"""One position: trades and dated actions of one symbol, folded in the order of market time.

The method is average cost. All sums are integers of 1e-18 currency units. When part of a position is
closed, the cost that leaves with it is rounded half to even to such a unit; nothing is lost by it, since
what leaves open cost enters realised profit: cash + open cost = carried cost + realised profit + dividends
- fees, exactly, always.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from servers.model.nanos import NANO, divide_half_even

CHECKPOINT_ENTRIES = 256
"""A state is kept every so many entries, so that a late entry is not folded in from the beginning."""

ACTION, HOLDING = 0, 1
"""At the same market time an action comes before trades and openings: it meets what was held before."""


@dataclass(slots=True)
class PositionState:
    """Where a position stands. Open cost has the sign of the quantity."""

    quantity_nanos: int = 0
    open_cost_attos: int = 0
    realised_attos: int = 0
    fees_attos: int = 0
    cash_attos: int = 0
    dividends_attos: int = 0
    carried_cost_attos: int = 0

    @property
    def average_price_nanos(self) -> int:
        """Average open price, rounded half to even; 0 when flat."""
        if not self.quantity_nanos:
            return 0
        return divide_half_even(self.open_cost_attos, self.quantity_nanos)

    def unrealised_attos(self, mark_price_nanos: int) -> int:
        """Return the profit of what is open at a mark; 0 without one."""
        if not mark_price_nanos:
            return 0
        return self.quantity_nanos * mark_price_nanos - self.open_cost_attos

    def trade(self, signed_nanos: int, price_nanos: int) -> None:
        """Change the quantity at a price: first close what is open on the other side, then open."""
        held = self.quantity_nanos
        if held and (held > 0) != (signed_nanos > 0):
            closing = signed_nanos if abs(signed_nanos) <= abs(held) else -held
            released = divide_half_even(self.open_cost_attos * -closing, held)
            self.realised_attos += -closing * price_nanos - released
            self.open_cost_attos -= released
            self.quantity_nanos += closing
            signed_nanos -= closing
        self.quantity_nanos += signed_nanos
        self.open_cost_attos += signed_nanos * price_nanos

    def split(self, numerator: int, denominator: int) -> None:
        """Restate the quantity, rounded half to even to 1e-9 shares; the cost stays."""
        self.quantity_nanos = divide_half_even(self.quantity_nanos * numerator, denominator)

    def dividend(self, cash_attos: int) -> None:
        """Pay `cash_attos` a share held; a short position owes it."""
        paid = divide_half_even(cash_attos * self.quantity_nanos, NANO)
        self.cash_attos += paid
        self.dividends_attos += paid


class Entry(NamedTuple):
    """One line of a position's history, sorted by market time, actions first, then by source and order."""

    event_time_nanos: int
    rank: int
    source: str
    sequence: int
    part: int = 0
    signed_nanos: int = 0
    price_nanos: int = 0
    fee_attos: int = 0
    ratio_numerator: int = 0
    ratio_denominator: int = 0
    dividend_attos: int = 0
    symbol: str = ""

    @property
    def is_action(self) -> bool:
        return self.rank == ACTION

    def apply(self, state: PositionState) -> None:
        """Bring `state` past this line."""
        if self.ratio_denominator:
            state.split(self.ratio_numerator, self.ratio_denominator)
        elif self.dividend_attos:
            state.dividend(self.dividend_attos)
        elif self.source == OPENING:
            state.trade(self.signed_nanos, self.price_nanos)
            state.carried_cost_attos += self.signed_nanos * self.price_nanos
        else:
            state.trade(self.signed_nanos, self.price_nanos)
            state.cash_attos -= self.signed_nanos * self.price_nanos + self.fee_attos
            state.fees_attos += self.fee_attos


FILL, OPENING, CORPORATE = "fill", "opening", "action"


class PositionHistory:
    """The sorted lines of one account and symbol, and the state at their end."""

    def __init__(self, currency_code: str = "") -> None:
        self.currency_code = currency_code
        self.entries: list[Entry] = []
        self.state = PositionState()
        self._checkpoints = [PositionState()]

    def add(self, entry: Entry) -> None:
        """Put a line where its market time belongs."""
        if not self.entries or entry > self.entries[-1]:
            self.entries.append(entry)
            entry.apply(self.state)
            if len(self.entries) % CHECKPOINT_ENTRIES == 0:
                self._checkpoints.append(replace(self.state))
            return
        insort(self.entries, entry)
        self._fold_from(bisect_left(self.entries, entry))

    def remove(self, entry: Entry) -> None:
        """Take a line out, as if it had never been there."""
        at = bisect_left(self.entries, entry)
        if at >= len(self.entries) or self.entries[at] != entry:
            raise KeyError(entry)
        del self.entries[at]
        self._fold_from(at)

    def take(self, entries: Iterable[Entry]) -> None:
        """Put many lines in at once."""
        self.entries = sorted([*self.entries, *entries])
        self._fold_from(0)

    def _fold_from(self, at: int) -> None:
        kept = at // CHECKPOINT_ENTRIES
        del self._checkpoints[kept + 1 :]
        state = replace(self._checkpoints[kept])
        first = kept * CHECKPOINT_ENTRIES
        for count, entry in enumerate(self.entries[first:], first + 1):
            entry.apply(state)
            if count % CHECKPOINT_ENTRIES == 0:
                self._checkpoints.append(replace(state))
        self.state = state
