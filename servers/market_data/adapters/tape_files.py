"""The tape on disk: one append-only file a session, in checked segments of columns.

A segment is a header (magic, CRC-32 of what follows, length of the symbol, whether rows cancel, number of
prints, first sequence), the symbol, and the columns as they came: time, price, size, flags and, where
rows cancel, the cancelled sequences; little-endian int64 each. What follows the last whole segment was
being written when the machine stopped; it is cut off, and the venue has it still.
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from servers.market_data.domain import COLUMN_WIDTH, MAX_BATCH_PRINTS, Prints

_MAGIC = 0x54415031  # "TAP1"
_HEADER = struct.Struct("<IIBBIq")
_NAME = re.compile(r"(\d+)-(\d+)\.tape")
_LOADED_SESSIONS = 2
_MAX_SYMBOL_BYTES = 32

SessionKey = tuple[int, int]
"""Open and close of a session, UTC epoch nanoseconds."""


class TapeFiles:
    """`servers.market_data.ports.TapeStore` in a folder.

    Args:
        kept_sessions: files beyond that many are deleted, oldest first.
    """

    def __init__(self, folder: Path, kept_sessions: int) -> None:
        self._folder = folder
        self._kept_sessions = max(kept_sessions, _LOADED_SESSIONS)
        self._file: BinaryIO | None = None
        self._length = 0
        self._session: SessionKey | None = None

    def load(self) -> Iterator[tuple[SessionKey, Prints]]:
        for session, path in self._sessions()[-_LOADED_SESSIONS:]:
            content = path.read_bytes()
            offset = 0
            while (read := _segment(content, offset)) is not None:
                prints, offset = read
                yield session, prints
            if offset < len(content):
                with path.open("r+b") as file:
                    file.truncate(offset)

    async def append(self, session: SessionKey, runs: Sequence[Prints]) -> None:
        content = b"".join(part for prints in runs for part in _parts(prints))
        await asyncio.to_thread(self._write, session, content)

    async def clear(self) -> None:
        await asyncio.to_thread(self._clear)

    async def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _sessions(self) -> list[tuple[SessionKey, Path]]:
        if not self._folder.is_dir():
            return []
        found = [(_NAME.fullmatch(path.name), path) for path in self._folder.iterdir()]
        return sorted(((int(name[1]), int(name[2])), path) for name, path in found if name is not None)

    def _write(self, session: SessionKey, content: bytes) -> None:
        if self._file is None or session != self._session:
            self._start(session)
        assert self._file is not None
        try:
            self._file.write(content)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            # Half a segment may stand there: forget it, so that the next one is found.
            self._file.truncate(self._length)
            self._file.seek(self._length)
            raise
        self._length += len(content)

    def _start(self, session: SessionKey) -> None:
        if self._file is not None:
            self._file.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{session[0]}-{session[1]}.tape"
        self._file = path.open("ab", buffering=0)
        self._length = path.stat().st_size
        self._session = session
        for _, old in self._sessions()[: -self._kept_sessions]:
            old.unlink()
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _clear(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        for _, path in self._sessions():
            path.unlink()


def _parts(prints: Prints) -> tuple[bytes, bytes]:
    symbol = prints.symbol.encode()
    body = b"".join(
        (
            symbol,
            prints.event_time_nanos,
            prints.price_nanos,
            prints.size_nanos,
            prints.flags,
            prints.cancelled_sequence,
        )
    )
    rest = struct.pack(
        "<BBIq", len(symbol), bool(prints.cancelled_sequence), prints.count, prints.first_sequence
    )
    return struct.pack("<II", _MAGIC, zlib.crc32(body, zlib.crc32(rest))) + rest, body


def _segment(content: bytes, offset: int) -> tuple[Prints, int] | None:
    """Return the segment at `offset` and where it ends; None when there is no whole and sound one."""
    if offset + _HEADER.size > len(content):
        return None
    magic, crc, symbol_length, has_cancels, count, first_sequence = _HEADER.unpack_from(content, offset)
    if magic != _MAGIC or symbol_length > _MAX_SYMBOL_BYTES or not 1 <= count <= MAX_BATCH_PRINTS:
        return None
    start = offset + _HEADER.size
    width = count * COLUMN_WIDTH
    end = start + symbol_length + width * (5 if has_cancels else 4)
    body = content[start:end]
    if end > len(content) or zlib.crc32(body, zlib.crc32(content[offset + 8 : start])) != crc:
        return None
    times, prices, sizes, flags, cancelled = (
        body[symbol_length + at : symbol_length + at + width] for at in range(0, 5 * width, width)
    )
    symbol = body[:symbol_length].decode()
    return Prints(symbol, count, first_sequence, times, prices, sizes, flags, cancelled), end
