"""The journal over memory when something fails: a commit, a writer, the disk, a caller."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest

from servers.journal import Entry, MemoryDisk, MemoryStore, RequestEffect
from servers.journal.sqlite import SqliteStore
from servers.model.errors import (
    FailedPrecondition,
    Internal,
    ResourceExhausted,
    Unavailable,
)
from tests.unit.journal.conftest import OpenJournal, SlowStore, collect, entries


async def test_a_caller_that_is_cancelled_hears_why_its_commit_failed(
    open_journal: OpenJournal, disk: MemoryDisk
) -> None:
    store = SlowStore(disk)
    journal = await open_journal(store=store)
    first = asyncio.create_task(journal.append(entries("a")))
    await asyncio.to_thread(store.is_committing.wait, 10)
    caller = asyncio.create_task(journal.append(entries("b")))
    await asyncio.sleep(0)
    caller.cancel()
    disk.failing_commits.append(OSError("the disk is gone"))
    store.may_commit.set()
    with pytest.raises(Internal) as failed:
        await caller
    assert failed.value.reason == "JOURNAL_FAILED"
    await asyncio.gather(first, return_exceptions=True)


async def test_a_stale_writer_is_refused_and_stopped(
    open_journal: OpenJournal, failures: list[BaseException]
) -> None:
    old = await open_journal()
    new = await open_journal()
    with pytest.raises(FailedPrecondition) as refused:
        await old.append(entries("a"))
    assert refused.value.reason == "STALE_EPOCH"
    assert len(failures) == 1
    with pytest.raises(FailedPrecondition):
        await old.append(entries("b"))
    assert await new.append(entries("c")) == range(1, 2)


async def test_a_failed_commit_stops_the_journal_and_everybody_who_waits(
    open_journal: OpenJournal, disk: MemoryDisk, failures: list[BaseException]
) -> None:
    store = SlowStore(disk)
    journal = await open_journal(store=store)
    disk.failing_commits.append(OSError("sync failed"))
    reader = asyncio.create_task(collect(journal.follow(), 1))
    waiting = [asyncio.create_task(journal.append(entries("a")))]
    await asyncio.to_thread(store.is_committing.wait, 10)
    waiting.append(asyncio.create_task(journal.append(entries("b"))))
    await asyncio.sleep(0)
    store.may_commit.set()
    for append in waiting:
        with pytest.raises(Internal) as refused:
            await append
        assert refused.value.reason == "JOURNAL_FAILED"
    assert [str(failure) for failure in failures] == ["sync failed"]
    assert await reader == []
    with pytest.raises(Internal):
        await journal.append(entries("c"))
    assert disk.records == []


async def test_a_writer_that_is_cancelled_takes_the_process_with_it(
    open_journal: OpenJournal, failures: list[BaseException]
) -> None:
    journal = await open_journal()
    await journal.append(entries("a"))
    (writer,) = [task for task in asyncio.all_tasks() if task.get_name() == "journal-writer"]
    writer.cancel()
    await asyncio.wait([writer])
    with pytest.raises(Internal):
        await journal.append(entries("b"))
    assert [type(failure) for failure in failures] == [asyncio.CancelledError]


async def test_a_full_disk_refuses_and_goes_on(
    open_journal: OpenJournal, disk: MemoryDisk, failures: list[BaseException]
) -> None:
    journal = await open_journal()
    disk.capacity_bytes = 3
    with pytest.raises(ResourceExhausted) as refused:
        await journal.append([Entry("event", b"four", RequestEffect("id", b""))])
    assert refused.value.reason == "DISK_FULL"
    assert await journal.append([Entry("event", b"abc", RequestEffect("id", b""))]) == range(1, 2)
    assert failures == []


async def test_nothing_is_appended_after_close(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    last = asyncio.create_task(journal.append(entries("a")))
    await asyncio.sleep(0)
    await journal.close()
    assert await last == range(1, 2)
    with pytest.raises(Unavailable):
        await journal.append(entries("b"))


class BusyHouse(MemoryStore):
    """A store that always has more housekeeping to do than it can."""

    checkpoints = 0

    def checkpoint(self) -> int:
        self.checkpoints += 1
        return 1_000_000


async def test_a_writer_that_outruns_its_housekeeping_is_held(
    open_journal: OpenJournal, disk: MemoryDisk
) -> None:
    store = BusyHouse(disk)
    journal = await open_journal(store=store)
    for _ in range(450):
        await journal.append(entries("a"))
    await journal.close()
    assert store.checkpoints >= 3


class Housekeeper:
    """A connection whose disk fails."""

    def __init__(self, name: str) -> None:
        self._error = sqlite3.OperationalError("disk I/O error")
        self._error.sqlite_errorname = name

    def execute(self, statement: str) -> None:
        raise self._error

    def close(self) -> None:
        pass


def test_a_checkpoint_without_space_is_left_for_another_time(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.journal")
    store._housekeeper = cast(Any, Housekeeper("SQLITE_FULL"))
    assert store.checkpoint() == 0
    store._housekeeper = cast(Any, Housekeeper("SQLITE_IOERR"))
    with pytest.raises(sqlite3.OperationalError):
        store.checkpoint()
    store.close()
