"""One symbol's market as a parent order sees it: prints in columns, quote, phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from servers.model.market import MarketPhase, Quote, TradeFlag, TradingStatus

Column = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Prints:
    """A run of prints of one symbol, in columns of int64; their sequences follow without a gap."""

    symbol: str
    first_sequence: int
    times: Column
    prices: Column
    sizes: Column
    flags: Column
    cancelled_sequences: Column | None = None

    @property
    def last_sequence(self) -> int:
        """Sequence of the last print."""
        return self.first_sequence + len(self.times) - 1

    def after(self, sequence: int) -> Prints:
        """Return the prints above `sequence`."""
        skip = min(max(sequence + 1 - self.first_sequence, 0), len(self.times))
        if skip == 0:
            return self
        return Prints(
            self.symbol,
            self.first_sequence + skip,
            self.times[skip:],
            self.prices[skip:],
            self.sizes[skip:],
            self.flags[skip:],
            None if self.cancelled_sequences is None else self.cancelled_sequences[skip:],
        )


class Tape:
    """The prints of one symbol since a first sequence, and its present quote and phase.

    Attributes:
        since_nanos: market time since which it misses nothing; None until it is followed.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.last_sequence = 0
        self.quote = Quote(symbol)
        self.phase = MarketPhase.UNSPECIFIED
        self.phase_time_nanos = 0
        self.session_open_time_nanos = 0
        self.session_close_time_nanos = 0
        self.last_message_time_nanos = 0
        self.since_nanos: int | None = None
        self._count = 0
        self._is_sorted = True
        self._has_cancelled = False
        self._columns: list[Column] = [np.empty(1024, dtype=np.int64) for _ in range(5)]

    def __len__(self) -> int:
        return self._count

    def add(self, prints: Prints) -> Prints:
        """Take in what is new of `prints` and return it. A print that cancels another takes it out."""
        fresh = prints.after(self.last_sequence)
        if not len(fresh.times):
            return fresh
        self.last_sequence = fresh.last_sequence
        self.last_message_time_nanos = max(self.last_message_time_nanos, int(fresh.times[-1]))
        sequences = np.arange(fresh.first_sequence, fresh.last_sequence + 1, dtype=np.int64)
        is_cancel = (fresh.flags & TradeFlag.CANCEL) != 0
        counts = ((fresh.flags & TradeFlag.ELIGIBLE) != 0) & ~is_cancel
        self._append(fresh.times, fresh.prices, fresh.sizes, fresh.flags, sequences, counts)
        if fresh.cancelled_sequences is not None:
            for sequence in fresh.cancelled_sequences[is_cancel]:
                self._cancel(int(sequence))
        return fresh

    def on_quote(self, quote: Quote) -> None:
        """Take in the best quote."""
        self.quote = quote
        self.last_message_time_nanos = max(self.last_message_time_nanos, quote.event_time_nanos)
        if quote.phase is not MarketPhase.UNSPECIFIED and self.phase is MarketPhase.UNSPECIFIED:
            self.phase = quote.phase

    def on_status(self, status: TradingStatus) -> None:
        """Take in a change of phase."""
        if status.phase is not self.phase or not self.phase_time_nanos:
            self.phase_time_nanos = status.event_time_nanos
        self.phase = status.phase
        self.last_message_time_nanos = max(self.last_message_time_nanos, status.event_time_nanos)
        if status.session_close_time_nanos:
            self.session_open_time_nanos = status.session_open_time_nanos
            self.session_close_time_nanos = status.session_close_time_nanos

    def replace_prints(self, refilled: Tape) -> None:
        """Take the prints of a tape that reaches back as far as anybody needs."""
        self.since_nanos = 0
        self.last_sequence = refilled.last_sequence
        self.last_message_time_nanos = max(self.last_message_time_nanos, refilled.last_message_time_nanos)
        self._count, self._columns = refilled._count, refilled._columns
        self._is_sorted, self._has_cancelled = refilled._is_sorted, refilled._has_cancelled

    def eligible(self, start_nanos: int = 0) -> tuple[Column, Column, Column]:
        """Return prices, sizes and times of the prints that count, in time order, from `start_nanos` on."""
        times, prices, sizes, _, _ = self._ordered()
        first = int(np.searchsorted(times, start_nanos, "left"))
        return prices[first:], sizes[first:], times[first:]

    def continuous(self, start_nanos: int = 0) -> tuple[Column, Column]:
        """Return times and sizes of the eligible prints outside auctions, in time order."""
        times, sizes, _ = self.continuous_prints(start_nanos)
        return times, sizes

    def continuous_prints(self, start_nanos: int = 0) -> tuple[Column, Column, Column]:
        """Return times, sizes and prices of the eligible prints outside auctions, in time order."""
        times, prices, sizes, flags, _ = self._ordered()
        keep = ((flags & TradeFlag.AUCTION) == 0) & (times >= start_nanos)
        return times[keep], sizes[keep], prices[keep]

    def last_price_before(self, time_nanos: int) -> int:
        """Return the last eligible price before a time, in 1e-9 currency units; 0 when there is none."""
        times, prices, _, _, _ = self._ordered()
        before = int(np.searchsorted(times, time_nanos, "left"))
        return int(prices[before - 1]) if before else 0

    def _append(
        self,
        times: Column,
        prices: Column,
        sizes: Column,
        flags: Column,
        sequences: Column,
        keep: npt.NDArray[np.bool_],
    ) -> None:
        added = int(np.count_nonzero(keep))
        while self._count + added > len(self._columns[0]):
            self._columns = [np.concatenate((column, np.empty_like(column))) for column in self._columns]
        if not added:
            return
        end = self._count + added
        for column, values in zip(self._columns, (times, prices, sizes, flags, sequences), strict=True):
            column[self._count : end] = values[keep]
        first = self._columns[0][max(self._count - 1, 0) : end]
        self._is_sorted = self._is_sorted and bool(np.all(first[1:] >= first[:-1]))
        self._count = end

    def _cancel(self, sequence: int) -> None:
        sequences = self._columns[4][: self._count]
        at = int(np.searchsorted(sequences, sequence))
        if at < self._count and sequences[at] == sequence:
            self._columns[2][at] = 0
            self._has_cancelled = True

    def _ordered(self) -> list[Column]:
        columns = [column[: self._count] for column in self._columns]
        if self._has_cancelled:
            columns = [column[columns[2] > 0] for column in columns]
        if self._is_sorted:
            return columns
        order = np.argsort(columns[0], kind="stable")
        return [column[order] for column in columns]
