"""A journal over memory, and stores that keep a commit waiting."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from servers.journal import Entry, Journal, MemoryDisk, MemoryStore, Record
from servers.model.clock import ManualClock

OpenJournal = Callable[..., Awaitable[Journal]]


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000)


@pytest.fixture
def failures() -> list[BaseException]:
    return []


@pytest.fixture
async def open_journal(
    disk: MemoryDisk, clock: ManualClock, failures: list[BaseException]
) -> AsyncIterator[OpenJournal]:
    opened: list[Journal] = []

    async def make(**options: object) -> Journal:
        store = options.pop("store", None) or MemoryStore(disk)
        journal = await Journal.open(
            store,  # type: ignore[arg-type]  # a store, as the test gives it
            writer="test",
            clock=clock,
            on_failure=failures.append,
            **options,  # type: ignore[arg-type]
        )
        opened.append(journal)
        return journal

    yield make
    for journal in opened:
        await journal.close()


def entries(*payloads: str) -> list[Entry]:
    return [Entry("event", payload.encode()) for payload in payloads]


async def collect(records: AsyncIterator[Record], count: int) -> list[int]:
    sequences: list[int] = []
    async for record in records:
        sequences.append(record.sequence)
        if len(sequences) == count:
            break
    return sequences


class SlowStore(MemoryStore):
    """A store whose commits wait until the test lets them go."""

    def __init__(self, disk: MemoryDisk) -> None:
        super().__init__(disk)
        self.may_commit = threading.Event()
        self.is_committing = threading.Event()

    def commit(self) -> None:
        self.is_committing.set()
        self.may_commit.wait(10)
        super().commit()
