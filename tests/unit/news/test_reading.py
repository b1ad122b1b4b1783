"""How many posts are read at a time, and what happens while nobody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from servers.model.errors import Internal, TapelineError, Unavailable
from servers.news.reading import MOST_BATCHES, ReadingLoop
from tests.unit.news.newsroom import Lines


class Pile:
    """Posts that wait; batches of them are read when the test says so."""

    def __init__(self, count: int) -> None:
        self.queued_count = count
        self.asked: list[int] = []
        self.read_count = 0
        self.failures: list[TapelineError] = []
        self._gate = asyncio.Event()

    async def read_some(self, size: int) -> int:
        if self.failures:
            raise self.failures.pop()
        size = min(size, self.queued_count)
        self.queued_count -= size
        self.asked.append(size)
        await self._gate.wait()
        self.read_count += size
        return size

    def answer(self) -> None:
        self._gate.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the loop under test polls too
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("waiting", "asked"),
    [(40, [8]), (100, [8]), (101, [16]), (150, [16] * 4), (5_000, [16] * MOST_BATCHES)],
)
async def test_few_posts_wait_for_their_turn_and_what_is_above_is_handed_over_at_once(
    waiting: int, asked: list[int]
) -> None:
    pile, log = Pile(waiting), Lines()
    reading = asyncio.create_task(ReadingLoop(pile, patience_posts=100, retry_seconds=0.01, log=log).run())
    await until(lambda: len(pile.asked) == len(asked))
    await asyncio.sleep(0)
    assert pile.asked == asked
    pile.answer()
    await until(lambda: pile.read_count == waiting)
    assert max(pile.asked[-5:]) == 8, "the last hundred are read in turn"
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert log.lines == []


async def test_while_nobody_reads_it_says_so_and_asks_again() -> None:
    pile, log = Pile(10), Lines()
    pile.answer()
    pile.failures = [Unavailable("PEER_UNAVAILABLE", "away") for _ in range(3)]
    reading = asyncio.create_task(ReadingLoop(pile, patience_posts=100, retry_seconds=0.01, log=log).run())
    await until(lambda: pile.read_count == 10)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert log.lines == ["posts wait to be read"] * 3


async def test_a_bug_of_the_reader_ends_the_loop() -> None:
    pile = Pile(10)
    pile.failures = [Internal("INTERNAL", "a bug")]
    with pytest.raises(TapelineError, match="a bug"):
        await ReadingLoop(pile, patience_posts=100, retry_seconds=0.01, log=Lines()).run()
