"""How many posts are read at a time, and what happens while nobody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from servers.model.errors import Internal, TapelineError, Unavailable
from servers.news.reading import MOST_BATCHES, ReadingLoop
from tests.unit.news.newsroom import Lines

A_BATCH = 16


class Pile:
    """Posts that wait; a batch of them is read when the test says so."""

    def __init__(self, count: int) -> None:
        self.queued_count = count
        self.asked = 0
        self.failures: list[TapelineError] = []
        self._gate = asyncio.Event()

    @property
    def waiting_count(self) -> int:
        return self.queued_count + self.asked * A_BATCH

    async def read_some(self) -> int:
        if self.failures:
            raise self.failures.pop()
        self.queued_count = max(0, self.queued_count - A_BATCH)
        self.asked += 1
        await self._gate.wait()
        self.asked -= 1
        return A_BATCH

    def answer(self) -> None:
        self._gate.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the loop under test polls too
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(("waiting", "batches"), [(40, 1), (100, 1), (101, 7), (5_000, MOST_BATCHES)])
async def test_few_posts_wait_for_their_turn_and_many_are_handed_over_at_once(
    waiting: int, batches: int
) -> None:
    pile, log = Pile(waiting), Lines()
    reading = asyncio.create_task(ReadingLoop(pile, patience_posts=100, retry_seconds=0.01, log=log).run())
    await until(lambda: pile.asked == batches)
    await asyncio.sleep(0)
    assert pile.asked == batches
    pile.answer()
    await until(lambda: pile.waiting_count == 0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert log.lines == []


async def test_while_nobody_reads_it_says_so_and_asks_again() -> None:
    pile, log = Pile(10), Lines()
    pile.answer()
    pile.failures = [Unavailable("PEER_UNAVAILABLE", "away") for _ in range(3)]
    reading = asyncio.create_task(ReadingLoop(pile, patience_posts=100, retry_seconds=0.01, log=log).run())
    await until(lambda: pile.waiting_count == 0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert log.lines == ["posts wait to be read"] * 3


async def test_a_bug_of_the_reader_ends_the_loop() -> None:
    pile = Pile(10)
    pile.failures = [Internal("INTERNAL", "a bug")]
    with pytest.raises(TapelineError, match="a bug"):
        await ReadingLoop(pile, patience_posts=100, retry_seconds=0.01, log=Lines()).run()
