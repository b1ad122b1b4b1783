"""The store in memory: for tests, and for a server that is to keep nothing."""

from __future__ import annotations

from collections.abc import Sequence

from servers.news.domain.post import Post


class MemoryPostStore:
    """`PostStore` that ends with the process."""

    def __init__(self) -> None:
        self._posts: dict[str, tuple[int, Post]] = {}
        self._unforgotten: dict[str, None] = {}
        self._sequence = 0

    @property
    def last_sequence(self) -> int:
        return self._sequence

    async def put(self, posts: Sequence[Post], over: Sequence[str] = ()) -> list[int]:
        self._unforgotten |= dict.fromkeys(over)
        sequences = []
        for post in posts:
            self._sequence += 1
            self._posts[post.post_id] = (self._sequence, post)
            sequences.append(self._sequence)
        return sequences

    async def unforgotten(self, size: int) -> list[str]:
        return list(self._unforgotten)[:size]

    async def confirm_forgotten(self, post_ids: Sequence[str]) -> None:
        for post_id in post_ids:
            self._unforgotten.pop(post_id, None)

    async def known(self, post_ids: Sequence[str]) -> set[str]:
        return {post_id for post_id in post_ids if post_id in self._posts}

    async def get(self, post_id: str) -> Post | None:
        return self._posts[post_id][1] if post_id in self._posts else None

    async def since(self, event_time_nanos: int) -> list[Post]:
        posts = [post for _, post in self._posts.values() if post.event_time_nanos >= event_time_nanos]
        return sorted(posts, key=lambda post: post.event_time_nanos)

    async def page(self, entity: str, before: int, size: int) -> list[tuple[int, Post]]:
        found = [
            (sequence, post)
            for sequence, post in self._posts.values()
            if (not before or sequence < before)
            and (not entity or any(link.entity == entity for link in post.links))
        ]
        return sorted(found, key=lambda item: -item[0])[:size]

    async def expire(self, before_nanos: int) -> int:
        old = [post_id for post_id, (_, post) in self._posts.items() if post.create_time_nanos < before_nanos]
        for post_id in old:
            del self._posts[post_id]
        return len(old)
