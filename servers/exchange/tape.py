"""The prints of one symbol in the present session, in the venue's sequence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MAX_BATCH = 1_000
_COLUMNS = 4
_ROW_BYTES = 8 * _COLUMNS

Rows = npt.NDArray[np.int64]


class Prints(NamedTuple):
    """A run of prints: sequence of the first, and columns of little-endian int64."""

    symbol: str
    first_sequence: int
    length: int
    times: bytes
    prices: bytes
    sizes: bytes
    flags: bytes


class Tape:
    """Rows of (time, price nanos, size nanos, flags). `first_sequence` is that of the first row."""

    def __init__(self, symbol: str, first_sequence: int = 1) -> None:
        self.symbol = symbol
        self.first_sequence = first_sequence
        self._rows: Rows = np.empty((1_024, _COLUMNS), np.int64)
        self._count = 0

    @property
    def last_sequence(self) -> int:
        """Sequence of the last print; one below the first when there is none."""
        return self.first_sequence + self._count - 1

    def extend(self, times: bytes, prices: bytes, sizes: bytes, flags: bytes) -> None:
        """Append prints given as columns of int64."""
        columns = [np.frombuffer(column, np.int64) for column in (times, prices, sizes, flags)]
        needed = self._count + len(columns[0])
        if needed > len(self._rows):
            larger = np.empty((max(needed, 2 * len(self._rows)), _COLUMNS), np.int64)
            larger[: self._count] = self._rows[: self._count]
            self._rows = larger
        for index, column in enumerate(columns):
            self._rows[self._count : needed, index] = column
        self._count = needed

    def rows(self) -> Rows:
        """Return all rows; read only."""
        return self._rows[: self._count]

    def after(self, sequence: int) -> Iterator[Prints]:
        """Yield what stands above `sequence`, in runs of at most 1,000."""
        start = max(sequence + 1 - self.first_sequence, 0)
        for first in range(start, self._count, MAX_BATCH):
            rows = self._rows[first : min(first + MAX_BATCH, self._count)]
            times, prices, sizes, flags = (rows[:, index].tobytes() for index in range(_COLUMNS))
            yield Prints(self.symbol, self.first_sequence + first, len(rows), times, prices, sizes, flags)

    def start_over(self) -> None:
        """Forget the prints of a session that is over; the sequence goes on."""
        self.first_sequence = self.last_sequence + 1
        self._rows = np.empty((1_024, _COLUMNS), np.int64)
        self._count = 0


class TapeFile:
    """A tape's prints on disk, so that a venue that restarts can still tell them.

    Written before prints go out, not synced: a killed process loses none; after a power cut the journal's
    sequence stands and the lost prints are a gap.
    """

    def __init__(self, folder: Path, symbol: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{symbol.replace('/', '_')}.prints"
        self._descriptor = -1
        self._written = 0

    def load(self, tape: Tape, session_open_nanos: int) -> None:
        """Fill `tape` with what was kept of the session, or note that the session is another."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        head = np.frombuffer(data[:16], np.int64) if len(data) >= 16 else np.zeros(2, np.int64)
        if int(head[0]) == session_open_nanos:
            body = data[16 : 16 + (len(data) - 16) // _ROW_BYTES * _ROW_BYTES]
            rows = np.frombuffer(body, np.int64).reshape(-1, _COLUMNS)
            tape.first_sequence = int(head[1])
            tape.extend(*(rows[:, index].tobytes() for index in range(_COLUMNS)))
            self._descriptor = os.open(self._path, os.O_WRONLY)
            os.ftruncate(self._descriptor, 16 + len(body))
            os.lseek(self._descriptor, 0, os.SEEK_END)
            self._written = len(rows)
        else:
            self.begin(tape, session_open_nanos)

    def begin(self, tape: Tape, session_open_nanos: int) -> None:
        """Start the file of a new session."""
        self.close()
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(self._descriptor, np.array([session_open_nanos, tape.first_sequence], np.int64).tobytes())
        self._written = 0

    def save(self, tape: Tape) -> None:
        """Write what has come since the last call."""
        rows = tape.rows()
        if len(rows) > self._written:
            os.write(self._descriptor, rows[self._written :].tobytes())
            self._written = len(rows)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
