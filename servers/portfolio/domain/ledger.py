"""All positions and cash, from fills, busts, corrections and adjustments, each exactly once.

What the ledger shows is a function of the set of its lines, not of the order in which they arrived: a
fill that is reported late, or a corporate action that is recorded late, gives the same figures as if it
had come in its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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

Line = tuple[FillKey, Entry | None]
"""A fill that was booked, or None for one that was undone."""


class Ledger:
    """Positions by account and symbol, cash by account and currency."""

    def __init__(self) -> None:
        self.positions: dict[Key, PositionHistory] = {}
        self.opening_cash: dict[tuple[str, str], int] = {}
        self.repeated_fills = 0
        self.unknown_reversals = 0
        self.lines: list[Line] = []
        self.adjustments: list[Adjustment] = []
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
        self._set(key, entry)
        return self._hold(fill.account, entry, fill.fee.currency_code)

    def _unbook(self, key: FillKey) -> Key | None:
        entry = self._booked.get(key)
        if entry is None:
            self.unknown_reversals += 1
            return None
        self._set(key, None)
        position = self._place_of(key[1], entry)
        self.positions[position].remove(entry)
        return position

    def _set(self, key: FillKey, entry: Entry | None) -> None:
        self._booked[key] = entry
        self.lines.append((key, entry))

    # -- Adjustments ------------------------------------------------------------------------------

    def adjust(self, adjustment: Adjustment) -> list[Key]:
        """Apply an adjustment as of its effective time, and return what it changed."""
        self.adjustments.append(adjustment)
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
        self._open_cash(adjustment.account, cash)
        if not adjustment.symbol:
            return [(adjustment.account, "")]
        return [self._hold(adjustment.account, _opening(adjustment), cash.currency_code)]

    def _open_cash(self, account: str, cash: Money) -> None:
        if cash.attos:
            key = (account, cash.currency_code)
            self.opening_cash[key] = self.opening_cash.get(key, 0) + cash.attos

    def _rename(self, adjustment: Adjustment) -> list[Key]:
        self._add_rename(adjustment)
        before, self.positions = self.positions, {}
        for (account, _), history in before.items():
            for entry in history.entries:
                if not entry.is_action:
                    self._hold(account, entry, history.currency_code)
        return [*before, *(key for key in self.positions if key not in before)]

    def _add_rename(self, adjustment: Adjustment) -> None:
        self._renames.append(adjustment)
        self._renames.sort(key=lambda rename: (rename.effective_time_nanos, rename.sequence))

    def _hold(self, account: str, entry: Entry, currency_code: str) -> Key:
        key = self._place_of(account, entry)
        self._position(*key, currency_code).add(entry)
        return key

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
            history.take(self._actions_of(symbol))
        return history

    def _actions_of(self, symbol: str) -> list[Entry]:
        return [
            _action(action)
            for action in self._actions
            if self.name_of(action.symbol, action.effective_time_nanos) == symbol
        ]

    # -- A restart --------------------------------------------------------------------------------

    def restore(
        self, lines: Sequence[Line], adjustments: Sequence[Adjustment], currencies: Mapping[Key, str]
    ) -> None:
        """Fill an empty ledger with all that one took in.

        `currencies` are those of its positions, in its order. Raises KeyError when a line lies in none.
        """
        self.lines, self.adjustments = list(lines), list(adjustments)
        self._booked = dict(lines)
        entries: dict[Key, list[Entry]] = {key: [] for key in currencies}
        for adjustment in adjustments:
            if adjustment.kind is AdjustmentKind.SYMBOL_CHANGE:
                self._add_rename(adjustment)
            elif adjustment.kind is not AdjustmentKind.OPENING:
                self._actions.append(adjustment)
        for adjustment in adjustments:
            if adjustment.kind is AdjustmentKind.OPENING:
                self._open_cash(adjustment.account, adjustment.cash or Money(""))
                if adjustment.symbol:
                    entry = _opening(adjustment)
                    entries[self._place_of(adjustment.account, entry)].append(entry)
        for (_, account, _), booked in self._booked.items():
            if booked is not None:
                entries[self._place_of(account, booked)].append(booked)
        for (account, symbol), held in entries.items():
            history = self.positions[account, symbol] = PositionHistory(currencies[account, symbol])
            history.take([*self._actions_of(symbol), *held])

    def _place_of(self, account: str, entry: Entry) -> Key:
        return account, self.name_of(entry.symbol, entry.event_time_nanos)

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


def _opening(adjustment: Adjustment) -> Entry:
    return Entry(
        adjustment.effective_time_nanos,
        HOLDING,
        OPENING,
        adjustment.sequence,
        0,
        adjustment.quantity_nanos,
        adjustment.price_nanos,
        symbol=adjustment.symbol,
    )


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
