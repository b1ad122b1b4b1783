"""Snapshots in parts: what comes back is what was saved last and whole, or nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from servers.journal import Journal, MemoryDisk, MemoryStore, Snapshot
from servers.journal.parts import Image, Kept, PartedSnapshot, SnapshotBroken, SnapshotKeeper
from servers.journal.store import StoreFull
from servers.model.errors import ResourceExhausted
from tests.unit.journal.conftest import OpenJournal, entries

PART_ROWS = 2


def parted(journal: Journal, version: int = 1) -> PartedSnapshot:
    return PartedSnapshot(journal, "state", version, PART_ROWS)


def image(sequence: int, rows: list[int], changed: set[int] | None = None) -> Image:
    parts = range(-(-len(rows) // PART_ROWS)) if changed is None else changed
    return Image(
        sequence,
        {"total": sum(rows)},
        {"numbers": len(rows)},
        {("numbers", part): partial(list, rows[part * PART_ROWS : (part + 1) * PART_ROWS]) for part in parts},
    )


def broken() -> list[Any]:
    raise RuntimeError("the process ends here")


@dataclass
class Numbers:
    """A state: one row for each event."""

    sequence: int = 0
    rows: list[int] = field(default_factory=list)
    given_back: int = 0
    is_readable: bool = True

    def capture(self) -> Image:
        return image(self.sequence, list(self.rows))

    def give_back(self, image: Image) -> None:
        self.given_back += 1

    def restore(self, kept: Kept) -> None:
        if not self.is_readable:
            raise SnapshotBroken("no")
        self.sequence, self.rows = kept.sequence, kept.rows["numbers"]


@pytest.fixture
def log() -> LogCapture:
    return LogCapture()


def keeper(journal: Journal, state: Numbers, log: LogCapture, events: int = 1) -> SnapshotKeeper:
    logger = structlog.wrap_logger(
        structlog.ReturnLogger(), [log], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    return SnapshotKeeper(parted(journal), state, events, logger)


async def eventually(condition: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    ends = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < ends, "did not happen in time"
        await asyncio.sleep(0.002)


# -- One snapshot -------------------------------------------------------------------------------------


async def test_what_was_saved_comes_back(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    assert parted(journal).load() is None
    await journal.append(entries("a", "b"))
    await parted(journal).save(image(2, [1, 2, 3]))
    kept = parted(journal).load()
    assert kept == Kept(2, {"total": 6}, {"numbers": [1, 2, 3]})


async def test_a_save_writes_only_what_changed_and_keeps_the_rest(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    await journal.append(entries("a", "b"))
    snapshot = parted(journal)
    rows = [1, 2, 3, 4, 5]
    await snapshot.save(image(1, rows), share=1.0)
    commits = journal.commits
    rows[3] = 40
    await snapshot.save(image(2, rows, changed={1}), share=1.0)
    assert journal.commits == commits + 2  # the part, the manifest
    kept = parted(journal).load()
    assert kept is not None
    assert kept.rows["numbers"] == [1, 2, 3, 40, 5]


@pytest.mark.parametrize("ends_at", [0, 1, 2])
async def test_a_save_that_is_cut_short_leaves_the_one_before(
    open_journal: OpenJournal, ends_at: int
) -> None:
    journal = await open_journal()
    await journal.append(entries("a", "b"))
    await parted(journal).save(image(1, [1, 2, 3, 4, 5]))
    for _ in range(2):  # the second time over what the first left behind
        later = parted(journal)
        assert later.load() is not None
        cut = image(2, [10, 20, 30, 40, 50])
        cut.parts["numbers", ends_at] = broken  # type: ignore[index]  # a dict, here
        with pytest.raises(RuntimeError):
            await later.save(cut)
        kept = parted(journal).load()
        assert kept == Kept(1, {"total": 15}, {"numbers": [1, 2, 3, 4, 5]})


async def test_a_list_may_get_shorter(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    await journal.append(entries("a", "b", "c"))
    snapshot = parted(journal)
    for sequence, rows in enumerate(([1, 2, 3, 4, 5], [9], [7, 8, 9]), 1):
        await snapshot.save(image(sequence, rows))
        kept = parted(journal).load()
        assert kept is not None
        assert kept.rows["numbers"] == rows


@pytest.mark.parametrize("name", ["state", "state/numbers/0/0", "state/numbers/1/0"])
@pytest.mark.parametrize("at", [0, -1])
async def test_one_flipped_bit_breaks_it(
    open_journal: OpenJournal, disk: MemoryDisk, name: str, at: int
) -> None:
    journal = await open_journal()
    await journal.append(entries("a"))
    await parted(journal).save(image(1, [1, 2, 3]))
    damaged = bytearray(disk.snapshots[name].payload)
    damaged[at] ^= 1
    disk.snapshots[name] = Snapshot(1, bytes(damaged))
    with pytest.raises(SnapshotBroken):
        parted(journal).load()


async def test_a_missing_part_breaks_it(open_journal: OpenJournal, disk: MemoryDisk) -> None:
    journal = await open_journal()
    await journal.append(entries("a"))
    await parted(journal).save(image(1, [1, 2, 3]))
    del disk.snapshots["state/numbers/1/0"]
    with pytest.raises(SnapshotBroken, match="part 1 of numbers"):
        parted(journal).load()


async def test_one_of_another_version_breaks_it(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    await journal.append(entries("a"))
    await parted(journal).save(image(1, [1, 2, 3]))
    with pytest.raises(SnapshotBroken, match="version"):
        parted(journal, version=2).load()


@pytest.mark.parametrize("events", [[], ["b"], ["b", "a"]])
async def test_one_of_another_journal_breaks_it(
    open_journal: OpenJournal, disk: MemoryDisk, events: list[str]
) -> None:
    journal = await open_journal()
    await journal.append(entries("a"))
    await parted(journal).save(image(1, [1, 2, 3]))
    other = MemoryDisk()
    other.snapshots.update(disk.snapshots)
    foreign = await open_journal(store=MemoryStore(other))
    if events:
        await foreign.append(entries(*events))
    with pytest.raises(SnapshotBroken, match="does not belong"):
        parted(foreign).load()


async def test_rows_that_are_missing_break_it(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    await journal.append(entries("a"))
    wrong = image(1, [1, 2, 3])
    wrong.parts["numbers", 1] = list  # type: ignore[index]  # a dict, here
    await parted(journal).save(wrong)
    with pytest.raises(SnapshotBroken, match="2 rows, not 3"):
        parted(journal).load()


# -- The keeper ---------------------------------------------------------------------------------------


async def test_the_keeper_saves_when_enough_came_and_restores(
    open_journal: OpenJournal, log: LogCapture
) -> None:
    journal = await open_journal()
    state = Numbers()
    kept = keeper(journal, state, log, events=2)
    assert kept.restore() == 0
    running = asyncio.create_task(kept.run())
    await journal.append(entries("a", "b"))
    state.sequence, state.rows = 2, [1, 2]
    await eventually(lambda: kept.saved_sequence == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    again = Numbers()
    assert keeper(journal, again, log).restore() == 2
    assert again.rows == [1, 2]
    assert log.entries == []


async def test_the_keeper_saves_at_the_stop_what_is_new(open_journal: OpenJournal, log: LogCapture) -> None:
    journal = await open_journal()
    await journal.append(entries("a"))
    state = Numbers(1, [1])
    kept = keeper(journal, state, log, events=100)
    await kept.close()
    commits = journal.commits
    await kept.close()
    assert journal.commits == commits
    assert keeper(journal, Numbers(), log).restore() == 1


@pytest.mark.parametrize("is_readable", [True, False])
async def test_the_keeper_ignores_what_cannot_be_used_and_says_so(
    open_journal: OpenJournal, disk: MemoryDisk, log: LogCapture, is_readable: bool
) -> None:
    journal = await open_journal()
    await journal.append(entries("a"))
    await keeper(journal, Numbers(1, [1]), log).close()
    if is_readable:
        disk.snapshots["state"] = Snapshot(1, b"{}")
    state = Numbers(is_readable=is_readable)
    assert keeper(journal, state, log).restore() == 0
    assert state.rows == []
    assert [entry["event"] for entry in log.entries] == ["the snapshot is ignored, everything is replayed"]


class FullStore(MemoryStore):
    """A store that has no space for the next `refusals` transactions."""

    refusals = 0

    def stage(self, *staged: Any) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreFull("no space")
        super().stage(*staged)


async def test_a_full_disk_costs_a_snapshot_and_nothing_else(
    open_journal: OpenJournal, disk: MemoryDisk, log: LogCapture
) -> None:
    store = FullStore(disk)
    journal = await open_journal(store=store)
    await journal.append(entries("a"))
    state = Numbers(1, [1])
    kept = keeper(journal, state, log)
    store.refusals = 1
    running = asyncio.create_task(kept.run())
    await eventually(lambda: kept.saved_sequence == 1)
    assert state.given_back == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await journal.append(entries("b"))
    state.sequence, state.rows = 2, [1, 2]
    store.refusals = 1
    await kept.close()
    assert state.given_back == 2
    assert [entry["event"] for entry in log.entries] == ["no snapshot", "no snapshot at the stop"]
    store.refusals = 1
    with pytest.raises(ResourceExhausted):
        await parted(journal).save(image(1, [1]))
