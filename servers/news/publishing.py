"""Who listens, and what each has not seen yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from servers.model.errors import OutOfRange
from servers.news.domain.desk import Trend
from servers.news.domain.post import Post

KEPT_CHANGES = 20_000
ENTITIES_PAUSE_SECONDS = 0.25
"""Between two words on what posts say: summing them up takes time, and changes come in hundreds."""


class Publisher:
    """Hands changes on. Posts are events (a reader that falls behind is cut off), entities are states."""

    def __init__(self) -> None:
        self._changes: deque[tuple[int, str]] = deque()
        self._posts: dict[str, tuple[int, Post]] = {}
        """Each post of a change as it stands now, and how many changes it has: no earlier text is kept."""
        self._trends: deque[Trend] = deque(maxlen=1_000)
        self._dirty: dict[object, dict[str, None]] = {}
        self._conflated: dict[object, int] = {}
        self._wakers: set[asyncio.Event] = set()
        self.last_sequence = 0

    def changes(self, changes: Sequence[tuple[int, Post]]) -> None:
        """Publish posts as they changed, and the entities that they speak of or spoke of."""
        entities: set[str] = set()
        for sequence, post in changes:
            count, before = self._posts.get(post.post_id, (0, post))
            entities.update(link.entity for link in (*before.links, *post.links))
            self._changes.append((sequence, post.post_id))
            self._posts[post.post_id] = (count + 1, post)
            if len(self._changes) > KEPT_CHANGES:
                self._drop(self._changes.popleft()[1])
        if changes:
            self.last_sequence = changes[-1][0]
        self.entities(entities)

    def _drop(self, post_id: str) -> None:
        count, post = self._posts[post_id]
        if count == 1:
            del self._posts[post_id]
        else:
            self._posts[post_id] = (count - 1, post)

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
                await asyncio.sleep(ENTITIES_PAUSE_SECONDS)
        finally:
            del self._dirty[key], self._conflated[key]
            self._wakers.discard(waker)

    async def follow_changes(
        self, after: int, wait_seconds: float
    ) -> AsyncIterator[tuple[list[tuple[int, Post]], int]]:
        """Yield changes after a sequence, at most 200 at a time, and the sequence reached.

        A change of a post that has changed again comes with the post as it stands now.

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
                found = [
                    (sequence, self._posts[post_id][1])
                    for sequence, post_id in self._changes
                    if sequence > reached
                ][:200]
                if found:
                    reached = found[-1][0]
                yield found, reached
                if len(found) < 200:
                    await self._wait(waker, wait_seconds)
        finally:
            self._wakers.discard(waker)

    async def follow_trends(self, after: int, wait_seconds: float) -> AsyncIterator[list[Trend]]:
        """Yield alerts after a sequence, or from now on when it is 0; an empty list when none came for long.

        Raises OutOfRange SEQUENCE_AHEAD above the last one.
        """
        last = self._trends[-1].sequence if self._trends else 0
        if after > last:
            raise OutOfRange("SEQUENCE_AHEAD", sequence=after, last_sequence=last)
        reached = after or last
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while True:
                if reached >= last:
                    await self._wait(waker, wait_seconds)
                last = 0
                found = [trend for trend in self._trends if trend.sequence > reached]
                reached = found[-1].sequence if found else reached
                yield found
        finally:
            self._wakers.discard(waker)

    @staticmethod
    async def _wait(waker: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await waker.wait()
        except TimeoutError:
            return
        waker.clear()

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.set()
