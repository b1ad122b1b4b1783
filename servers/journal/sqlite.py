"""The journal in one SQLite file: write-ahead log, synchronous=FULL.

In WAL mode with synchronous=FULL, SQLite syncs the log in every COMMIT before it returns
(https://www.sqlite.org/pragma.html#pragma_synchronous). Checkpoints, which would add two syncs to
an unlucky commit, run on a connection of their own beside the writer. Rows go in on the caller's
thread, where a row costs microseconds; only COMMIT, which waits for the disk, belongs into a thread.
Reads have a connection of their own too, so that they never see what is not committed yet.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from servers.journal.record import GENESIS, Head, Record, RequestEffect, Snapshot, corrupt
from servers.journal.store import StoreFenced, StoreFull

_SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    create_time_nanos INTEGER NOT NULL,
    payload BLOB NOT NULL,
    crc INTEGER NOT NULL,
    hash BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS requests (
    request_id TEXT PRIMARY KEY,
    content_hash BLOB NOT NULL,
    response BLOB NOT NULL,
    is_permanent INTEGER NOT NULL,
    create_time_nanos INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (create_time_nanos) WHERE is_permanent = 0;
CREATE TABLE IF NOT EXISTS positions (source TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots (
    name TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    epoch INTEGER NOT NULL,
    writer TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL
);
"""


class SqliteStore:
    """A `Store` in the file `path`, which is created when it is missing.

    Args:
        path: the database file; `-wal` and `-shm` lie beside it.
        vfs: the name of a registered SQLite VFS, for tests of crashes; None for the system's own.
    """

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self.path = path
        self._vfs = vfs
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        self._connection = self._connect()
        try:
            self._configure(self._connection)
        except BaseException:
            self._connection.close()
            raise
        if is_new:
            _sync_folder(path.parent)
        self._reader = self._connect()
        self._housekeeper: sqlite3.Connection | None = None
        self._forget_before_nanos: int | None = None
        self._is_closed = False

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}{f'?vfs={self._vfs}' if self._vfs else ''}"
        return sqlite3.connect(uri, uri=True, timeout=5.0, isolation_level=None, check_same_thread=False)

    def _configure(self, connection: sqlite3.Connection) -> None:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise corrupt(0, f"{self.path} cannot have a write-ahead log (it is in mode {mode})")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _SCHEMA_VERSION):
                raise corrupt(0, f"{self.path} has layout {version}; this program knows {_SCHEMA_VERSION}")
            connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
            )
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):
                raise corrupt(0, f"{self.path} is not a journal: {error}") from error
            raise

    def take_epoch(self, writer: str) -> Head:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT OR IGNORE INTO head VALUES (1, 0, '', 0, ?)", (GENESIS,))
        connection.execute("UPDATE head SET epoch = epoch + 1, writer = ?", (writer,))
        connection.execute("COMMIT")
        return self.head()

    def stage(
        self,
        head: Head,
        records: Sequence[Record],
        requests: Sequence[tuple[RequestEffect, int]],
        positions: Mapping[str, int],
        snapshots: Mapping[str, Snapshot],
    ) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            moved = connection.execute(
                "UPDATE head SET sequence = ?, hash = ? WHERE epoch = ?",
                (head.sequence, head.hash, head.epoch),
            )
            if moved.rowcount != 1:
                connection.execute("ROLLBACK")
                raise StoreFenced(f"epoch {self.head().epoch} has replaced {head.epoch}")
            if self._forget_before_nanos is not None:
                connection.execute(
                    "DELETE FROM requests WHERE is_permanent = 0 AND create_time_nanos < ?",
                    (self._forget_before_nanos,),
                )
                self._forget_before_nanos = None
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", records)
            if requests:
                connection.executemany(
                    "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?)",
                    [(r.request_id, r.content_hash, r.response, r.is_permanent, at) for r, at in requests],
                )
            if positions:
                connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())
            if snapshots:
                connection.executemany(
                    "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)",
                    [(name, snapshot.sequence, snapshot.payload) for name, snapshot in snapshots.items()],
                )
        except sqlite3.Error as error:
            raise self._full_or_same(error) from error

    def commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._full_or_same(error) from error

    def _full_or_same(self, error: sqlite3.Error) -> Exception:
        # SQLITE_FULL comes from a write, before the sync: the log holds no commit mark, so the
        # transaction can be dropped. Every other error leaves the disk in a state nobody knows.
        if error.sqlite_errorname != "SQLITE_FULL":
            return error
        self.rollback()
        return StoreFull(f"no space is left for {self.path}")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def head(self) -> Head:
        row = self._reader.execute("SELECT sequence, hash, epoch FROM head").fetchone()
        return Head(*row) if row else Head()

    def records(self, after_sequence: int, limit: int) -> list[Record]:
        rows = self._reader.execute(
            "SELECT sequence, epoch, kind, create_time_nanos, payload, crc, hash FROM events"
            " WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after_sequence, limit),
        )
        return [Record._make(row) for row in rows.fetchall()]

    def request(self, request_id: str) -> tuple[RequestEffect, int] | None:
        row = self._reader.execute(
            "SELECT request_id, content_hash, response, is_permanent, create_time_nanos FROM requests"
            " WHERE request_id = ?",
            (request_id,),
        ).fetchone()
        return (RequestEffect(row[0], row[1], row[2], bool(row[3])), row[4]) if row else None

    def forget_requests(self, before_nanos: int) -> None:
        self._forget_before_nanos = before_nanos

    def position(self, source: str) -> int:
        row = self._reader.execute("SELECT sequence FROM positions WHERE source = ?", (source,)).fetchone()
        return int(row[0]) if row else 0

    def snapshot(self, name: str) -> Snapshot | None:
        row = self._reader.execute(
            "SELECT sequence, payload FROM snapshots WHERE name = ?", (name,)
        ).fetchone()
        return Snapshot(*row) if row else None

    def checkpoint(self) -> int:
        """Move the log into the database file, as far as readers and the disk allow."""
        if self._housekeeper is None:
            self._housekeeper = self._connect()
            self._housekeeper.execute("PRAGMA synchronous = FULL")
        try:
            _, logged, moved = self._housekeeper.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_FULL":
                raise
            return 0  # the log has everything, and what a full disk leaves undone is done another time
        return int(max(logged, 0) if logged != moved else 0)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self.rollback()
        if self._housekeeper is not None:
            self._housekeeper.close()
        self._reader.close()
        self._connection.close()


def _sync_folder(folder: Path) -> None:
    """Make the names of new files durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
