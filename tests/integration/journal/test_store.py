"""One suite for every place that a journal can lie."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servers.journal import Entry, Head, MemoryDisk, MemoryStore, RequestEffect, Snapshot, SqliteStore, Store
from servers.journal.record import seal_all
from servers.journal.store import StoreFenced
from servers.model.errors import Internal

Reopen = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Give a function that opens the same store again, as another process would."""
    opened: list[Store] = []
    disk = MemoryDisk()

    def open_store() -> Store:
        memory = request.param == "memory"
        store: Store = MemoryStore(disk) if memory else SqliteStore(tmp_path / "journal.db")
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        store.close()


def write(store: Store, head: Head, *payloads: bytes, **others: object) -> Head:
    records = seal_all(head, [Entry("event", payload) for payload in payloads], now_nanos=7)
    after = Head(records[-1].sequence, records[-1].hash, head.epoch) if records else head
    store.stage(
        after,
        records,
        others.get("requests", ()),  # type: ignore[arg-type]  # as each test gives them
        others.get("positions", {}),  # type: ignore[arg-type]
        others.get("snapshots", {}),  # type: ignore[arg-type]
    )
    store.commit()
    return after


def test_an_empty_store_has_nothing(reopen: Reopen) -> None:
    store = reopen()
    assert store.head().sequence == 0
    assert store.records(0, 10) == []
    assert store.request("none") is None
    assert store.position("none") == 0
    assert store.snapshot("none") is None


def test_everything_of_one_transaction_is_there_after_it(reopen: Reopen) -> None:
    store = reopen()
    effect = RequestEffect("id", b"content", b"answer", is_permanent=True)
    head = write(
        store,
        store.take_epoch("one"),
        b"a",
        b"",
        requests=[(effect, 5)],
        positions={"orders": 12},
        snapshots={"state": Snapshot(2, b"state")},
    )
    again = reopen()
    assert again.head() == head
    assert [record.payload for record in again.records(0, 10)] == [b"a", b""]
    assert [record.sequence for record in again.records(1, 10)] == [2]
    assert again.records(0, 1)[0].create_time_nanos == 7
    assert again.request("id") == (effect, 5)
    assert again.position("orders") == 12
    assert again.snapshot("state") == Snapshot(2, b"state")


def test_what_was_staged_is_not_read_before_its_commit(reopen: Reopen) -> None:
    store = reopen()
    head = store.take_epoch("one")
    records = seal_all(head, [Entry("event", b"a")], 1)
    effect = RequestEffect("id", b"content")
    after = Head(1, records[0].hash, head.epoch)
    store.stage(after, records, [(effect, 1)], {"orders": 1}, {"state": Snapshot(1, b"state")})
    assert store.records(0, 10) == []
    assert store.head() == head
    assert store.request("id") is None
    assert store.position("orders") == 0
    assert store.snapshot("state") is None
    store.rollback()
    assert store.head() == head
    assert write(store, head, b"b").sequence == 1


def test_each_writer_gets_a_newer_epoch_and_the_older_one_is_refused(reopen: Reopen) -> None:
    old, new = reopen(), reopen()
    old_head = write(old, old.take_epoch("old"), b"a")
    new_head = new.take_epoch("new")
    assert new_head.epoch == old_head.epoch + 1
    assert (new_head.sequence, new_head.hash) == (old_head.sequence, old_head.hash)
    with pytest.raises(StoreFenced):
        write(old, old_head, b"b")
    write(new, new_head, b"c")
    assert [record.payload for record in reopen().records(0, 10)] == [b"a", b"c"]


def test_old_requests_are_forgotten_with_the_next_commit_and_permanent_ones_are_not(reopen: Reopen) -> None:
    store = reopen()
    kept = RequestEffect("for ever", b"x", is_permanent=True)
    old, young = RequestEffect("old", b"x"), RequestEffect("young", b"x")
    head = write(store, store.take_epoch("one"), b"a", requests=[(kept, 1), (old, 1), (young, 9)])
    store.forget_requests(before_nanos=5)
    assert store.request("old") is not None
    write(store, head, b"b")
    assert store.request("old") is None
    assert store.request("young") == (young, 9)
    assert store.request("for ever") == (kept, 1)


def test_a_later_position_and_snapshot_replace_the_earlier_ones(reopen: Reopen) -> None:
    store = reopen()
    head = store.take_epoch("one")
    write(store, head, positions={"orders": 1}, snapshots={"state": Snapshot(1, b"a")})
    write(store, head, positions={"orders": 2}, snapshots={"state": Snapshot(2, b"b")})
    assert store.position("orders") == 2
    assert store.snapshot("state") == Snapshot(2, b"b")


def test_housekeeping_keeps_everything(reopen: Reopen) -> None:
    store = reopen()
    head = write(store, store.take_epoch("one"), b"a")
    assert store.checkpoint() == 0
    write(store, head, b"b")
    assert len(reopen().records(0, 10)) == 2
    store.close()
    store.close()


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"this is not a database, however long it may be" * 30)
    with pytest.raises(Internal) as refused:
        SqliteStore(tmp_path / "journal.db")
    assert refused.value.reason == "JOURNAL_CORRUPT"


def test_a_journal_of_a_later_layout_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "journal.db").close()
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Internal, match="layout 99"):
        SqliteStore(tmp_path / "journal.db")


def test_a_place_without_a_write_ahead_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Internal, match="write-ahead log"):
        SqliteStore(tmp_path / "journal.db", vfs="unix-none")  # a VFS without shared memory


async def test_commits_wait_in_a_thread_and_readers_do_not(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "journal.db")
    head = store.take_epoch("one")
    records = seal_all(head, [Entry("event", b"a")], 1)
    store.stage(Head(1, records[0].hash, head.epoch), records, (), {}, {})
    commit = asyncio.create_task(asyncio.to_thread(store.commit))
    assert len(store.records(0, 10)) in (0, 1)
    await commit
    assert len(store.records(0, 10)) == 1
    store.close()
