"""What news needs from outside of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from servers.news.domain.post import Post, Reading, SourcePost


@dataclass(frozen=True, slots=True)
class Question:
    """One post to be read for one entity."""

    post_id: str
    entity: str
    text: str
    source: str
    follower_count: int
    is_market: bool


class Reader(Protocol):
    """Who reads posts: intelligence."""

    async def read(self, questions: Sequence[Question]) -> list[Reading]:
        """Return one reading for each question. Raises TapelineError UNAVAILABLE while it does not answer."""
        ...

    async def forget(self, post_ids: Sequence[str]) -> None:
        """Have it forget what it keeps of posts."""
        ...


class PostStore(Protocol):
    """Where posts are kept. What is deleted is gone from its files when the call returns."""

    async def put(self, posts: Sequence[Post], over: Sequence[str] = ()) -> list[int]:
        """Keep posts, new or changed; return the sequence of each change. Sequences never go back.

        In the same step it is kept that the reader has to forget the posts `over`.
        """
        ...

    async def unforgotten(self, size: int) -> list[str]:
        """Return posts that the reader has to forget and has not confirmed, at most `size`."""
        ...

    async def confirm_forgotten(self, post_ids: Sequence[str]) -> None:
        """Keep that the reader has forgotten posts."""
        ...

    async def known(self, post_ids: Sequence[str]) -> set[str]:
        """Return those that are kept, deleted ones too."""
        ...

    async def get(self, post_id: str) -> Post | None:
        """Return one post."""
        ...

    async def since(self, event_time_nanos: int) -> list[Post]:
        """Return posts from a market time on, oldest first."""
        ...

    async def page(self, entity: str, before: int, size: int) -> list[tuple[int, Post]]:
        """Return posts with their change sequence, newest change first, below sequence `before` (0: all)."""
        ...

    async def expire(self, before_nanos: int) -> int:
        """Delete posts whose wall time of arrival lies before; return how many."""
        ...

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest change, also of one whose post is gone by now."""
        ...


Take = Callable[[Sequence[SourcePost]], Awaitable[None]]


class PostSource(Protocol):
    """One source of posts: a platform, a feed, a file, the simulation."""

    name: str

    async def run(self, take: Take) -> None:
        """Deliver posts until cancelled or at an end; try again by itself when the platform is away."""
        ...


class MarketTimes(Protocol):
    """Market time as it comes, from market_data."""

    def follow(self) -> AsyncIterator[int]:
        """Yield market times, rising, UTC epoch nanoseconds; reconnects by itself."""
        ...


class Tracing(Protocol):
    """Spans of posts."""

    def span(self, name: str, traceparent: str, **attributes: str) -> AbstractContextManager[str]:
        """Open a span under `traceparent` (a new trace when empty); gives the context to carry on."""
        ...


class Log(Protocol):
    """Where losses are told."""

    def info(self, event: str, **facts: object) -> object:
        """Tell of something ordinary."""
        ...

    def warning(self, event: str, **facts: object) -> object:
        """Tell of something that somebody should look at."""
        ...
