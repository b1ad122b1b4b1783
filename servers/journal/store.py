"""The port between the journal and the database that keeps it.

It is small on purpose: a second database (PostgreSQL) has to provide these calls and pass
`tests/integration/journal/test_store.py`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from servers.journal.record import Head, Record, RequestEffect, Snapshot


class StoreFull(Exception):
    """Raise when no space is left. The transaction was rolled back; nothing of it is stored."""


class StoreFenced(Exception):
    """Raise when another writer has taken a newer epoch. Nothing was stored."""


class Store(Protocol):
    """A place that keeps one journal. All calls but `commit` and `checkpoint` come from one thread.

    A transaction is `stage`, then `commit` or `rollback`. Any exception but StoreFull and StoreFenced
    means that the state of the disk is unknown: the journal then stops for good.
    """

    def take_epoch(self, writer: str) -> Head:
        """Store a new epoch, above all earlier ones, for `writer`; return the head with it."""
        ...

    def stage(
        self,
        head: Head,
        records: Sequence[Record],
        requests: Sequence[tuple[RequestEffect, int]],
        positions: Mapping[str, int],
        snapshots: Mapping[str, Snapshot],
    ) -> None:
        """Begin a transaction that writes all of this and moves the head to `head`.

        `requests` come with their time in nanoseconds. Raises StoreFenced when `head.epoch` is not
        the store's newest.
        """
        ...

    def commit(self) -> None:
        """Commit what was staged and return when it is durable. Runs in a thread of its own."""
        ...

    def rollback(self) -> None:
        """Drop what was staged."""
        ...

    def head(self) -> Head:
        """Return the committed end of the journal."""
        ...

    def records(self, after_sequence: int, limit: int) -> list[Record]:
        """Return up to `limit` committed records above `after_sequence`, in order."""
        ...

    def request(self, request_id: str) -> tuple[RequestEffect, int] | None:
        """Return the effect kept under `request_id`, and its time in nanoseconds."""
        ...

    def forget_requests(self, before_nanos: int) -> None:
        """Let the next commit remove requests older than this, the permanent ones excepted."""
        ...

    def position(self, source: str) -> int:
        """Return the sequence up to which the stream `source` was taken in; 0 for none."""
        ...

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot kept under `name`."""
        ...

    def checkpoint(self) -> int:
        """Do the store's housekeeping, in a thread of its own, beside commits.

        Return how many pages still wait for it, so that the journal can pause a writer that is always
        faster; 0 when all is done.
        """
        ...

    def close(self) -> None:
        """Release files and connections. A second call does nothing."""
        ...
