"""The desk: what is known of posts now, and what they say of every entity."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from servers.news.domain.aggregate import Aggregate, aggregate
from servers.news.domain.bursts import Burst, BurstWatch
from servers.news.domain.linking import Linker
from servers.news.domain.post import MARKET, SPAM_FROM, Post, PostKind, PostLink, Reading
from servers.news.domain.pumps import PRELUDE_SECONDS, PUMP_ABOVE, is_prelude, pump_score
from servers.news.domain.repeats import Repeats
from servers.news.domain.spam import spam_score

HOUR_NANOS = 3_600 * 10**9
KEPT_NANOS = 12 * HOUR_NANOS
"""Posts that are older have faded out of every aggregate."""
PUMP_FOLLOWERS = 300.0
PUMP_NANOS = 2 * HOUR_NANOS
"""What is suspected to be pumped stays so for as long after the last sign of it."""
MOST_PRELUDES = 10_000
MOST_CALLED = 2
"""Who names more calls for nothing."""
MOST_TRENDS = 10_000


class TrendKind(IntEnum):
    """What is out of the ordinary; numbered as on the wire."""

    BURST = 1
    PUMP_SUSPECTED = 2


@dataclass(frozen=True, slots=True)
class Trend:
    """An alert."""

    sequence: int
    kind: TrendKind
    entity: str
    burst: Burst
    score: float
    message: str


@dataclass(frozen=True, slots=True)
class EntitySentiment:
    """What posts say of one entity at `event_time_nanos`."""

    entity: str
    news: Aggregate
    social: Aggregate
    news_zscore: float
    social_zscore: float
    news_ratio: float
    social_ratio: float
    is_pump_suspected: bool
    post_ids: tuple[str, ...]
    traceparent: str
    event_time_nanos: int

    @property
    def author_count(self) -> int:
        return len(self.news.authors | self.social.authors)

    @property
    def source_count(self) -> int:
        return len(self.news.sources | self.social.sources)


class Desk:
    """Keeps the posts that have not faded, and the hashes that find repeats.

    Market time goes forward with what is taken in and with `advance`.
    """

    def __init__(self, linker: Linker) -> None:
        self.now_nanos = 0
        self.posts: dict[str, Post] = {}
        self.trends: deque[Trend] = deque(maxlen=MOST_TRENDS)
        self.trend_count = 0
        self._linker = linker
        self._repeats = Repeats()
        self._by_entity: dict[str, dict[str, None]] = {}
        self._watches: dict[tuple[str, PostKind], BurstWatch] = {}
        self._author_times: dict[str, deque[int]] = {}
        self._pumps: dict[str, int] = {}
        self._preludes: dict[str, int] = {}
        """When an author last prepared a pump; see `pumps.is_prelude`."""

    @property
    def entities(self) -> list[str]:
        return sorted(self._by_entity)

    def link_with(self, linker: Linker) -> None:
        """Find entities by other names from now on."""
        self._linker = linker

    def advance(self, now_nanos: int) -> list[str]:
        """Let market time pass; return the ids of posts that have faded and are no longer kept here."""
        self.now_nanos = max(self.now_nanos, now_nanos)
        old = [
            post_id
            for post_id, post in self.posts.items()
            if post.event_time_nanos < self.now_nanos - KEPT_NANOS
        ]
        for post_id in old:
            self._unlink(self.posts.pop(post_id))
            # Who says so tomorrow what somebody said today does not repeat it.
            self._repeats.forget(post_id)
        return old

    def take(self, post: Post) -> tuple[Post, list[Trend]]:
        """Link a new or edited post, compare it with others and judge it; return it and what it sets off."""
        self.now_nanos = max(self.now_nanos, post.event_time_nanos)
        if post.post_id in self.posts:
            self._unlink(self.posts[post.post_id])
            self._repeats.forget(post.post_id)
        post = replace(
            post,
            links=self._linker.links(post.text),
            original_post_id=self._repeats.original_of(post.post_id, post.text),
            spam_score=spam_score(post.text, post.follower_count, self._author_rate(post)),
        )
        self._link(post)
        return post, self._watch(post)

    def read(self, post_id: str, readings: dict[str, Reading]) -> Post | None:
        """Take in what a model says of a post; None when the post was deleted or has faded meanwhile."""
        post = self.posts.get(post_id)
        if post is None:
            return None
        post = post.read(readings)
        self.posts[post_id] = post
        return post

    def delete(self, post_id: str) -> Post | None:
        """Forget a post everywhere here; return what may be kept of it."""
        self._repeats.forget(post_id)
        post = self.posts.pop(post_id, None)
        if post is None:
            return None
        self._unlink(post)
        return post.deleted()

    def sentiment(self, entity: str) -> EntitySentiment:
        """Sum up what posts say of an entity now."""
        linked = list(self._linked(entity))
        news = aggregate(_of(linked, PostKind.NEWS), PostKind.NEWS, self.now_nanos)
        social = aggregate(_of(linked, PostKind.SOCIAL), PostKind.SOCIAL, self.now_nanos)
        weights = sorted((*news.weights, *social.weights), key=lambda item: (-item[1], item[0]))[:20]
        heaviest = self.posts.get(weights[0][0]) if weights else None
        figures = [self._volume(entity, kind) for kind in PostKind]
        return EntitySentiment(
            entity,
            news,
            social,
            figures[0][0],
            figures[1][0],
            figures[0][1],
            figures[1][1],
            self._is_suspected(entity),
            tuple(post_id for post_id, _ in weights),
            "" if heaviest is None else heaviest.traceparent,
            self.now_nanos,
        )

    def _volume(self, entity: str, kind: PostKind) -> tuple[float, float]:
        watch = self._watches.get((entity, kind))
        if watch is None:
            return 0.0, 0.0
        watch.advance(self.now_nanos)
        return watch.zscore(self.now_nanos), watch.ratio(self.now_nanos)

    def _linked(self, entity: str) -> Iterable[tuple[Post, PostLink]]:
        for post_id in self._by_entity.get(entity, ()):
            post = self.posts[post_id]
            for link in post.links:
                if link.entity == entity:
                    yield post, link

    def _author_rate(self, post: Post) -> int:
        times = self._author_times.setdefault(post.author_digest, deque(maxlen=200))
        while times and times[0] < post.event_time_nanos - HOUR_NANOS:
            times.popleft()
        times.append(post.event_time_nanos)
        if len(self._author_times) > 200_000:
            self._author_times.pop(next(iter(self._author_times)))
        return len(times)

    def _watch(self, post: Post) -> list[Trend]:
        """Count the author for every entity. Repeats count here: a campaign is many voices."""
        found = []
        is_call = self._is_call(post)
        for link in post.links:
            watch = self._watches.setdefault((link.entity, post.kind), BurstWatch())
            burst = watch.take(post.author_digest, post.event_time_nanos)
            if burst is not None:
                found.append(self._alert(link.entity, post.kind, burst))
            if is_call and link.entity != MARKET and not self._is_suspected(link.entity):
                found += self._called(link.entity, watch, post.event_time_nanos)
        return found

    def _is_suspected(self, entity: str) -> bool:
        return self.now_nanos < self._pumps.get(entity, 0)

    def _is_call(self, post: Post) -> bool:
        """Whether a post calls for buying what it names; remembers who prepares such a call."""
        if post.kind is not PostKind.SOCIAL:
            return False
        since = post.event_time_nanos - PRELUDE_SECONDS * 10**9
        follows = self._preludes.get(post.author_digest, since - 1) >= since
        if is_prelude(post.text):
            self._preludes.pop(post.author_digest, None)
            self._preludes[post.author_digest] = post.event_time_nanos
            if len(self._preludes) > MOST_PRELUDES:
                self._preludes.pop(next(iter(self._preludes)))
        if len(post.links) > MOST_CALLED:
            return False
        return pump_score(post.text, follows_prelude=follows) > PUMP_ABOVE

    def _called(self, entity: str, watch: BurstWatch, time_nanos: int) -> list[Trend]:
        """Return the alert of a call; none when there is news, which gives a reason of its own."""
        current = self.sentiment(entity)
        if current.news.post_count:
            return []
        self._pumps[entity] = self.now_nanos + PUMP_NANOS
        usual = watch.usual(time_nanos).mean
        burst = Burst(time_nanos, time_nanos, watch.author_count, usual, watch.zscore(time_nanos))
        message = f"a post calls for buying {entity} together, and there is no news"
        return [self._trend(TrendKind.PUMP_SUSPECTED, entity, burst, current.social.score, message)]

    def _alert(self, entity: str, kind: PostKind, burst: Burst) -> Trend:
        current = self.sentiment(entity)
        is_pump = kind is PostKind.SOCIAL and (
            self._is_suspected(entity) or self._looks_like_a_pump(entity, burst, current)
        )
        if is_pump:
            self._pumps[entity] = self.now_nanos + PUMP_NANOS
        score = current.news.score if kind is PostKind.NEWS else current.social.score
        minutes = (burst.event_time_nanos - burst.start_time_nanos) / 6e10
        message = (
            f"{burst.author_count} authors on {entity} in {minutes:.0f} minutes, "
            f"{burst.usual_author_count:.1f} are usual ({burst.zscore:.1f} standard deviations)"
        )
        if is_pump:
            message += "; few independent voices and no news, or a call to buy together"
        return self._trend(
            TrendKind.PUMP_SUSPECTED if is_pump else TrendKind.BURST, entity, burst, score, message
        )

    def _trend(self, kind: TrendKind, entity: str, burst: Burst, score: float, message: str) -> Trend:
        self.trend_count += 1
        trend = Trend(self.trend_count, kind, entity, burst, score, message)
        self.trends.append(trend)
        return trend

    def _looks_like_a_pump(self, entity: str, burst: Burst, current: EntitySentiment) -> bool:
        """Few independent voices without reach, no news behind them, and nothing bad to say."""
        if current.news.post_count or current.social.score < 0:
            return False
        recent = [
            post
            for post, _ in self._linked(entity)
            if post.kind is PostKind.SOCIAL and post.event_time_nanos >= burst.start_time_nanos
        ]
        copies = sum(post.is_duplicate or post.spam_score >= SPAM_FROM for post in recent)
        reach = sorted(post.follower_count for post in recent)
        return copies * 2 > len(recent) and reach[len(reach) // 2] < PUMP_FOLLOWERS

    def _link(self, post: Post) -> None:
        self.posts[post.post_id] = post
        for link in post.links:
            self._by_entity.setdefault(link.entity, {})[post.post_id] = None

    def _unlink(self, post: Post) -> None:
        for link in post.links:
            self._by_entity.get(link.entity, {}).pop(post.post_id, None)


def _of(linked: list[tuple[Post, PostLink]], kind: PostKind) -> list[tuple[Post, PostLink]]:
    return [(post, link) for post, link in linked if post.kind is kind]
