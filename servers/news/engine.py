"""Taking posts in, having them read, taking them back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import islice

from servers.model.clock import Clock
from servers.model.errors import InvalidInput, NotFound, TapelineError
from servers.news.domain.desk import Desk, Trend
from servers.news.domain.post import LONGEST_TEXT, MARKET, Action, Post, PostState, Reading, SourcePost
from servers.news.ports import Log, PostStore, Question, Reader, Tracing
from servers.news.publishing import Publisher

BATCH = 16
"""Posts that are read together."""
MOST_WAITING = 50_000
FORGOTTEN_AT_ONCE = 1_000


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
        self._being_read_count = 0
        self._changing = asyncio.Lock()
        self._is_forgetting_due = asyncio.Event()
        self._is_forgetting_due.set()

    @property
    def waiting_count(self) -> int:
        """Posts that have not been read yet, those that are being read among them."""
        return len(self._waiting) + self._being_read_count

    @property
    def queued_count(self) -> int:
        """Posts that nobody has been asked to read yet."""
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
            if restored is not None and restored.is_relevant and not restored.is_read:
                self._wait(post.post_id)

    async def take(self, delivered: Sequence[SourcePost]) -> None:
        """Take in what a source delivers: each post once, edits and deletions of them; stored together."""
        async with self._changing:
            known = await self._store.known([one.post_id for one in delivered])
            changed: list[Post] = []
            trends: list[Trend] = []
            for one in delivered:
                if one.action is Action.DELETED:
                    gone = await self._deleted(one.post_id)
                    changed += [gone] if gone is not None else []
                elif one.action is Action.EDITED:
                    edited, found = await self._edited(one)
                    changed += [edited] if edited is not None else []
                    trends += found
                elif one.post_id in known or not one.text.strip():
                    self.counts["repeated" if one.post_id in known else "empty"] += 1
                else:
                    known.add(one.post_id)
                    post, found = self._new(one)
                    changed.append(post)
                    trends += found
            # An old text's reading may have come in while this was gathered: what stands now is kept.
            changed = [self.desk.posts.get(post.post_id, post) for post in changed]
            await self._keep(changed, [one.post_id for one in changed if one.state is not PostState.LIVE])
            self._wait_for_reading(changed)
        self.publisher.trends(trends)

    async def delete(self, post_id: str) -> Post:
        """Take a post back everywhere. Raises NotFound POST_UNKNOWN."""
        async with self._changing:
            post = await self._deleted(post_id)
            if post is None:
                raise NotFound("POST_UNKNOWN", f"no post {post_id}", post_id=post_id)
            await self._keep([post], [post_id])
        try:
            await self.forget_some()
        except TapelineError as error:
            # It keeps answers for half an hour and no texts; a deletion here never waits for it.
            self._log.warning("intelligence does not hear of a deletion yet", reason=error.reason)
        return post

    async def forget_some(self) -> int:
        """Have the reader forget posts that were deleted or edited, the oldest first; return how many.

        Raises TapelineError while it does not answer: the store keeps them until it has.
        """
        self._is_forgetting_due.clear()
        post_ids = await self._store.unforgotten(FORGOTTEN_AT_ONCE)
        if post_ids:
            await self._reader.forget(post_ids)
            await self._store.confirm_forgotten(post_ids)
        return len(post_ids)

    async def forgetting_due(self) -> None:
        """Return when there may be something that the reader has to forget."""
        await self._is_forgetting_due.wait()

    def advance(self, now_nanos: int) -> None:
        """Let market time pass."""
        self.desk.advance(now_nanos)
        for post_id in [post_id for post_id in self._waiting if post_id not in self.desk.posts]:
            self._waiting.pop(post_id)

    async def read_some(self, size: int = BATCH) -> int:
        """Have the next `size` posts read; return how many. Raises TapelineError when nobody reads them.

        Calls may overlap: each takes posts that no other has taken.
        """
        batch = self._next_batch(size)
        if not batch:
            return 0
        questions = [
            Question(
                post.post_id, link.entity, post.text, post.source, post.follower_count, link.entity == MARKET
            )
            for post in batch
            for link in post.links
        ]
        self._being_read_count += len(batch)
        try:
            readings = await self._reader.read(questions)
        except BaseException:
            self._wait_first(batch)
            raise
        finally:
            self._being_read_count -= len(batch)
        by_post: dict[str, dict[str, Reading]] = {}
        for question, reading in zip(questions, readings, strict=True):
            by_post.setdefault(question.post_id, {})[question.entity] = reading
        read: list[Post] = []
        for before in batch:
            if self._text_of(before.post_id) != before.text:
                continue  # deleted or edited meanwhile
            self._waiting.pop(before.post_id, None)
            with self._tracing.span("news read", before.traceparent, post_id=before.post_id):
                after = self.desk.read(before.post_id, by_post[before.post_id])
            if after is not None:
                read.append(after)
                self.counts[
                    "shed" if any(r.is_shed for r in by_post[before.post_id].values()) else "read"
                ] += 1
        await self._keep(read)
        return len(batch)

    def _next_batch(self, size: int) -> list[Post]:
        post_ids = list(islice(self._waiting, size))
        for post_id in post_ids:
            self._waiting.pop(post_id)
        return [self.desk.posts[post_id] for post_id in post_ids if post_id in self.desk.posts]

    def _wait_first(self, posts: Sequence[Post]) -> None:
        """Have posts that nobody read wait before all others, unless they have changed meanwhile."""
        left = [post.post_id for post in posts if self._text_of(post.post_id) == post.text]
        self._waiting = dict.fromkeys(left) | self._waiting

    def _text_of(self, post_id: str) -> str | None:
        post = self.desk.posts.get(post_id)
        return None if post is None else post.text

    def _new(self, one: SourcePost, before: Post | None = None) -> tuple[Post, list[Trend]]:
        """Take in a post, or the new text of one; a source that tells of an edit need not say whose it is."""
        digest = blake2b(f"{one.source}/{one.author}".encode(), key=self._salt, digest_size=12).hexdigest()
        followers = max(0, one.follower_count)
        if before is not None and not one.author:
            digest, followers = before.author_digest, before.follower_count
        with self._tracing.span("news post", "", post_id=one.post_id, source=one.source) as traceparent:
            post, trends = self.desk.take(
                Post(
                    one.post_id,
                    one.source,
                    one.kind,
                    digest,
                    followers,
                    one.event_time_nanos,
                    self._clock.now_nanos(),
                    one.text[:LONGEST_TEXT],
                    state=PostState.LIVE if before is None else PostState.EDITED,
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
        return self._new(changed, kept)

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

    async def _keep(self, posts: Sequence[Post], over: Sequence[str] = ()) -> None:
        """Store posts, and that the reader has to forget those that are over; then tell who listens."""
        if posts:
            sequences = await self._store.put(posts, over)
            self.publisher.changes(list(zip(sequences, posts, strict=True)))
        if over:
            self._is_forgetting_due.set()

    def _wait_for_reading(self, posts: Sequence[Post]) -> None:
        for post in posts:
            if post.is_relevant and not post.is_read and self.desk.posts.get(post.post_id) is post:
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
