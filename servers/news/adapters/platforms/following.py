"""Following a platform: ask it again and again, hand on what is new, look after what was handed on.

Platforms that send no word of edits and deletions are asked for the posts of the last while once more; what
differs is an edit, what is missing a deletion. Of a post only its id and a digest of its text are remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Protocol

from servers.model.nanos import NANO
from servers.news.adapters.platforms.session import Pause
from servers.news.domain.pacing import BackOff
from servers.news.domain.post import Action, PostKind, SourcePost
from servers.news.ports import Log, Take

WATCHED_SECONDS = 86_400.0
MOST_WATCHED = 50_000


class RefusedError(Exception):
    """The platform did not answer as asked.

    Attributes:
        wait_seconds: as long as it wants to be left alone; None when it says nothing.
        is_limit: whether it was asked too often.
    """

    def __init__(self, reason: str, wait_seconds: float | None = None, *, is_limit: bool = False) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds
        self.is_limit = is_limit


class Platform(Protocol):
    """One platform that can be asked for posts."""

    name: str
    review_batch: int
    """Posts that one request looks at again; 0 when the platform has no such request."""

    async def poll(self, since_nanos: int) -> Sequence[SourcePost]:
        """Return posts written or changed since; more than that does no harm. Raises RefusedError."""
        ...

    async def review(self, platform_ids: Sequence[str]) -> tuple[Sequence[SourcePost], set[str]]:
        """Return posts as they stand now, and the ids of those that are gone. Raises RefusedError."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


@dataclass(slots=True)
class _Handed:
    digest: bytes
    kind: PostKind
    time_nanos: int


class Watch:
    """What was handed on in the last day: each post is handed on once, and once more when it changes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._handed: OrderedDict[str, _Handed] = OrderedDict()
        """The one that was looked at longest ago first."""

    def __len__(self) -> int:
        return len(self._handed)

    async def hand_on(self, posts: Sequence[SourcePost], take: Take) -> int:
        """Deliver what is new or changed; return how many. A post counts as delivered once `take` returns."""
        found: list[SourcePost] = []
        for post in sorted(posts, key=lambda one: one.event_time_nanos):
            known = self._handed.get(post.platform_id)
            if known is None:
                # It may have been taken in before a restart: then its first text is known, this one is not.
                found.append(replace(post, action=Action.WRITTEN))
                if post.action is Action.EDITED:
                    found.append(post)
            elif known.digest != _digest(post.text):
                found.append(replace(post, action=Action.EDITED))
        if found:
            await take(found)
            self.restore(found)
        return len(found)

    def restore(self, posts: Sequence[SourcePost]) -> None:
        """Count posts as handed on, such as those that were kept over a restart."""
        for post in posts:
            self._handed[post.platform_id] = _Handed(_digest(post.text), post.kind, post.event_time_nanos)
        while len(self._handed) > MOST_WATCHED:
            self._handed.popitem(last=False)

    async def take_back(self, platform_ids: set[str], now_nanos: int, take: Take) -> int:
        """Deliver the deletion of posts that were handed on; return how many."""
        gone = [
            SourcePost(one, self._name, self._handed[one].kind, "", now_nanos, action=Action.DELETED)
            for one in sorted(platform_ids)
            if one in self._handed
        ]
        if gone:
            await take(gone)
            for post in gone:
                self._handed.pop(post.platform_id)
        return len(gone)

    def next(self, count: int, now_nanos: int) -> list[str]:
        """Return the ids to be looked at next, those looked at longest ago; forget what is a day old."""
        old = now_nanos - round(WATCHED_SECONDS * NANO)
        for one in [one for one, handed in self._handed.items() if handed.time_nanos < old]:
            self._handed.pop(one)
        return list(self._handed)[:count]

    def looked_at(self, platform_ids: Sequence[str]) -> None:
        """Put ids at the end of the row."""
        for one in platform_ids:
            if one in self._handed:
                self._handed.move_to_end(one)


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=12).digest()


class PolledPosts:
    """`PostSource` that asks a platform every `poll_seconds` and looks at old posts every `review_seconds`.

    A refusal is waited out as the platform says, else with growing pauses; the time since which posts are
    asked for moves on only with an answer, so that nothing is lost that the platform still has.

    Args:
        lookback_seconds: of posts that are asked for at the start.
        overlap_seconds: of time that is asked for twice: a platform's index lags behind.
    """

    def __init__(
        self,
        platform: Platform,
        pause: Pause,
        log: Log,
        *,
        poll_seconds: float,
        review_seconds: float,
        lookback_seconds: float = 3_600.0,
        overlap_seconds: float = 120.0,
    ) -> None:
        self.name = platform.name
        self.watch = Watch(platform.name)
        self.platform = platform
        self._pause = pause
        self._log = log
        self._poll_seconds = poll_seconds
        self._review_seconds = review_seconds
        self._overlap_nanos = round(overlap_seconds * NANO)
        self._since = pause.now_nanos() - round(lookback_seconds * NANO)
        self._reviewed = pause.now_nanos()
        self._limited = BackOff(60.0, 960.0)
        self._failed = BackOff(1.0, 300.0)

    async def run(self, take: Take) -> None:
        try:
            while True:
                try:
                    await self.poll(take)
                    await self.review(take)
                except RefusedError as refused:
                    await self.wait_out(refused)
                else:
                    self._limited.reset()
                    self._failed.reset()
                    await self._pause.sleep(self._poll_seconds)
        finally:
            await self.platform.close()

    async def poll(self, take: Take) -> None:
        """Ask once. Raises RefusedError."""
        began = self._pause.now_nanos()
        await self.watch.hand_on(await self.platform.poll(self._since), take)
        self._since = max(self._since, began - self._overlap_nanos)

    async def review(self, take: Take) -> None:
        """Look at posts again when it is time to. Raises RefusedError."""
        now = self._pause.now_nanos()
        if not self.platform.review_batch or now - self._reviewed < self._review_seconds * NANO:
            return
        looked_at = self.watch.next(self.platform.review_batch, now)
        if looked_at:
            posts, gone = await self.platform.review(looked_at)
            await self.watch.hand_on(posts, take)
            await self.watch.take_back(gone, now, take)
            self.watch.looked_at(looked_at)
        self._reviewed = now

    async def wait_out(self, refused: RefusedError) -> None:
        """Stay away for as long as the platform wants, or longer from time to time."""
        grown = (self._limited if refused.is_limit else self._failed).next_seconds()
        seconds = grown if refused.wait_seconds is None else refused.wait_seconds
        self._log.warning(
            "a source is refused", source=self.name, reason=str(refused), wait_seconds=round(seconds, 1)
        )
        await self._pause.sleep(seconds)
