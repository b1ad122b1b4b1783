"""Who listens, and what each has not seen yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from servers.model.errors import OutOfRange
from servers.news.domain.desk import Trend
from servers.news.domain.post import Post

KEPT_CHANGES = 20_000


class Publisher:
    """Hands changes on. Posts are events (a reader that falls behind is cut off), entities are states."""

    def __init__(self) -> None:
        self._changes: deque[tuple[int, Post]] = deque(maxlen=KEPT_CHANGES)
        self._trends: deque[Trend] = deque(maxlen=1_000)
        self._dirty: dict[object, dict[str, None]] = {}
        self._conflated: dict[object, int] = {}
        self._wakers: set[asyncio.Event] = set()
        self.last_sequence = 0

    def changes(self, changes: Sequence[tuple[int, Post]]) -> None:
        """Publish posts as they changed, and the entities that they speak of."""
        self._changes.extend(changes)
        if changes:
            self.last_sequence = changes[-1][0]
        self.entities({link.entity for _, post in changes for link in post.links})

    def entities(self, entities: set[str]) -> None:
        """Say that what posts say of entities has changed."""
        for key, dirty in self._dirty.items():
            for entity in sorted(entities):
                self._conflated[key] += entity in dirty
                dirty[entity] = None
        self._wake()

    def trends(self, trends: Sequence[Trend]) -> None:
        """Publish alerts."""
        self._trends.extend(trends)
        if trends:
            self._wake()

    async def follow_entities(self, wait_seconds: float) -> AsyncIterator[tuple[list[str], int]]:
        """Yield entities that changed and how many changes were conflated; empty when none came for long."""
        key = object()
        self._dirty[key], self._conflated[key] = {}, 0
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while True:
                await self._wait(waker, wait_seconds)
                entities = list(self._dirty[key])
                self._dirty[key].clear()
                yield entities, self._conflated[key]
        finally:
            del self._dirty[key], self._conflated[key]
            self._wakers.discard(waker)

    async def follow_changes(
        self, after: int, wait_seconds: float
    ) -> AsyncIterator[tuple[list[tuple[int, Post]], int]]:
        """Yield changes after a sequence, at most 200 at a time, and the sequence reached.

        Raises OutOfRange SEQUENCE_AHEAD above the last sequence, SEQUENCE_EXPIRED below what is kept.
        """
        if after > self.last_sequence:
            raise OutOfRange("SEQUENCE_AHEAD", sequence=after, last_sequence=self.last_sequence)
        reached = after or self.last_sequence
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while True:
                first = self._changes[0][0] if self._changes else self.last_sequence + 1
                if reached + 1 < first:
                    raise OutOfRange("SEQUENCE_EXPIRED", sequence=reached, first_sequence=first)
                found = [change for change in self._changes if change[0] > reached][:200]
                if found:
                    reached = found[-1][0]
                yield found, reached
                if len(found) < 200:
                    await self._wait(waker, wait_seconds)
        finally:
            self._wakers.discard(waker)

    async def follow_trends(self, wait_seconds: float) -> AsyncIterator[list[Trend]]:
        """Yield alerts from now on; an empty list when none came for long."""
        reached = self._trends[-1].sequence if self._trends else 0
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while True:
                await self._wait(waker, wait_seconds)
                found = [trend for trend in self._trends if trend.sequence > reached]
                reached = found[-1].sequence if found else reached
                yield found
        finally:
            self._wakers.discard(waker)

    @staticmethod
    async def _wait(waker: asyncio.Event, seconds: float) -> None:
        try:
            await asyncio.wait_for(waker.wait(), seconds)
        except TimeoutError:
            return
        waker.clear()

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.set()
