"""The durable, append-only, single-writer event journal.

An append returns when its events are on the disk, synced. Appends that arrive while a commit is
running are collected and committed together: that is what makes thousands of acknowledgements a
second possible on a disk that syncs some hundred times. What fails after that point fails the whole
process: a sync that failed is never tried again, because the kernel may have dropped the pages and
would report success the second time (Rebello et al., "Can Applications Recover from fsync
Failures?", USENIX ATC 2020).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from servers.journal.integrity import PAGE_RECORDS, Verification, check_store, head_at
from servers.journal.record import Entry, Head, Record, RequestEffect, Snapshot, corrupt, seal_all, verify
from servers.journal.sqlite import SqliteStore
from servers.journal.store import Store, StoreFenced, StoreFull
from servers.journal.tail import Tail
from servers.model.clock import NANOS_PER_SECOND, Clock
from servers.model.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    OutOfRange,
    ResourceExhausted,
    TapelineError,
    Unavailable,
)

REQUEST_RETENTION_NANOS = 24 * 3600 * NANOS_PER_SECOND
"""How long the answer to a request id is kept, unless it is permanent."""

GROUP_ENTRIES = 4_096
"""Entries above which a group commit takes no further append."""

_COMMITS_PER_CHECKPOINT = 200
_CHECKPOINT_BACKLOG_PAGES = 16_384
_FORGET_EVERY_NANOS = 60 * NANOS_PER_SECOND


@dataclass(slots=True)
class _Append:
    entries: Sequence[Entry]
    positions: Mapping[str, int]
    snapshots: Mapping[str, Snapshot]
    done: asyncio.Future[range]


class Journal:
    """One journal, with this process as its only writer. Make it with `Journal.open`."""

    def __init__(
        self,
        store: Store,
        head: Head,
        clock: Clock,
        on_failure: Callable[[BaseException], None],
        tail_records: int,
    ) -> None:
        self._store = store
        self._head = head
        self._clock = clock
        self._on_failure = on_failure
        self._pending: list[_Append] = []
        self._pending_requests: set[str] = set()
        self._arrived = asyncio.Event()
        self._failure: BaseException | None = None
        self._is_closing = False
        self._tail = Tail(head.sequence, tail_records)
        self._commit_thread = ThreadPoolExecutor(1, thread_name_prefix="journal-commit")
        self._checkpoint_thread = ThreadPoolExecutor(1, thread_name_prefix="journal-checkpoint")
        self._checkpoint: asyncio.Future[int] | None = None
        self._checkpoint_commits = 0
        self._forgot_at_nanos = 0
        self.commits = 0
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="journal-writer")
        self._writer.add_done_callback(self._writer_ended)

    @classmethod
    async def open(
        cls,
        place: Path | Store,
        *,
        writer: str,
        clock: Clock,
        on_failure: Callable[[BaseException], None],
        check: Verification = "tail",
        tail_records: int = 65_536,
    ) -> Self:
        """Open the journal at `place`, take a new epoch, and return it ready to append.

        Args:
            place: the SQLite file, made when missing, or a store.
            writer: who writes, for people who read the file.
            clock: wall time for entries that bring none.
            on_failure: called once when the journal can no longer promise anything; it must end the
                process (`Context.fail` of the runtime).
            check: "tail" verifies the last 1,024 records before anything is appended; "full" all of
                them. `read` verifies what it reads in any case.
            tail_records: records kept in memory for followers; one that falls further behind is cut off.

        Raises Internal JOURNAL_CORRUPT when checksums, chain or head do not hold.
        """
        store = place if not isinstance(place, Path) else SqliteStore(place)
        try:
            check_store(store, check)
            head = store.take_epoch(writer)
        except BaseException:
            store.close()
            raise
        return cls(store, head, clock, on_failure, tail_records)

    # -- State ------------------------------------------------------------------------------------

    @property
    def last_sequence(self) -> int:
        """The sequence of the last committed event; 0 in an empty journal."""
        return self._head.sequence

    @property
    def epoch(self) -> int:
        """This writer's epoch."""
        return self._head.epoch

    @property
    def head(self) -> Head:
        """The committed end. Kept elsewhere, its hash proves that nothing before it was edited."""
        return self._head

    # -- Writing ----------------------------------------------------------------------------------

    async def append(
        self,
        entries: Sequence[Entry],
        *,
        positions: Mapping[str, int] | None = None,
        snapshots: Mapping[str, Snapshot] | None = None,
    ) -> range:
        """Store `entries` in order, all or none, and return their sequences once they are synced.

        `positions` (how far each followed stream was taken in) and `snapshots` are stored in the same
        transaction; with no entries they are stored alone. A caller that is cancelled while it waits
        does not take its entries back: its cancellation waits for the commit and takes effect at its next
        await, so that state which is changed right after this returns never lacks what the journal has.

        Raises AlreadyExists REQUEST_ID_REUSED for a request id that is kept already, ResourceExhausted
        DISK_FULL when nothing was stored for want of space, FailedPrecondition STALE_EPOCH when another
        writer has taken over, Internal JOURNAL_FAILED when the journal has stopped, Unavailable
        SHUTTING_DOWN after `close`.
        """
        self._raise_if_stopped()
        requests = [entry.request.request_id for entry in entries if entry.request is not None]
        for request_id in requests:
            if request_id in self._pending_requests or self.request(request_id) is not None:
                raise AlreadyExists("REQUEST_ID_REUSED", request_id=request_id)
        if len(set(requests)) != len(requests):
            raise AlreadyExists("REQUEST_ID_REUSED", "one append brings the same request id twice")
        done: asyncio.Future[range] = asyncio.get_running_loop().create_future()
        self._pending.append(_Append(entries, positions or {}, snapshots or {}, done))
        self._pending_requests.update(requests)
        self._arrived.set()
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            return await _whatever_becomes_of_the_caller(done)

    async def save_snapshot(self, name: str, sequence: int, payload: bytes) -> None:
        """Keep `payload` as the state as of `sequence`, in place of the snapshot kept under `name`."""
        await self.append((), snapshots={name: Snapshot(sequence, payload)})

    async def close(self) -> None:
        """Commit what is waiting, then release the store. Followers end."""
        if self._is_closing:
            return
        self._is_closing = True
        self._arrived.set()
        await asyncio.wait([self._writer])
        if self._checkpoint is not None:
            await asyncio.wait([self._checkpoint])
        self._tail.close()
        self._commit_thread.shutdown()
        self._checkpoint_thread.shutdown()
        self._store.close()

    # -- Reading ----------------------------------------------------------------------------------

    def page(self, after_sequence: int, limit: int = PAGE_RECORDS) -> list[Record]:
        """Return up to `limit` committed records above `after_sequence`."""
        if self._tail.holds(after_sequence):
            return self._tail.page(after_sequence, limit)
        return self._store.records(after_sequence, limit)

    async def read(self, after_sequence: int = 0, until_sequence: int | None = None) -> AsyncIterator[Record]:
        """Yield the committed records above `after_sequence`, up to the present end or `until_sequence`.

        Each one is verified: CRC, gap-free sequence and hash chain. Raises Internal JOURNAL_CORRUPT, and
        OutOfRange SEQUENCE_AHEAD when `after_sequence` is above the last one.
        """
        end = self._head.sequence if until_sequence is None else min(until_sequence, self._head.sequence)
        previous = self._head_at(after_sequence)
        while previous.sequence < end:
            records = self._store.records(previous.sequence, min(PAGE_RECORDS, end - previous.sequence))
            if not records:
                raise corrupt(previous.sequence + 1, f"record {previous.sequence + 1} is missing")
            for record in verify(records, previous):
                yield record
            previous = Head(records[-1].sequence, records[-1].hash, records[-1].epoch)
            await asyncio.sleep(0)

    async def follow(self, after_sequence: int = 0) -> AsyncIterator[Record]:
        """Yield every record above `after_sequence`, and go on with new ones as they are committed.

        Nothing is dropped: a reader that falls so far behind the live end that memory no longer holds
        its place is cut off with OutOfRange STREAM_TOO_SLOW and resumes by sequence. Raises OutOfRange
        SEQUENCE_AHEAD at once when `after_sequence` is above the last one. Ends when the journal closes.
        """
        async for records in self.follow_groups(after_sequence):
            for record in records:
                yield record

    async def follow_groups(
        self,
        after_sequence: int = 0,
        max_records: int = PAGE_RECORDS,
        wait_seconds: float | None = None,
        linger_seconds: float = 0.0,
    ) -> AsyncIterator[Sequence[Record]]:
        """Yield what `follow` yields, in lists of up to `max_records`; fewer, when that is all there is.

        With `wait_seconds`, an empty list comes after so long without a new record: the moment for a
        heartbeat. With `linger_seconds`, a list that is not full waits so long for more: a message for
        each commit costs more than what is in it.
        """
        self._refuse_ahead(after_sequence)
        sequence = after_sequence
        while not self._tail.holds(sequence):
            records = self._store.records(sequence, max_records)
            if not records:
                raise corrupt(sequence + 1, f"record {sequence + 1} is missing")
            yield records
            sequence = records[-1].sequence
            await asyncio.sleep(0)
        while True:
            if not await self._tail.wait_above(sequence, wait_seconds):
                if self._tail.is_closed:
                    return
                yield []
                continue
            if linger_seconds and self._tail.last_sequence - sequence < max_records:
                await asyncio.sleep(linger_seconds)
            if not self._tail.holds(sequence):
                raise OutOfRange("STREAM_TOO_SLOW", sequence=sequence)
            records = self._tail.page(sequence, max_records)
            sequence = records[-1].sequence
            yield records

    def request(self, request_id: str) -> RequestEffect | None:
        """Return the committed answer kept under `request_id`, unless its 24 hours have passed."""
        kept = self._store.request(request_id)
        if kept is None:
            return None
        effect, create_time_nanos = kept
        age_nanos = self._clock.now_nanos() - create_time_nanos
        return effect if effect.is_permanent or age_nanos < REQUEST_RETENTION_NANOS else None

    def position(self, source: str) -> int:
        """Return the sequence up to which the stream `source` was taken in; 0 for none."""
        return self._store.position(source)

    def load_snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot kept under `name`; None when there is none or it was thrown away."""
        return self._store.snapshot(name)

    # -- The writer -------------------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._pending:
                await self._commit_group(self._take_group())
            if self._is_closing:
                return

    def _take_group(self) -> list[_Append]:
        count = taken = 0
        for append in self._pending:
            if taken and count + len(append.entries) > GROUP_ENTRIES:
                break
            count += len(append.entries)
            taken += 1
        group, self._pending = self._pending[:taken], self._pending[taken:]
        return group

    async def _commit_group(self, group: list[_Append]) -> None:
        now_nanos = self._clock.now_nanos()
        entries = [entry for append in group for entry in append.entries]
        records = seal_all(self._head, entries, now_nanos)
        head = Head(records[-1].sequence, records[-1].hash, self._head.epoch) if records else self._head
        positions = {source: at for append in group for source, at in append.positions.items()}
        snapshots = {name: kept for append in group for name, kept in append.snapshots.items()}
        requests = [(entry.request, now_nanos) for entry in entries if entry.request is not None]
        try:
            self._forget(now_nanos)
            self._store.stage(head, records, requests, positions, snapshots)
            await asyncio.get_running_loop().run_in_executor(self._commit_thread, self._store.commit)
        except StoreFull as error:
            self._refuse(group, ResourceExhausted("DISK_FULL", str(error)))
            return
        except BaseException as error:
            self._refuse(group, _stopped_by(error))
            raise
        self._head = head
        self.commits += 1
        self._pending_requests.difference_update(effect.request_id for effect, _ in requests)
        self._tail.extend(records)
        sequence = records[0].sequence if records else head.sequence + 1
        for append in group:
            following = sequence + len(append.entries)
            if not append.done.done():
                append.done.set_result(range(sequence, following))
            sequence = following
        await self._keep_house()

    def _refuse(self, group: list[_Append], error: TapelineError) -> None:
        for append in group:
            self._pending_requests.difference_update(
                entry.request.request_id for entry in append.entries if entry.request is not None
            )
            if not append.done.done():
                append.done.set_exception(error)
                append.done.exception()  # a caller that was cancelled does not come to fetch it

    def _forget(self, now_nanos: int) -> None:
        if now_nanos - self._forgot_at_nanos >= _FORGET_EVERY_NANOS:
            self._forgot_at_nanos = now_nanos
            self._store.forget_requests(now_nanos - REQUEST_RETENTION_NANOS)

    async def _keep_house(self) -> None:
        self._checkpoint_commits += 1
        if self._checkpoint is not None and self._checkpoint.done():
            backlog_pages = self._checkpoint.result()
            self._checkpoint = None
            if backlog_pages > _CHECKPOINT_BACKLOG_PAGES:
                # The writer is always faster than its housekeeping: hold it still for once.
                await asyncio.wrap_future(self._checkpoint_thread.submit(self._store.checkpoint))
        if self._checkpoint is None and self._checkpoint_commits >= _COMMITS_PER_CHECKPOINT:
            self._checkpoint_commits = 0
            self._checkpoint = asyncio.wrap_future(self._checkpoint_thread.submit(self._store.checkpoint))

    def _writer_ended(self, writer: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if writer.cancelled() else writer.exception()
        if error is None:
            return
        self._failure = error
        waiting, self._pending = self._pending, []
        self._refuse(waiting, _stopped_by(error))
        self._tail.close()
        self._on_failure(error)

    def _raise_if_stopped(self) -> None:
        if self._failure is not None:
            raise _stopped_by(self._failure)
        if self._is_closing:
            raise Unavailable("SHUTTING_DOWN")

    def _refuse_ahead(self, after_sequence: int) -> None:
        if after_sequence > self._head.sequence:
            raise OutOfRange("SEQUENCE_AHEAD", sequence=after_sequence, last_sequence=self._head.sequence)

    def _head_at(self, sequence: int) -> Head:
        self._refuse_ahead(sequence)
        return head_at(self._store, sequence)


def _stopped_by(error: BaseException) -> TapelineError:
    if isinstance(error, StoreFenced):
        return FailedPrecondition("STALE_EPOCH", str(error))
    return Internal("JOURNAL_FAILED", f"the journal has stopped: {error}")


async def _whatever_becomes_of_the_caller(done: asyncio.Future[range]) -> range:
    """Wait for a commit in a task that was cancelled; then cancel the task again, for its next await."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError:
            task.uncancel()
    task.cancel()
    return done.result()
