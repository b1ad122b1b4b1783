"""How many posts are read at a time: a batch while few wait, many batches when many do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from servers.model.errors import TapelineError
from servers.news.ports import Log

MOST_BATCHES = 64
PATIENT_BATCH, HURRIED_BATCH = 8, 16
"""Posts of a batch: as many as a model reads at once, so that none of them waits for long; or more."""
IDLE_SECONDS = 0.05


class Unread(Protocol):
    """Posts that wait to be read."""

    @property
    def queued_count(self) -> int:
        """Posts that nobody has been asked to read yet."""
        ...

    def read_some(self, size: int) -> Coroutine[Any, Any, int]:
        """Have the next `size` posts read. Raises TapelineError when nobody reads: they wait again."""
        ...


class ReadingLoop:
    """Has posts read for as long as it runs.

    Up to `patience_posts` of them wait here for their turn, a batch at a time, so that an LLM reads every
    one. What is above that, the oldest, is handed over at once, for who reads to choose: the most relevant
    are read, the rest is shed. A post that waits until it has faded helps nobody.
    """

    def __init__(self, unread: Unread, *, patience_posts: int, retry_seconds: float, log: Log) -> None:
        self._unread = unread
        self._patience_posts = patience_posts
        self._retry_seconds = retry_seconds
        self._log = log

    async def run(self) -> None:
        """Read until cancelled. Raises TapelineError INTERNAL for a bug of a peer."""
        batches: set[asyncio.Task[int]] = set()
        try:
            while True:
                while queued := self._unread.queued_count:
                    is_hurried = queued > self._patience_posts
                    if len(batches) >= (MOST_BATCHES if is_hurried else 1):
                        break
                    size = HURRIED_BATCH if is_hurried else PATIENT_BATCH
                    batches.add(asyncio.create_task(self._unread.read_some(size)))
                    await asyncio.sleep(0)  # it takes its posts
                if not batches:
                    await asyncio.sleep(IDLE_SECONDS)
                    continue
                done, batches = await asyncio.wait(
                    batches, timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                await self._look_at(done)
        finally:
            for batch in batches:
                batch.cancel()
            await asyncio.gather(*batches, return_exceptions=True)

    async def _look_at(self, done: set[asyncio.Task[int]]) -> None:
        reason = ""
        for batch in done:
            error = batch.exception()
            if isinstance(error, TapelineError) and error.status != "INTERNAL":
                reason = error.reason
            elif error is not None:
                raise error
        if reason:
            self._log.info("posts wait to be read", reason=reason)
            await asyncio.sleep(self._retry_seconds)
