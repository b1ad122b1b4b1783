"""Every crash point of a journal's life over a modelled disk, and mistakes that must not go unseen."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from servers.journal import Entry, Head, Journal, Record, RequestEffect, SqliteStore
from servers.journal.record import verify
from servers.model.clock import ManualClock
from servers.model.errors import Internal, ResourceExhausted, TapelineError
from tests.integration.journal.modelled_disk import (
    SQLITE_FULL,
    SQLITE_IOERR_FSYNC,
    ModelledDisk,
    crash_image,
    write_image,
)


@dataclass(frozen=True)
class Acknowledged:
    """What the journal had promised at one moment."""

    payloads: tuple[bytes, ...]
    requests: tuple[str, ...]
    position: int


@pytest.fixture
def disk() -> Iterator[ModelledDisk]:
    disk = ModelledDisk("modelled")
    yield disk
    disk.close()


def must_not_fail(error: BaseException) -> None:
    raise AssertionError("the journal failed") from error


async def live(store: SqliteStore, disk: ModelledDisk) -> list[bytes]:
    """Lead the life of a journal, a checkpoint and a second writer included. Return all it was given."""
    given: list[bytes] = []
    requests: list[str] = []
    position = 0
    for writer in range(2):
        journal = await Journal.open(
            store if writer == 0 else type(store)(store.path, disk.name),
            writer=f"writer-{writer}",
            clock=ManualClock(1),
            on_failure=must_not_fail,
        )
        for step in range(4):
            position += 10
            group = [f"{writer}.{step}.{row}".encode() * 40 for row in range(1 + step % 3)]
            request = f"request-{writer}-{step}"
            effect = RequestEffect(request, b"content", b"answer")
            given += group
            await journal.append(
                [Entry("event", group[0], effect), *(Entry("event", payload) for payload in group[1:])],
                positions={"source": position},
            )
            requests.append(request)
            disk.mark(Acknowledged(tuple(given), tuple(requests), position))
            if step == 1:
                store_of(journal).checkpoint()
        await journal.close()
    return given


def store_of(journal: Journal) -> SqliteStore:
    store = journal._store  # the checkpoint is the store's own business; here it is part of the script
    assert isinstance(store, SqliteStore)
    return store


def broken_promise(folder: Path, given: list[bytes], promised: Acknowledged) -> str | None:
    """Open what a crash left and return which promise does not hold."""
    try:
        store = SqliteStore(folder / "journal.db")
    except (sqlite3.Error, TapelineError) as error:
        return f"cannot be opened: {error}"
    try:
        records: list[Record] = store.records(0, 1_000)
        list(verify(records, Head()))
        head = store.head()
        payloads = [record.payload for record in records]
        if payloads != given[: len(payloads)]:
            return "holds something that was never given, or in another order"
        if tuple(payloads[: len(promised.payloads)]) != promised.payloads:
            return f"lost an acknowledged event: {len(payloads)} of {len(promised.payloads)} are left"
        if head.sequence != len(payloads):
            return "a group was stored in part"
        if any(store.request(request) is None for request in promised.requests):
            return "lost an acknowledged request"
        if store.position("source") < promised.position:
            return "lost an acknowledged position"
        asyncio.run(append_one_more(store))
    except Internal as error:
        return f"{error.reason}: {error.message}"
    except sqlite3.Error as error:
        return f"cannot be read: {error}"
    finally:
        store.close()
    return None


async def append_one_more(store: SqliteStore) -> None:
    journal = await Journal.open(
        store, writer="after", clock=ManualClock(2), on_failure=must_not_fail, check="full"
    )
    await journal.append([Entry("event", b"after the crash")])
    await journal.close()


Survivors = Literal["none", "all", "some"]
FATES: list[tuple[Survivors, int]] = [("none", 0), ("all", 0), ("some", 1), ("some", 2)]


def first_broken_promise(disk: ModelledDisk, given: list[bytes], folder: Path) -> str | None:
    """Crash after every operation, with every fate of what was not synced."""
    promised = Acknowledged((), (), 0)
    crashes = 0
    for point, operation in enumerate(disk.operations, 1):
        if operation.kind == "mark":
            promised = operation.mark
        for survivors, seed in FATES:
            if operation.kind in ("create", "sync") and survivors != "none":
                continue
            image = crash_image(disk.operations[:point], survivors, seed * 1_000_003 + point)
            if not image.get("journal.db"):
                if promised.payloads:
                    return "the file is gone"
                continue
            crashes += 1
            place = folder / f"{point}-{survivors}-{seed}"
            write_image(image, place)
            if broken := broken_promise(place, given, promised):
                return f"crash after operation {point} ({operation.kind} {operation.file}): {broken}"
    assert crashes > 200, "the recording is too short to mean anything"
    return None


async def test_no_crash_breaks_a_promise(disk: ModelledDisk, tmp_path: Path) -> None:
    given = await live(SqliteStore(tmp_path / "journal.db", disk.name), disk)
    assert await asyncio.to_thread(first_broken_promise, disk, given, tmp_path / "crashes") is None


class NeverSyncs(SqliteStore):
    """Planted: the log is not synced."""

    def _configure(self, connection: sqlite3.Connection) -> None:
        super()._configure(connection)
        connection.execute("PRAGMA synchronous = OFF")


class SyncsAtCheckpoints(SqliteStore):
    """Planted: the log is synced by checkpoints alone."""

    def _configure(self, connection: sqlite3.Connection) -> None:
        super()._configure(connection)
        connection.execute("PRAGMA synchronous = NORMAL")


class AnswersTooEarly(SqliteStore):
    """Planted: acknowledges before it commits. The commit comes with the next one."""

    def commit(self) -> None:
        self._is_late = True

    def stage(self, *args: object) -> None:
        if getattr(self, "_is_late", False):
            super().commit()
        super().stage(*args)  # type: ignore[arg-type]  # passed on as they came

    def close(self) -> None:
        super().commit()
        super().close()


class ForgetsTheChain(SqliteStore):
    """Planted: a record does not carry the hash of the one before it."""

    def stage(self, head: Head, records: list[Record], *rest: object) -> None:  # type: ignore[override]
        records = [record._replace(hash=bytes(32)) for record in records]
        super().stage(head, records, *rest)  # type: ignore[arg-type]


class StoresInParts(SqliteStore):
    """Planted: positions are committed apart from the events that they belong to."""

    def stage(self, head, records, requests, positions, snapshots) -> None:  # type: ignore[no-untyped-def]
        super().stage(head, records[:1], requests, positions, snapshots)
        if len(records) > 1:
            super().commit()
            super().stage(head, records[1:], [], {}, {})


@pytest.mark.parametrize(
    ("mistake", "seen_as"),
    [
        (NeverSyncs, "lost|cannot|CORRUPT|gone|in part|never given"),
        (SyncsAtCheckpoints, "lost an acknowledged event"),
        (AnswersTooEarly, "lost an acknowledged event"),
        (ForgetsTheChain, "JOURNAL_CORRUPT"),
        (StoresInParts, "in part"),
    ],
)
async def test_a_planted_mistake_is_seen(
    mistake: type[SqliteStore], seen_as: str, disk: ModelledDisk, tmp_path: Path
) -> None:
    store = mistake(tmp_path / "journal.db", disk.name)
    given: list[bytes] = []
    try:
        given = await live(store, disk)
    except Internal as error:
        broken: str | None = f"{error.reason}: {error.message}"
    else:
        broken = await asyncio.to_thread(first_broken_promise, disk, given, tmp_path / "crashes")
    assert broken is not None
    assert any(word in broken for word in seen_as.split("|")), broken


async def test_a_failed_sync_stops_the_journal_and_is_not_tried_again(
    disk: ModelledDisk, tmp_path: Path
) -> None:
    failures: list[BaseException] = []
    journal = await Journal.open(
        SqliteStore(tmp_path / "journal.db", disk.name),
        writer="orders",
        clock=ManualClock(1),
        on_failure=failures.append,
    )
    await journal.append([Entry("event", b"one")])
    syncs: list[str] = []

    def fail_once(operation: str, file: str) -> int:
        if operation != "sync":
            return 0
        syncs.append(file)
        return SQLITE_IOERR_FSYNC if len(syncs) == 1 else 0

    disk.fail = fail_once
    with pytest.raises(Internal) as refused:
        await journal.append([Entry("event", b"two")])
    assert refused.value.reason == "JOURNAL_FAILED"
    assert len(failures) == 1
    with pytest.raises(Internal):
        await journal.append([Entry("event", b"three")])
    assert syncs == ["journal.db-wal"]
    assert journal.last_sequence == 1
    await journal.close()


async def test_a_full_disk_is_refused_clearly_and_passes_when_there_is_space_again(
    disk: ModelledDisk, tmp_path: Path
) -> None:
    journal = await Journal.open(
        SqliteStore(tmp_path / "journal.db", disk.name),
        writer="orders",
        clock=ManualClock(1),
        on_failure=must_not_fail,
    )
    await journal.append([Entry("event", b"one")])
    disk.fail = lambda operation, file: SQLITE_FULL if operation == "write" else 0
    with pytest.raises(ResourceExhausted) as refused:
        await journal.append([Entry("event", b"two", RequestEffect("two", b"content"))])
    assert refused.value.reason == "DISK_FULL"
    assert journal.request("two") is None
    disk.fail = None
    assert await journal.append([Entry("event", b"two", RequestEffect("two", b"content"))]) == range(2, 3)
    assert [record.payload async for record in journal.read()] == [b"one", b"two"]
    await journal.close()
