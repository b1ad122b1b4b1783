"""Posts and what they say, between the domain and the wire."""

from __future__ import annotations

from tapeline.news.v1 import post_pb2, sentiment_pb2

from servers.news.domain.aggregate import Aggregate, base_weight
from servers.news.domain.desk import EntitySentiment, Trend
from servers.news.domain.post import Post, PostLink
from servers.wire.money import timestamp_from_nanos


def post_to_wire(post: Post) -> post_pb2.Post:
    """Return a post as it stands."""
    return post_pb2.Post(
        post_id=post.post_id,
        source=post.source,
        kind=post_pb2.PostKind.ValueType(post.kind),
        author_digest=post.author_digest,
        follower_count=post.follower_count,
        event_time_nanos=post.event_time_nanos,
        create_time=timestamp_from_nanos(post.create_time_nanos),
        text=post.text,
        state=post_pb2.PostState.ValueType(post.state),
        links=[_link_to_wire(post, link) for link in post.links],
        is_duplicate=post.is_duplicate,
        original_post_id=post.original_post_id,
        spam_score=post.spam_score,
        traceparent=post.traceparent,
    )


def _link_to_wire(post: Post, link: PostLink) -> post_pb2.PostLink:
    message = post_pb2.PostLink(
        entity=link.entity,
        kind=post_pb2.LinkKind.ValueType(link.kind),
        confidence=link.confidence,
        weight=base_weight(post, link),
    )
    reading = link.reading
    if reading is not None:
        message.score = reading.score
        message.reading_confidence = reading.confidence
        message.model_version = reading.model_version
        message.is_llm_read = reading.is_llm
        message.is_calibrated = reading.is_calibrated
        message.is_shed = reading.is_shed
    return message


def sentiment_to_wire(sentiment: EntitySentiment) -> sentiment_pb2.EntitySentiment:
    """Return what posts say of an entity."""
    return sentiment_pb2.EntitySentiment(
        entity=sentiment.entity,
        news=_aggregate_to_wire(sentiment.news, sentiment.news_zscore, sentiment.news_ratio),
        social=_aggregate_to_wire(sentiment.social, sentiment.social_zscore, sentiment.social_ratio),
        is_pump_suspected=sentiment.is_pump_suspected,
        post_ids=sentiment.post_ids,
        traceparent=sentiment.traceparent,
        event_time_nanos=sentiment.event_time_nanos,
        author_count=sentiment.author_count,
        source_count=sentiment.source_count,
    )


def _aggregate_to_wire(one: Aggregate, zscore: float, ratio: float) -> sentiment_pb2.Aggregate:
    return sentiment_pb2.Aggregate(
        score=one.score,
        confidence=one.confidence,
        disagreement=one.disagreement,
        effective_author_count=one.effective_author_count,
        author_count=len(one.authors),
        source_count=len(one.sources),
        post_count=one.post_count,
        volume_zscore=zscore,
        volume_ratio=ratio,
        llm_share=one.llm_share,
        calibrated_share=one.calibrated_share,
        is_shed=one.is_shed,
        newest_time_nanos=one.newest_time_nanos,
        model_versions=one.model_versions,
    )


def trend_to_wire(trend: Trend) -> sentiment_pb2.Trend:
    """Return an alert."""
    burst = trend.burst
    return sentiment_pb2.Trend(
        sequence=trend.sequence,
        kind=sentiment_pb2.TrendKind.ValueType(trend.kind),
        entity=trend.entity,
        event_time_nanos=burst.event_time_nanos,
        start_time_nanos=burst.start_time_nanos,
        author_count=burst.author_count,
        usual_author_count=burst.usual_author_count,
        zscore=burst.zscore,
        score=trend.score,
        message=trend.message,
    )
