"""Signals, sentiments, bars and regimes between protobuf and the domain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tapeline.intelligence.v1 import intelligence_service_pb2, regime_pb2
from tapeline.marketdata.v1 import bar_pb2
from tapeline.news.v1 import sentiment_pb2
from tapeline.signals.v1 import signal_pb2, signals_service_pb2

from servers.model.errors import InvalidInput
from servers.model.nanos import NANO
from servers.signals.domain.explanation import Contribution, Explanation
from servers.signals.domain.live import Bars, PostAggregate
from servers.signals.domain.panel import Group
from servers.signals.domain.signal import (
    FeatureValue,
    Flags,
    Reading,
    Regime,
    RegimeReading,
    Sentiment,
    Signal,
)
from servers.wire.money import timestamp_from_nanos

_GROUPS = {
    Group.PRICE: signal_pb2.FEATURE_GROUP_PRICE,
    Group.NEWS: signal_pb2.FEATURE_GROUP_NEWS,
    Group.SOCIAL: signal_pb2.FEATURE_GROUP_SOCIAL,
    Group.REGIME: signal_pb2.FEATURE_GROUP_REGIME,
}
_REGIMES = frozenset(int(regime) for regime in Regime)


def signal_to_wire(signal: Signal) -> signal_pb2.Signal:
    """Return a signal for an answer or a stream."""
    return signal_pb2.Signal(
        signal_id=signal.signal_id,
        symbol=signal.symbol,
        event_time_nanos=signal.event_time_nanos,
        probability_up=signal.probability_up,
        expected_return_bps=signal.expected_return_bps,
        half_life_nanos=signal.half_life_nanos,
        horizon_nanos=signal.horizon_nanos,
        features=[_feature_to_wire(feature) for feature in signal.features],
        model_version=signal.model_version,
        post_ids=signal.post_ids,
        flags=_flags_to_wire(signal.flags),
        regime=signal_pb2.SignalRegime.ValueType(int(signal.regime)),
        traceparent=signal.traceparent,
        create_time=timestamp_from_nanos(signal.create_time_nanos),
        price_only_probability_up=signal.price_only_probability_up,
        author_count=signal.author_count,
        source_count=signal.source_count,
        sentiment_model_versions=signal.sentiment_model_versions,
        volatility_bps=signal.volatility_bps,
    )


def explanation_to_wire(explanation: Explanation) -> signals_service_pb2.ExplainSignalResponse:
    """Return an explanation for an answer."""
    return signals_service_pb2.ExplainSignalResponse(
        signal=signal_to_wire(explanation.signal),
        contributions=[_contribution_to_wire(part) for part in explanation.contributions],
        base_log_odds=explanation.base_log_odds,
        model_log_odds=explanation.model_log_odds,
        text=explanation.text,
        model_description=explanation.model_description,
    )


def bars_from_wire(messages: Sequence[bar_pb2.Bar], now_nanos: int) -> Bars:
    """Return the bars that were over at a market time, in currency units."""
    over = [bar for bar in messages if bar.start_time_nanos + bar.length_nanos <= now_nanos]
    close = np.array([bar.close_price_nanos for bar in over], dtype=np.float64) / NANO
    vwap = np.array([bar.vwap_nanos for bar in over], dtype=np.float64) / NANO
    return Bars(
        np.array([bar.start_time_nanos + bar.length_nanos for bar in over], dtype=np.int64),
        close,
        np.where(vwap > 0.0, vwap, close),
        np.array([bar.volume for bar in over], dtype=np.float64),
    )


def sentiment_from_wire(message: sentiment_pb2.EntitySentiment) -> Sentiment:
    """Return what posts say of an entity. Raises InvalidInput for figures that cannot be."""
    return Sentiment(
        symbol=message.entity,
        event_time_nanos=message.event_time_nanos,
        news=_reading_from_wire(message.news, "news"),
        social=_reading_from_wire(message.social, "social"),
        is_pump_suspected=message.is_pump_suspected,
        post_ids=tuple(message.post_ids),
        traceparent=message.traceparent,
        author_count=message.author_count,
        source_count=message.source_count,
    )


def _reading_from_wire(message: sentiment_pb2.Aggregate, field: str) -> Reading:
    figures = (message.score, message.effective_author_count, message.volume_zscore, message.volume_ratio)
    if not all(map(math.isfinite, figures)) or abs(message.score) > 1.0:
        raise InvalidInput("VALUE_OUT_OF_RANGE", f"an aggregate of {field} cannot be", field=field)
    return Reading(
        PostAggregate(
            message.score, message.effective_author_count, message.volume_zscore, message.newest_time_nanos
        ),
        post_count=message.post_count,
        llm_share=message.llm_share,
        calibrated_share=message.calibrated_share,
        is_shed=message.is_shed,
        disagreement=message.disagreement,
        volume_ratio=message.volume_ratio,
        model_versions=tuple(message.model_versions),
    )


def regime_request(
    symbol: str, closes_nanos: Sequence[int], sentiment: Sentiment | None
) -> intelligence_service_pb2.ClassifyRegimeRequest:
    """Return the question for intelligence; without posts it stands on prices alone."""
    return intelligence_service_pb2.ClassifyRegimeRequest(
        entity=symbol,
        close_prices_nanos=np.array(closes_nanos, dtype="<i8").tobytes(),
        news=_news_to_wire(sentiment) if sentiment is not None and sentiment.post_count else None,
    )


def _news_to_wire(sentiment: Sentiment) -> regime_pb2.NewsAggregate:
    readings, count = sentiment.readings, sentiment.post_count

    def mean(figure: str) -> float:
        return float(sum(reading.post_count * getattr(reading, figure) for reading in readings)) / count

    score = sum(reading.post_count * reading.aggregate.score for reading in readings) / count
    return regime_pb2.NewsAggregate(
        mean_sentiment=score,
        disagreement=min(1.0, mean("disagreement")),
        post_count=count,
        volume_ratio=max(0.0, mean("volume_ratio")),
    )


def regime_from_wire(
    message: intelligence_service_pb2.ClassifyRegimeResponse, now_nanos: int
) -> RegimeReading:
    """Return intelligence's answer."""
    value = int(message.regime)
    return RegimeReading(
        Regime(value) if value in _REGIMES else Regime.UNSPECIFIED,
        message.features.efficiency_ratio,
        message.features.variance_ratio,
        message.features.volatility_ratio,
        now_nanos,
    )


def _feature_to_wire(feature: FeatureValue) -> signal_pb2.Feature:
    return signal_pb2.Feature(
        name=feature.name,
        value=feature.value,
        age_nanos=feature.age_nanos,
        group=_GROUPS[feature.group],
        is_missing=feature.is_missing,
    )


def _flags_to_wire(flags: Flags) -> signal_pb2.SignalFlags:
    return signal_pb2.SignalFlags(
        is_stale=flags.is_stale,
        is_calibrated=flags.is_calibrated,
        lexicon_only=flags.lexicon_only,
        pump_suspected=flags.pump_suspected,
        one_source_only=flags.one_source_only,
        one_author_only=flags.one_author_only,
        is_shed=flags.is_shed,
        price_only=flags.price_only,
    )


def _contribution_to_wire(part: Contribution) -> signal_pb2.Contribution:
    return signal_pb2.Contribution(
        feature=_feature_to_wire(part.feature),
        typical_value=part.typical_value,
        log_odds=part.log_odds,
        text=part.text,
    )
