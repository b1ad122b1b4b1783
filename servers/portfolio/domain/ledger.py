"""All positions and cash, from fills, busts, corrections and adjustments, each exactly once.

What the ledger shows is a function of the set of its lines, not of the order in which they arrived: a
fill that is reported late, or a corporate action that is recorded late, gives the same figures as if it
had come in its time.
"""

from __future__ import annotations

from collections.abc import Iterator

from servers.model.nanos import Money
from servers.model.order import Fill
from servers.portfolio.domain.adjustments import Adjustment, AdjustmentKind
from servers.portfolio.domain.position import (
    ACTION,
    CORPORATE,
    FILL,
    HOLDING,
    OPENING,
    Entry,
    PositionHistory,
)

Key = tuple[str, str]
"""Account and symbol, as it is named today."""

FillKey = tuple[str, str, str]
"""Venue, account and the venue's execution id."""


class Ledger:
    """Positions by account and symbol, cash by account and currency."""

    def __init__(self) -> None:
        self.positions: dict[Key, PositionHistory] = {}
        self.opening_cash: dict[tuple[str, str], int] = {}
        self.repeated_fills = 0
        self.unknown_reversals = 0
        self._booked: dict[FillKey, Entry | None] = {}
        self._actions: list[Adjustment] = []
        self._renames: list[Adjustment] = []

    # -- Fills ------------------------------------------------------------------------------------

    def book(self, fill: Fill, sequence: int) -> Key | None:
        """Book a fill and return what it changed; None when it was booked before."""
        key = (fill.venue, fill.account, fill.venue_execution_id)
        if key in self._booked:
            self.repeated_fills += 1
            return None
        return self._book(key, fill, sequence, 0)

    def bust(self, fill: Fill) -> Key | None:
        """Undo a fill and return what that changed; None when it is not booked, or was undone before."""
        return self._unbook((fill.venue, fill.account, fill.venue_execution_id))

    def correct(self, fill: Fill, corrected: Fill, sequence: int) -> list[Key]:
        """Replace a fill by what it should have been, and return what that changed."""
        old_key = (fill.venue, fill.account, fill.venue_execution_id)
        new_key = (corrected.venue, corrected.account, corrected.venue_execution_id)
        changed = self._unbook(old_key)
        if changed is None or (new_key != old_key and new_key in self._booked):
            return [] if changed is None else [changed]
        return [changed, self._book(new_key, corrected, sequence, 1)]

    def _book(self, key: FillKey, fill: Fill, sequence: int, part: int) -> Key:
        signed_nanos = fill.side.sign * fill.quantity_nanos
        entry = Entry(
            fill.event_time_nanos,
            HOLDING,
            FILL,
            sequence,
            part,
            signed_nanos,
            fill.price_nanos,
            fill.fee.attos,
            symbol=fill.symbol,
        )
        self._booked[key] = entry
        return self._hold(fill.account, entry, fill.fee.currency_code)

    def _unbook(self, key: FillKey) -> Key | None:
        entry = self._booked.get(key)
        if entry is None:
            self.unknown_reversals += 1
            return None
        self._booked[key] = None
        position = (key[1], self.name_of(entry.symbol, entry.event_time_nanos))
        self.positions[position].remove(entry)
        return position

    # -- Adjustments ------------------------------------------------------------------------------

    def adjust(self, adjustment: Adjustment) -> list[Key]:
        """Apply an adjustment as of its effective time, and return what it changed."""
        if adjustment.kind is AdjustmentKind.OPENING:
            return self._open(adjustment)
        if adjustment.kind is AdjustmentKind.SYMBOL_CHANGE:
            return self._rename(adjustment)
        self._actions.append(adjustment)
        symbol = self.name_of(adjustment.symbol, adjustment.effective_time_nanos)
        changed = [key for key in self.positions if key[1] == symbol]
        for key in changed:
            self.positions[key].add(_action(adjustment))
        return changed

    def _open(self, adjustment: Adjustment) -> list[Key]:
        cash = adjustment.cash or Money("")
        if cash.attos:
            key = (adjustment.account, cash.currency_code)
            self.opening_cash[key] = self.opening_cash.get(key, 0) + cash.attos
        if not adjustment.symbol:
            return [(adjustment.account, "")]
        entry = Entry(
            adjustment.effective_time_nanos,
            HOLDING,
            OPENING,
            adjustment.sequence,
            0,
            adjustment.quantity_nanos,
            adjustment.price_nanos,
            symbol=adjustment.symbol,
        )
        return [self._hold(adjustment.account, entry, cash.currency_code)]

    def _rename(self, adjustment: Adjustment) -> list[Key]:
        self._renames.append(adjustment)
        self._renames.sort(key=lambda rename: (rename.effective_time_nanos, rename.sequence))
        before, self.positions = self.positions, {}
        for (account, _), history in before.items():
            for entry in history.entries:
                if not entry.is_action:
                    self._hold(account, entry, history.currency_code)
        return [*before, *(key for key in self.positions if key not in before)]

    def _hold(self, account: str, entry: Entry, currency_code: str) -> Key:
        symbol = self.name_of(entry.symbol, entry.event_time_nanos)
        self._position(account, symbol, currency_code).add(entry)
        return account, symbol

    def name_of(self, symbol: str, time_nanos: int) -> str:
        """Return today's name of what was called `symbol` at a market time."""
        for rename in self._renames:
            if rename.symbol == symbol and time_nanos < rename.effective_time_nanos:
                symbol, time_nanos = rename.new_symbol, rename.effective_time_nanos
        return symbol

    def _position(self, account: str, symbol: str, currency_code: str) -> PositionHistory:
        history = self.positions.get((account, symbol))
        if history is None:
            history = self.positions[account, symbol] = PositionHistory(currency_code)
            history.take(
                _action(action)
                for action in self._actions
                if self.name_of(action.symbol, action.effective_time_nanos) == symbol
            )
        return history

    # -- Sums -------------------------------------------------------------------------------------

    def of_account(self, account: str) -> Iterator[tuple[str, PositionHistory]]:
        """Yield symbol and position of an account, by symbol."""
        for name, symbol in sorted(key for key in self.positions if key[0] == account):
            yield symbol, self.positions[name, symbol]

    def cash(self, account: str) -> dict[str, int]:
        """Return the cash of an account by currency, in 1e-18 units."""
        sums = {code: attos for (name, code), attos in self.opening_cash.items() if name == account}
        for _, history in self.of_account(account):
            code = history.currency_code
            sums[code] = sums.get(code, 0) + history.state.cash_attos
        return dict(sorted(sums.items()))


def _action(adjustment: Adjustment) -> Entry:
    return Entry(
        adjustment.effective_time_nanos,
        ACTION,
        CORPORATE,
        adjustment.sequence,
        ratio_numerator=adjustment.ratio_numerator if adjustment.kind is AdjustmentKind.SPLIT else 0,
        ratio_denominator=adjustment.ratio_denominator if adjustment.kind is AdjustmentKind.SPLIT else 0,
        dividend_attos=adjustment.cash.attos
        if adjustment.cash is not None and adjustment.kind is AdjustmentKind.DIVIDEND
        else 0,
    )
