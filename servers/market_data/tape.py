"""One symbol's tape: every print with the venue's sequence, in columns that grow.

Rows are in the venue's order. `counts` marks the rows that are in benchmarks: eligible, not cancelled
since, and not themselves a cancel. It is the only column that ever changes after a row is written.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from servers.market_data.domain import COLUMN_WIDTH, MAX_BATCH_PRINTS, Prints
from servers.model.market import TradeFlag

Int64s = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

_FIRST_CAPACITY = 4_096
_LITTLE = np.dtype("<i8")
_COUNTING = int(TradeFlag.ELIGIBLE | TradeFlag.CANCEL)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of a tape as arrays of one length: times, prices and sizes in nanos, flags."""

    time_nanos: Int64s
    price_nanos: Int64s
    size_nanos: Int64s
    flags: Int64s


class SymbolTape:
    """Append-only prints of one symbol, addressed by row (0 is the oldest kept) or by sequence."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._count = 0
        self._time = np.empty(_FIRST_CAPACITY, _LITTLE)
        self._price = np.empty(_FIRST_CAPACITY, _LITTLE)
        self._size = np.empty(_FIRST_CAPACITY, _LITTLE)
        self._flags = np.empty(_FIRST_CAPACITY, _LITTLE)
        self._counts = np.empty(_FIRST_CAPACITY, np.bool_)
        self._cancelled: dict[int, int] = {}  # sequence of a cancel -> sequence that it undoes
        # Runs of sequences without a gap: the first sequence of each, and the row where it stands.
        self._run_sequences: list[int] = []
        self._run_rows: list[int] = []
        self._is_time_sorted = True
        self._trimmed_sequence = 0
        self.last_sequence = 0
        self.last_price_nanos = 0
        self.last_time_nanos = 0
        self.gap_count = 0
        self.generation = 0

    def __len__(self) -> int:
        return self._count

    @property
    def trimmed_sequence(self) -> int:
        """Return the highest sequence that has been let go, 0 when none was."""
        return self._trimmed_sequence

    def clear(self) -> None:
        """Forget everything; places on the tape from before are void (`generation`)."""
        generation, gaps = self.generation, self.gap_count
        SymbolTape.__init__(self, self.symbol)
        self.generation, self.gap_count = generation + 1, gaps

    def agrees_with(self, prints: Prints) -> bool:
        """Return whether a run has the same print as the tape at the last sequence that both have."""
        sequence = min(self.last_sequence, prints.last_sequence)
        row = self.row_after(sequence - 1)
        if sequence < prints.first_sequence or row >= self._count or self.sequence_at(row) != sequence:
            return True
        offset = (sequence - prints.first_sequence) * COLUMN_WIDTH
        given = [
            column[offset : offset + COLUMN_WIDTH]
            for column in (prints.event_time_nanos, prints.price_nanos, prints.size_nanos)
        ]
        return given == [column[row].tobytes() for column in (self._time, self._price, self._size)]

    def append(self, prints: Prints) -> int:
        """Add what is new of a validated run, and return how many rows that was.

        Rows up to the last sequence are known already and are skipped; a run that begins after the next
        sequence leaves a gap, which is counted.
        """
        skipped = max(0, self.last_sequence + 1 - prints.first_sequence)
        added = prints.count - skipped
        if added <= 0:
            return 0
        start, end = self._count, self._count + added
        if end > len(self._time):
            self._grow(end)
        times = np.frombuffer(prints.event_time_nanos, _LITTLE)[skipped:]
        flags = np.frombuffer(prints.flags, _LITTLE)[skipped:]
        self._time[start:end] = times
        self._price[start:end] = np.frombuffer(prints.price_nanos, _LITTLE)[skipped:]
        self._size[start:end] = np.frombuffer(prints.size_nanos, _LITTLE)[skipped:]
        self._flags[start:end] = flags
        counting = (flags & _COUNTING) == TradeFlag.ELIGIBLE
        self._counts[start:end] = counting
        if self._is_time_sorted:
            self._is_time_sorted = int(times[0]) >= self.last_time_nanos and bool(
                (times[1:] >= times[:-1]).all()
            )
        self._count = end
        first = prints.first_sequence + skipped
        if not self._run_rows or first != self.last_sequence + 1:
            self.gap_count += bool(self._run_rows)
            self._run_sequences.append(first)
            self._run_rows.append(start)
        self.last_sequence = prints.last_sequence
        self.last_time_nanos = max(self.last_time_nanos, int(times[-1]))
        if prints.cancelled_sequence:
            self._cancel(first, np.frombuffer(prints.cancelled_sequence, _LITTLE)[skipped:])
        else:
            rows = counting.nonzero()[0]
            if len(rows):
                self.last_price_nanos = int(self._price[start + int(rows[-1])])
        return added

    def row_after(self, sequence: int) -> int:
        """Return the first row whose sequence is above `sequence`; the length when there is none."""
        run = bisect_right(self._run_sequences, sequence) - 1
        if run < 0:
            return 0
        next_run = self._run_rows[run + 1] if run + 1 < len(self._run_rows) else self._count
        return min(self._run_rows[run] + sequence + 1 - self._run_sequences[run], next_run)

    def sequence_at(self, row: int) -> int:
        """Return the sequence of a row."""
        run = bisect_right(self._run_rows, row) - 1
        return self._run_sequences[run] + row - self._run_rows[run]

    def slice(self, row: int, end_row: int, limit: int = MAX_BATCH_PRINTS) -> Prints:
        """Return the prints from `row` on: up to `end_row`, `limit`, or the next gap in the sequence."""
        run = bisect_right(self._run_rows, row)
        if run < len(self._run_rows):
            end_row = min(end_row, self._run_rows[run])
        end_row = min(end_row, row + limit)
        first = self.sequence_at(row)
        return Prints(
            symbol=self.symbol,
            count=end_row - row,
            first_sequence=first,
            event_time_nanos=self._time[row:end_row].tobytes(),
            price_nanos=self._price[row:end_row].tobytes(),
            size_nanos=self._size[row:end_row].tobytes(),
            flags=self._flags[row:end_row].tobytes(),
            cancelled_sequence=self._cancelled_column(row, end_row, first),
        )

    def read(self, after_sequence: int, last_sequence: int) -> Iterator[Prints]:
        """Yield the prints with sequences in (after_sequence, last_sequence], in runs of at most 1,000.

        The tape may grow or be trimmed between two runs; what has been let go is passed over.
        """
        while after_sequence < last_sequence:
            row, end = self.row_after(after_sequence), self.row_after(last_sequence)
            if row >= end:
                return
            prints = self.slice(row, end)
            after_sequence = prints.last_sequence
            yield prints

    def rows_between(self, start_nanos: int, end_nanos: int) -> list[tuple[int, int]]:
        """Return the runs of rows [first, end) whose time lies in [start_nanos, end_nanos), oldest first."""
        times = self._time[: self._count]
        if self._is_time_sorted:
            first, end = np.searchsorted(times, (start_nanos, end_nanos))
            return [(int(first), int(end))] if first < end else []
        inside = ((times >= start_nanos) & (times < end_nanos)).astype(np.int8)
        edges = np.flatnonzero(np.diff(inside, prepend=0, append=0))
        return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]

    def eligible(self, start_nanos: int, end_nanos: int, *, without_auctions: bool = False) -> Columns:
        """Return copies of the rows that count in benchmarks and lie in [start_nanos, end_nanos)."""
        times = self._time[: self._count]
        if self._is_time_sorted:
            first, end = np.searchsorted(times, (start_nanos, end_nanos))
            part = slice(int(first), max(int(first), int(end)))
            mask = self._counts[part]
        else:
            part = slice(0, self._count)
            mask = self._counts[part] & (times >= start_nanos) & (times < end_nanos)
        if without_auctions:
            mask = mask & ((self._flags[part] & int(TradeFlag.AUCTION)) == 0)
        return Columns(
            self._time[part][mask], self._price[part][mask], self._size[part][mask], self._flags[part][mask]
        )

    def trim_before(self, time_nanos: int) -> int:
        """Let go of the rows before the first one at or after `time_nanos`; return how many."""
        kept = self._time[: self._count] >= time_nanos
        cut = int(kept.argmax()) if kept.any() else self._count
        if cut == 0:
            return 0
        self._trimmed_sequence = self.sequence_at(cut - 1)
        for name in ("_time", "_price", "_size", "_flags", "_counts"):
            column = getattr(self, name)
            column[: self._count - cut] = column[cut : self._count].copy()
        run = bisect_right(self._run_rows, cut) - 1
        first = self.sequence_at(cut) if cut < self._count else 0
        self._run_sequences = self._run_sequences[run:]
        self._run_rows = [row - cut for row in self._run_rows[run:]]
        if first:
            self._run_sequences[0], self._run_rows[0] = first, 0
        else:
            self._run_sequences, self._run_rows = [], []
        self._count -= cut
        self._cancelled = {
            sequence: undone
            for sequence, undone in self._cancelled.items()
            if sequence > self._trimmed_sequence
        }
        return cut

    def _cancel(self, first: int, undone: Int64s) -> None:
        for offset in undone.nonzero()[0].tolist():
            sequence = int(undone[offset])
            self._cancelled[first + offset] = sequence
            row = self.row_after(sequence - 1)
            if row < self._count and self.sequence_at(row) == sequence:
                self._counts[row] = False
        rows = self._counts[: self._count].nonzero()[0]
        self.last_price_nanos = int(self._price[rows[-1]]) if len(rows) else 0

    def _cancelled_column(self, row: int, end_row: int, first: int) -> bytes:
        if not self._cancelled:
            return b""
        part = self._flags[row:end_row] & int(TradeFlag.CANCEL)
        if not part.any():
            return b""
        column = np.zeros(end_row - row, _LITTLE)
        for offset in part.nonzero()[0].tolist():
            column[offset] = self._cancelled.get(first + offset, 0)
        return column.tobytes()

    def _grow(self, needed: int) -> None:
        capacity = max(needed, 2 * len(self._time))
        for name in ("_time", "_price", "_size", "_flags", "_counts"):
            old = getattr(self, name)
            grown = np.empty(capacity, old.dtype)
            grown[: self._count] = old[: self._count]
            setattr(self, name, grown)
