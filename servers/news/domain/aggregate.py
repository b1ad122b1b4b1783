"""What posts of one kind say of one entity: weighted by reach and sureness, fading, capped, shrunk.

An author counts once, with the post that weighs most now; a campaign counts as the post that it repeats; no
source has more than `SOURCE_CAP` of the weight while there are others. The mean is shrunk towards 0 as by
`PRIOR_WEIGHT` of posts that say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from servers.news.domain.post import Post, PostKind, PostLink

CONFIDENCE_FROM = 0.7
"""Readings below it do not count."""
HALF_LIFE_SECONDS = {PostKind.NEWS: 3_600.0, PostKind.SOCIAL: 1_800.0}
FADED_HALF_LIVES = 6.0
PRIOR_WEIGHT = 1.0
SOURCE_CAP = 0.6
MOST_POSTS = 20


@dataclass(frozen=True, slots=True)
class Aggregate:
    """See the message of the same name in the contract; the figures of volume are added by the desk."""

    score: float = 0.0
    confidence: float = 0.0
    disagreement: float = 0.0
    effective_author_count: float = 0.0
    authors: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    post_count: int = 0
    llm_share: float = 0.0
    calibrated_share: float = 0.0
    is_shed: bool = False
    newest_time_nanos: int = 0
    model_versions: tuple[str, ...] = ()
    weights: tuple[tuple[str, float], ...] = ()
    """Posts and their weights, the heaviest first."""


def base_weight(post: Post, link: PostLink) -> float:
    """Return what a post weighs when it is new: 0 when it does not count."""
    reading = link.reading
    if reading is None or not post.is_relevant or reading.confidence < CONFIDENCE_FROM:
        return 0.0
    return (1.0 + math.log10(1.0 + max(0, post.follower_count))) / 3.0 * reading.confidence * link.confidence


def aggregate(posts: Iterable[tuple[Post, PostLink]], kind: PostKind, now_nanos: int) -> Aggregate:
    """Sum up posts of one kind, each with its link to the entity, as of market time `now_nanos`."""
    half_life = HALF_LIFE_SECONDS[kind] * 1e9
    is_shed = False
    heaviest: dict[str, tuple[float, Post, PostLink]] = {}
    count = 0
    for post, link in posts:
        age = max(0, now_nanos - post.event_time_nanos)
        if age > FADED_HALF_LIVES * half_life:
            continue
        is_shed |= link.reading is not None and link.reading.is_shed and post.is_relevant
        weight = base_weight(post, link) * 2.0 ** (-age / half_life)
        if weight <= 0.0:
            continue
        count += 1
        known = heaviest.get(post.author_digest)
        if known is None or weight > known[0]:
            heaviest[post.author_digest] = (weight, post, link)
    return _summed(_capped(list(heaviest.values())), count, is_shed)


def _capped(voices: list[tuple[float, Post, PostLink]]) -> list[tuple[float, Post, PostLink]]:
    by_source: dict[str, float] = {}
    for weight, post, _ in voices:
        by_source[post.source] = by_source.get(post.source, 0.0) + weight
    if len(by_source) < 2:
        return voices
    source, most = max(by_source.items(), key=lambda item: (item[1], item[0]))
    allowed = SOURCE_CAP / (1.0 - SOURCE_CAP) * (sum(by_source.values()) - most)
    scale = min(1.0, allowed / most)
    return [
        (weight * scale if post.source == source else weight, post, link) for weight, post, link in voices
    ]


def _summed(voices: list[tuple[float, Post, PostLink]], count: int, is_shed: bool) -> Aggregate:
    total = sum(weight for weight, _, _ in voices)
    if total <= 0.0:
        return Aggregate(is_shed=is_shed)
    read = [(weight, link.reading) for weight, _, link in voices if link.reading is not None]
    score = sum(weight * reading.score for weight, reading in read)
    mean = score / total
    spread = sum(weight * (reading.score - mean) ** 2 for weight, reading in read) / total
    ordered = sorted(voices, key=lambda voice: (-voice[0], voice[1].post_id))
    return Aggregate(
        score=score / (total + PRIOR_WEIGHT),
        confidence=sum(weight * reading.confidence for weight, reading in read) / total,
        disagreement=min(1.0, math.sqrt(spread)),
        effective_author_count=total**2 / sum(weight**2 for weight, _, _ in voices),
        authors=frozenset(post.author_digest for _, post, _ in voices),
        sources=frozenset(post.source for _, post, _ in voices),
        post_count=count,
        llm_share=sum(weight for weight, reading in read if reading.is_llm) / total,
        calibrated_share=sum(weight for weight, reading in read if reading.is_calibrated) / total,
        is_shed=is_shed,
        newest_time_nanos=max(post.event_time_nanos for _, post, _ in voices),
        model_versions=tuple(sorted({reading.model_version for _, reading in read})),
        weights=tuple((post.post_id, weight) for weight, post, _ in ordered[:MOST_POSTS]),
    )
