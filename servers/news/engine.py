"""Taking posts in, having them read, taking them back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b

from servers.model.clock import Clock
from servers.model.errors import InvalidInput, NotFound, TapelineError
from servers.news.domain.desk import Desk, Trend
from servers.news.domain.post import LONGEST_TEXT, MARKET, Action, Post, PostState, Reading, SourcePost
from servers.news.ports import Log, PostStore, Question, Reader, Tracing
from servers.news.publishing import Publisher

BATCH = 16
"""Posts that are read together."""
MOST_WAITING = 50_000


class NewsEngine:
    """The pipeline. Calls of `take` and `delete` may overlap with a reading; a deletion always wins.

    Args:
        desk: what is known now.
        salt: hashed with every author's id, so that digests cannot be looked up elsewhere.
    """

    def __init__(
        self,
        desk: Desk,
        store: PostStore,
        reader: Reader,
        publisher: Publisher,
        *,
        tracing: Tracing,
        clock: Clock,
        log: Log,
        salt: str,
    ) -> None:
        self.desk = desk
        self.publisher = publisher
        self.counts: Counter[str] = Counter()
        self._store = store
        self._reader = reader
        self._tracing = tracing
        self._clock = clock
        self._log = log
        self._salt = salt.encode()[:64]
        self._waiting: dict[str, None] = {}
        self._changing = asyncio.Lock()

    @property
    def waiting_count(self) -> int:
        """Posts that have not been read yet."""
        return len(self._waiting)

    async def restore(self, since_nanos: Callable[[int], int]) -> None:
        """Take up the posts that have not faded; those that were not read wait again.

        Args:
            since_nanos: from the newest post's market time to the market time from which posts are taken up.
        """
        newest = await self._store.page("", 0, 1)
        if not newest:
            return
        for post in await self._store.since(since_nanos(newest[0][1].event_time_nanos)):
            if post.state is PostState.DELETED:
                continue
            readings = {link.entity: link.reading for link in post.links if link.reading is not None}
            self.desk.take(post)
            restored = self.desk.read(post.post_id, readings)
            if restored is not None and restored.is_relevant and len(readings) < len(restored.links):
                self._wait(post.post_id)

    async def take(self, delivered: Sequence[SourcePost]) -> None:
        """Take in what a source delivers: each post once, edits and deletions of them; stored together."""
        async with self._changing:
            known = await self._store.known([one.post_id for one in delivered])
            changed: list[Post] = []
            forgotten: list[str] = []
            trends: list[Trend] = []
            for one in delivered:
                if one.action is Action.DELETED:
                    gone = await self._deleted(one.post_id)
                    changed += [gone] if gone is not None else []
                    forgotten.append(one.post_id)
                elif one.action is Action.EDITED:
                    edited, found = await self._edited(one)
                    changed += [edited] if edited is not None else []
                    forgotten.append(one.post_id)
                    trends += found
                elif one.post_id in known or not one.text.strip():
                    self.counts["repeated" if one.post_id in known else "empty"] += 1
                else:
                    known.add(one.post_id)
                    post, found = self._new(one)
                    changed.append(post)
                    trends += found
            await self._keep(changed)
            self._wait_for_reading(changed)
        self.publisher.trends(trends)
        await self._reader_forgets(forgotten)

    async def delete(self, post_id: str) -> Post:
        """Take a post back everywhere. Raises NotFound POST_UNKNOWN."""
        async with self._changing:
            post = await self._deleted(post_id)
            if post is None:
                raise NotFound("POST_UNKNOWN", f"no post {post_id}", post_id=post_id)
            await self._keep([post])
        await self._reader_forgets([post_id])
        return post

    def advance(self, now_nanos: int) -> None:
        """Let market time pass."""
        self.desk.advance(now_nanos)
        for post_id in [post_id for post_id in self._waiting if post_id not in self.desk.posts]:
            self._waiting.pop(post_id)

    async def read_some(self) -> int:
        """Have the next posts read; return how many. Raises TapelineError when nobody reads: they wait."""
        batch = [self.desk.posts[one] for one in list(self._waiting)[:BATCH] if one in self.desk.posts]
        if not batch:
            self._waiting.clear()
            return 0
        questions = [
            Question(
                post.post_id, link.entity, post.text, post.source, post.follower_count, link.entity == MARKET
            )
            for post in batch
            for link in post.links
        ]
        readings = await self._reader.read(questions)
        by_post: dict[str, dict[str, Reading]] = {}
        for question, reading in zip(questions, readings, strict=True):
            by_post.setdefault(question.post_id, {})[question.entity] = reading
        read: list[Post] = []
        for before in batch:
            now = self.desk.posts.get(before.post_id)
            if now is None or now.text != before.text:
                continue  # deleted or edited meanwhile
            self._waiting.pop(before.post_id, None)
            with self._tracing.span("news read", now.traceparent, post_id=now.post_id):
                after = self.desk.read(before.post_id, by_post[before.post_id])
            if after is not None:
                read.append(after)
                self.counts[
                    "shed" if any(r.is_shed for r in by_post[before.post_id].values()) else "read"
                ] += 1
        await self._keep(read)
        return len(batch)

    def _new(self, one: SourcePost, *, state: PostState = PostState.LIVE) -> tuple[Post, list[Trend]]:
        digest = blake2b(f"{one.source}/{one.author}".encode(), key=self._salt, digest_size=12).hexdigest()
        with self._tracing.span("news post", "", post_id=one.post_id, source=one.source) as traceparent:
            post, trends = self.desk.take(
                Post(
                    one.post_id,
                    one.source,
                    one.kind,
                    digest,
                    max(0, one.follower_count),
                    one.event_time_nanos,
                    self._clock.now_nanos(),
                    one.text[:LONGEST_TEXT],
                    state=state,
                    traceparent=traceparent,
                )
            )
        for name, holds in (
            ("taken", True),
            ("duplicate", post.is_duplicate),
            ("spam", post.spam_score >= 0.5),
            ("unlinked", not post.links),
        ):
            self.counts[name] += holds
        return post, trends

    async def _edited(self, one: SourcePost) -> tuple[Post | None, list[Trend]]:
        kept = self.desk.posts.get(one.post_id) or await self._store.get(one.post_id)
        if kept is None or kept.state is PostState.DELETED or not one.text.strip():
            return None, []
        changed = replace(one, event_time_nanos=kept.event_time_nanos, kind=kept.kind)
        self.counts["edited"] += 1
        return self._new(changed, state=PostState.EDITED)

    async def _deleted(self, post_id: str) -> Post | None:
        self._waiting.pop(post_id, None)
        post = self.desk.delete(post_id)
        if post is None:
            kept = await self._store.get(post_id)
            if kept is None:
                return None
            post = kept.deleted()
        self.counts["deleted"] += 1
        return post

    async def _reader_forgets(self, post_ids: Sequence[str]) -> None:
        if not post_ids:
            return
        try:
            await self._reader.forget(post_ids)
        except TapelineError as error:
            # It keeps answers for half an hour and no texts; a deletion here never waits for it.
            self._log.warning(
                "intelligence was not told of deletions", reason=error.reason, count=len(post_ids)
            )

    async def _keep(self, posts: Sequence[Post]) -> None:
        """Store posts, then tell whoever listens."""
        if posts:
            sequences = await self._store.put(posts)
            self.publisher.changes(list(zip(sequences, posts, strict=True)))

    def _wait_for_reading(self, posts: Sequence[Post]) -> None:
        for post in posts:
            if post.is_relevant and self.desk.posts.get(post.post_id) is post:
                self._wait(post.post_id)

    def _wait(self, post_id: str) -> None:
        self._waiting[post_id] = None
        while len(self._waiting) > MOST_WAITING:
            self._waiting.pop(next(iter(self._waiting)))
            self.counts["unread"] += 1


def check_entity(entity: str) -> str:
    """Return a usable entity. Raises InvalidInput FIELD_INVALID."""
    if not entity or len(entity) > 64:
        raise InvalidInput("FIELD_INVALID", "an entity has 1 to 64 characters", field="entity")
    return entity
