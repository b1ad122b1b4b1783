"""The journal over memory: grouping, reading, following, noticing edits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.journal import Entry, Head, MemoryDisk, Record, RequestEffect
from servers.journal.integrity import PAGE_RECORDS
from servers.journal.journal import GROUP_ENTRIES, REQUEST_RETENTION_NANOS
from servers.journal.record import seal_all, verify
from servers.model.clock import ManualClock
from servers.model.errors import (
    AlreadyExists,
    Internal,
    OutOfRange,
)
from tests.unit.journal.conftest import OpenJournal, SlowStore, collect, entries


async def test_appended_events_are_read_back_in_order(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    assert await journal.append(entries("a", "b")) == range(1, 3)
    assert await journal.append(entries("c")) == range(3, 4)
    records = [record async for record in journal.read()]
    assert [record.payload for record in records] == [b"a", b"b", b"c"]
    assert {record.epoch for record in records} == {journal.epoch}
    assert records[0].create_time_nanos == 1_000
    assert [record.sequence async for record in journal.read(1, until_sequence=2)] == [2]
    assert journal.last_sequence == 3
    assert journal.head.hash == records[-1].hash


async def test_an_entry_may_bring_its_own_time(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    await journal.append([Entry("event", b"a", create_time_nanos=77)])
    assert journal.page(0)[0].create_time_nanos == 77


async def test_appends_that_arrive_during_a_commit_share_the_next_one(
    open_journal: OpenJournal, disk: MemoryDisk
) -> None:
    store = SlowStore(disk)
    journal = await open_journal(store=store)
    first = asyncio.create_task(journal.append(entries("first")))
    await asyncio.to_thread(store.is_committing.wait, 10)
    others = [asyncio.create_task(journal.append(entries(f"{n}", "and more"))) for n in range(50)]
    await asyncio.sleep(0)
    assert not first.done()
    store.may_commit.set()
    assert await first == range(1, 2)
    assert [await other for other in others] == [range(2 + 2 * n, 4 + 2 * n) for n in range(50)]
    assert disk.commits == 2


async def test_a_group_is_bounded(open_journal: OpenJournal, disk: MemoryDisk) -> None:
    store = SlowStore(disk)
    journal = await open_journal(store=store)
    many = entries(*["x"] * (GROUP_ENTRIES // 2 + 1))
    waiting = [asyncio.create_task(journal.append(many)) for _ in range(3)]
    await asyncio.to_thread(store.is_committing.wait, 10)
    store.may_commit.set()
    await asyncio.gather(*waiting)
    assert disk.commits == 3


async def test_a_caller_that_is_cancelled_during_its_commit_still_takes_in_what_was_committed(
    open_journal: OpenJournal, disk: MemoryDisk
) -> None:
    store = SlowStore(disk)
    journal = await open_journal(store=store)
    taken: list[range] = []
    went_on = False

    async def call() -> None:
        nonlocal went_on
        taken.append(await journal.append(entries("a")))
        await asyncio.sleep(0)
        went_on = True

    caller = asyncio.create_task(call())
    await asyncio.to_thread(store.is_committing.wait, 10)
    for _ in range(3):  # however often it is told
        caller.cancel()
        await asyncio.sleep(0)
    assert not caller.done()
    store.may_commit.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert taken == [range(1, 2)]
    assert not went_on
    assert await journal.append(entries("b")) == range(2, 3)


async def test_the_answer_to_a_request_is_kept_for_24_hours(
    open_journal: OpenJournal, clock: ManualClock
) -> None:
    journal = await open_journal()
    effect, for_ever = (
        RequestEffect("id", b"content", b"answer"),
        RequestEffect("for ever", b"c", is_permanent=True),
    )
    await journal.append([Entry("event", b"a", effect), Entry("event", b"b", for_ever)])
    assert journal.request("id") == effect
    with pytest.raises(AlreadyExists) as refused:
        await journal.append([Entry("event", b"again", RequestEffect("id", b"other"))])
    assert refused.value.reason == "REQUEST_ID_REUSED"
    clock.advance(clock.now_nanos() + REQUEST_RETENTION_NANOS)
    assert journal.request("id") is None
    assert journal.request("for ever") == for_ever
    await journal.append([Entry("event", b"again", RequestEffect("id", b"other"))])
    assert journal.last_sequence == 3


async def test_a_request_id_that_is_being_committed_is_taken(
    open_journal: OpenJournal, disk: MemoryDisk
) -> None:
    store = SlowStore(disk)
    journal = await open_journal(store=store)
    first = asyncio.create_task(journal.append([Entry("event", b"a", RequestEffect("id", b"content"))]))
    await asyncio.to_thread(store.is_committing.wait, 10)
    with pytest.raises(AlreadyExists):
        await journal.append([Entry("event", b"b", RequestEffect("id", b"content"))])
    with pytest.raises(AlreadyExists):
        await journal.append([Entry("event", b"c", RequestEffect("twice", b""))] * 2)
    store.may_commit.set()
    await first


async def test_state_and_sequence_of_a_followed_stream_go_together(
    open_journal: OpenJournal, disk: MemoryDisk
) -> None:
    journal = await open_journal()
    await journal.append(entries("fill"), positions={"orders": 12})
    await journal.append((), positions={"orders": 15})
    await journal.save_snapshot("state", 15, b"state")
    await journal.close()
    again = await open_journal()
    assert again.position("orders") == 15
    snapshot = again.load_snapshot("state")
    assert snapshot is not None
    assert (snapshot.sequence, snapshot.payload) == (15, b"state")
    assert again.load_snapshot("other") is None
    assert again.last_sequence == 1


async def test_a_follower_gets_what_was_and_then_what_comes(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    await journal.append(entries("a", "b", "c"))
    await journal.close()
    journal = await open_journal()
    reader = asyncio.create_task(collect(journal.follow(1), 4))
    await journal.append(entries("d"))
    await journal.append(entries("e"))
    assert await asyncio.wait_for(reader, 10) == [2, 3, 4, 5]


async def test_a_follower_ends_when_the_journal_closes(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    await journal.append(entries("a"))
    reader = asyncio.create_task(collect(journal.follow(), 100))
    await asyncio.sleep(0)
    await journal.close()
    assert await asyncio.wait_for(reader, 10) == [1]


async def test_a_quiet_journal_gives_heartbeats(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    groups = journal.follow_groups(0, wait_seconds=0.001)
    assert await anext(groups) == []
    await journal.append(entries("a"))
    async for group in groups:
        if group:
            assert [record.sequence for record in group] == [1]
            break


async def test_a_follower_that_falls_behind_is_cut_off_and_resumes(open_journal: OpenJournal) -> None:
    journal = await open_journal(tail_records=4)
    reader = journal.follow()
    await journal.append(entries("0"))
    assert (await anext(reader)).sequence == 1
    for step in range(20):
        await journal.append(entries(str(step)))
    with pytest.raises(OutOfRange) as cut_off:
        await anext(reader)
    assert cut_off.value.reason == "STREAM_TOO_SLOW"
    assert await collect(journal.follow(1), 20) == list(range(2, 22))


async def test_reading_above_the_end_is_refused(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    with pytest.raises(OutOfRange) as refused:
        await anext(journal.follow(1))
    assert refused.value.reason == "SEQUENCE_AHEAD"
    with pytest.raises(OutOfRange):
        await anext(journal.read(1))


async def test_pages_come_from_memory_and_from_the_store(open_journal: OpenJournal) -> None:
    journal = await open_journal(tail_records=4)
    for step in range(20):
        await journal.append(entries(str(step)))
    assert [record.sequence for record in journal.page(0, 3)] == [1, 2, 3]
    assert [record.sequence for record in journal.page(18, 30)] == [19, 20]


async def test_a_long_journal_is_read_whole(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    await journal.append(entries(*["x"] * (2 * PAGE_RECORDS + 1)))
    assert len([record async for record in journal.read()]) == 2 * PAGE_RECORDS + 1


def tampered(disk: MemoryDisk, index: int, **changes: object) -> None:
    disk.records[index] = disk.records[index]._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "edit",
    [
        lambda disk: tampered(disk, 3, payload=b"edited"),
        lambda disk: tampered(disk, 3, create_time_nanos=1),
        lambda disk: tampered(disk, 3, hash=bytes(32)),
        lambda disk: disk.records.pop(3),
        lambda disk: disk.records.pop(),
        lambda disk: disk.records.append(disk.records[-1]),
        lambda disk: disk.records.reverse(),
        lambda disk: disk.records.clear(),
        lambda disk: setattr(disk, "head", Head(3, bytes(32), disk.head.epoch)),
    ],
)
async def test_an_edited_journal_is_detected(
    edit: Callable[[MemoryDisk], None], open_journal: OpenJournal, disk: MemoryDisk
) -> None:
    journal = await open_journal()
    await journal.append(entries("a", "b", "c", "d", "e"))
    await journal.close()
    edit(disk)
    with pytest.raises(Internal) as refused:
        await open_journal(check="full")
    assert refused.value.reason == "JOURNAL_CORRUPT"


async def test_an_edit_before_the_checked_end_is_detected_by_reading(
    open_journal: OpenJournal, disk: MemoryDisk
) -> None:
    journal = await open_journal()
    await journal.append(entries(*["x"] * 1_500))
    await journal.close()
    tampered(disk, 3, payload=b"edited")
    journal = await open_journal(check="tail")
    with pytest.raises(Internal):
        assert [record async for record in journal.read()]
    del disk.records[700:]
    with pytest.raises(Internal):
        assert [record async for record in journal.read(600)]


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(0, 2**40))
def test_a_sealed_run_verifies_and_any_changed_byte_does_not(payloads: list[bytes], now_nanos: int) -> None:
    records = seal_all(Head(), [Entry("kind", payload) for payload in payloads], now_nanos)
    assert list(verify(records, Head())) == records
    for index, record in enumerate(records):
        changed: Sequence[Record] = [
            *records[:index],
            record._replace(payload=record.payload + b"\0"),
            *records[index + 1 :],
        ]
        with pytest.raises(Internal):
            list(verify(changed, Head()))


def test_a_record_of_an_older_writer_after_a_newer_one_is_corrupt() -> None:
    new = seal_all(Head(epoch=2), [Entry("kind", b"a")], 1)
    old = seal_all(Head(1, new[0].hash, 1), [Entry("kind", b"b")], 1)
    with pytest.raises(Internal, match="replaced"):
        list(verify([*new, *old], Head()))
