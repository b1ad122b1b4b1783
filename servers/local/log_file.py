"""The log of one server: a file that turns when it is full, so that a run folder stays within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class LogLimits:
    """How much of a server's log is kept.

    Attributes:
        file_bytes: size at which a file turns.
        files: files that are kept, the present one included; at least 1.
    """

    file_bytes: int = 20 * MEGABYTE
    files: int = 3


DEFAULT_LOGS = LogLimits()


class LogFile:
    """Appends lines to `path`; full, it becomes `path.1`, that one `path.2`, and the oldest goes.

    A line is never split between files. Use it with `with`.
    """

    def __init__(self, path: Path, limits: LogLimits) -> None:
        self._path = path
        self._limits = limits
        self._file = self._open()

    def write(self, line: bytes) -> None:
        """Append a line, to a new file where the present one has no room for it. Raises OSError."""
        if self._size and self._size + len(line) > self._limits.file_bytes:
            self._turn()
        left = memoryview(line)
        while left:
            written = self._file.write(left)
            self._size += written
            left = left[written:]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> FileIO:
        file = FileIO(self._path, "a")
        self._size = self._path.stat().st_size
        return file

    def _turn(self) -> None:
        # From the oldest on: each step overwrites a file whose content has its next name already.
        names = [self._path, *(self._numbered(number) for number in range(1, self._limits.files))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)
        if self._limits.files == 1:
            self._path.unlink(missing_ok=True)
        # Only now: where no new file can be opened, the old one goes on.
        full, self._file = self._file, self._open()
        full.close()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
