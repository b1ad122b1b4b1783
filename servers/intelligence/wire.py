"""Protobuf to intelligence's values and back."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from sys import byteorder

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tapeline.intelligence.v1 import intelligence_service_pb2, regime_pb2, rollout_pb2, sentiment_pb2

from servers.intelligence.domain.regime import VERSION as REGIME_VERSION
from servers.intelligence.domain.regime import News, RegimeAnswer
from servers.intelligence.domain.rollout import (
    Action,
    Change,
    Event,
    EventKind,
    Figures,
    Plan,
    Rollout,
    Stage,
)
from servers.intelligence.domain.sentiment import Answerer, Item, Sentiment
from servers.model.clock import NANOS_PER_SECOND
from servers.model.errors import InvalidInput
from servers.model.order import check_range

MOST_ITEMS = 256
MOST_REGIME_ITEMS = 32
MOST_FORGOTTEN = 10_000
MOST_TEXT, MOST_ID, MOST_ENTITY, MOST_SOURCE, MOST_REASON = 8_000, 128, 64, 64, 500
_STAGES = {stage.value: stage for stage in Stage}
_ACTIONS = {action.value: action for action in Action}
_WORST_EVIDENCE = 1e300

# -- Sentiment ----------------------------------------------------------------------------------------


def items_from_wire(messages: Sequence[sentiment_pb2.SentimentItem], most: int = MOST_ITEMS) -> list[Item]:
    """Return validated items; raises InvalidInput that names the field."""
    if len(messages) > most:
        raise InvalidInput("VALUE_OUT_OF_RANGE", f"{len(messages)} items, at most {most}", field="items")
    return [item_from_wire(message, f"items[{place}]") for place, message in enumerate(messages)]


def item_from_wire(message: sentiment_pb2.SentimentItem, field: str) -> Item:
    """Return a validated item; raises InvalidInput that names the field."""
    _words(f"{field}.item_id", message.item_id, MOST_ID)
    _words(f"{field}.entity", message.entity, MOST_ENTITY)
    _words(f"{field}.text", message.text, MOST_TEXT)
    _words(f"{field}.source", message.source, MOST_SOURCE, is_required=False)
    check_range(f"{field}.follower_count", message.follower_count, 0, 2**63 - 1)
    return Item(
        message.item_id, message.entity, message.text, message.source,
        message.follower_count, message.is_duplicate, message.is_linked,
    )  # fmt: skip


def sentiment_to_wire(sentiment: Sentiment) -> sentiment_pb2.Sentiment:
    scores = sentiment.scores
    return sentiment_pb2.Sentiment(
        item_id=sentiment.item.item_id,
        entity=sentiment.item.entity,
        label=sentiment_pb2.SentimentLabel.ValueType(scores.label),
        scores=sentiment_pb2.Scores(bearish=scores.bearish, neutral=scores.neutral, bullish=scores.bullish),
        confidence=sentiment.confidence,
        model_version=sentiment.model_version,
        answered_by=sentiment_pb2.Answerer.ValueType(sentiment.answered_by),
        fallback_reason=sentiment_pb2.FallbackReason.ValueType(sentiment.fallback_reason),
        is_shed=sentiment.is_shed,
        is_source_calibrated=sentiment.is_source_calibrated,
        rationale=sentiment.rationale,
        is_cached=sentiment.is_cached,
        latency=duration_to_wire(sentiment.latency_seconds),
    )


# -- Regime -------------------------------------------------------------------------------------------


def closes_from_wire(column: bytes) -> Sequence[int]:
    """Return a column of little-endian int64; raises InvalidInput when it is none."""
    if len(column) % 8:
        raise InvalidInput("FIELD_INVALID", "not a column of int64", field="close_prices_nanos")
    closes = array("q")
    closes.frombytes(column)
    if byteorder == "big":
        closes.byteswap()
    return closes


def news_from_wire(message: regime_pb2.NewsAggregate) -> News:
    return News(
        message.mean_sentiment, message.disagreement, message.post_count, message.volume_ratio
    ).validate()


def regime_to_wire(
    answer: RegimeAnswer, least: Answerer | None
) -> intelligence_service_pb2.ClassifyRegimeResponse:
    trend, still, wild = answer.probabilities
    features, news = answer.features, answer.news
    return intelligence_service_pb2.ClassifyRegimeResponse(
        regime=regime_pb2.Regime.ValueType(answer.regime),
        trend_probability=trend,
        range_probability=still,
        high_volatility_probability=wild,
        rationale=answer.rationale,
        features=regime_pb2.RegimeFeatures(
            efficiency_ratio=features.efficiency_ratio,
            variance_ratio=features.variance_ratio,
            volatility_ratio=features.volatility_ratio,
            drift_score=features.drift_score,
            mean_sentiment=news.mean_sentiment,
            disagreement=news.disagreement,
            post_count=news.post_count,
        ),
        model_version=REGIME_VERSION,
        answered_by=sentiment_pb2.Answerer.ValueType(least or 0),
    )


# -- Roll-out -----------------------------------------------------------------------------------------


def change_from_wire(message: intelligence_service_pb2.SetRolloutRequest) -> Change:
    """Return a validated change; raises InvalidInput that names the field."""
    action = _ACTIONS.get(message.action)
    if action is None:
        raise InvalidInput("ENUM_UNSPECIFIED", f"action is {message.action}", field="action")
    _words("reason", message.reason, MOST_REASON)
    stage = Stage.SHADOW
    if action in (Action.START, Action.SET_STAGE):
        found = _STAGES.get(message.stage)
        if found is None:
            raise InvalidInput("ENUM_UNSPECIFIED", f"stage is {message.stage}", field="stage")
        stage = found
    if action is not Action.START:
        return Change(action, message.reason, stage=stage)
    return Change(action, message.reason, message.candidate_version, stage, plan_from_wire(message.plan))


def plan_from_wire(message: rollout_pb2.RolloutPlan) -> Plan:
    """Return a plan with the defaults filled in. Raises InvalidInput."""
    plain = Plan()

    def given(name: str) -> float:
        return float(getattr(message, name) if message.HasField(name) else getattr(plain, name))  # type: ignore[arg-type]  # names of this message

    has_time = message.HasField("min_stage_time")
    return Plan(
        given("alpha"), given("min_agreement"), given("max_error_rate"), given("max_latency_ratio"),
        given("non_inferiority_margin"), int(given("min_comparisons")),
        duration_from_wire(message.min_stage_time) if has_time else plain.min_stage_seconds,
        given("comparison_share"), bool(given("is_automatic")),
    ).validate()  # fmt: skip


def plan_to_wire(plan: Plan) -> rollout_pb2.RolloutPlan:
    return rollout_pb2.RolloutPlan(
        alpha=plan.alpha,
        min_agreement=plan.min_agreement,
        max_error_rate=plan.max_error_rate,
        max_latency_ratio=plan.max_latency_ratio,
        non_inferiority_margin=plan.non_inferiority_margin,
        min_comparisons=plan.min_comparisons,
        min_stage_time=duration_to_wire(plan.min_stage_seconds),
        comparison_share=plan.comparison_share,
        is_automatic=plan.is_automatic,
    )


def figures_to_wire(figures: Figures) -> rollout_pb2.RolloutFigures:
    return rollout_pb2.RolloutFigures(
        candidate_calls=figures.candidate_calls,
        candidate_failures=figures.candidate_failures,
        stable_calls=figures.stable_calls,
        stable_failures=figures.stable_failures,
        comparisons=figures.comparisons,
        agreements=figures.agreements,
        candidate_p95_latency=duration_to_wire(figures.candidate_p95_seconds),
        stable_p95_latency=duration_to_wire(figures.stable_p95_seconds),
        agreement_evidence=min(_WORST_EVIDENCE, figures.agreement_evidence),
        error_evidence=min(_WORST_EVIDENCE, figures.error_evidence),
        latency_evidence=min(_WORST_EVIDENCE, figures.latency_evidence),
        labelled_texts=figures.labelled_texts,
        candidate_accuracy=figures.candidate_accuracy,
        stable_accuracy=figures.stable_accuracy,
        accuracy_evidence=min(_WORST_EVIDENCE, figures.accuracy_evidence),
        calibration_evidence=min(_WORST_EVIDENCE, figures.calibration_evidence),
        assigned_entities=figures.assigned_entities,
        candidate_entities=figures.candidate_entities,
        sample_ratio_evidence=min(_WORST_EVIDENCE, figures.sample_ratio_evidence),
    )


def figures_from_wire(message: rollout_pb2.RolloutFigures) -> Figures:
    return Figures(
        message.candidate_calls, message.candidate_failures, message.stable_calls, message.stable_failures,
        message.comparisons, message.agreements,
        duration_from_wire(message.candidate_p95_latency), duration_from_wire(message.stable_p95_latency),
        message.agreement_evidence, message.error_evidence, message.latency_evidence,
        message.labelled_texts, message.candidate_accuracy, message.stable_accuracy,
        message.accuracy_evidence, message.calibration_evidence,
        message.assigned_entities, message.candidate_entities, message.sample_ratio_evidence,
    )  # fmt: skip


def rollout_to_wire(rollout: Rollout, figures: Figures | None, waiting_for: str) -> rollout_pb2.Rollout:
    message = rollout_pb2.Rollout(
        stable_version=rollout.stable_version,
        candidate_version=rollout.candidate_version,
        experiment=rollout.experiment,
        state=rollout_pb2.RolloutState.ValueType(rollout.state),
        stage=rollout_pb2.RolloutStage.ValueType(rollout.stage if rollout.experiment else 0),
        is_llm_on=rollout.is_llm_on,
        sequence=rollout.sequence,
        waiting_for=waiting_for,
    )
    if rollout.experiment:
        message.plan.CopyFrom(plan_to_wire(rollout.plan))
    if figures is not None:
        message.figures.CopyFrom(figures_to_wire(figures))
    return message


def event_to_wire(event: Event) -> rollout_pb2.RolloutEvent:
    message = rollout_pb2.RolloutEvent(
        sequence=event.sequence,
        kind=rollout_pb2.RolloutEventKind.ValueType(event.kind),
        experiment=event.experiment,
        stable_version=event.stable_version,
        candidate_version=event.candidate_version,
        reason=event.reason,
        set_by=event.set_by,
        create_time=time_to_wire(event.create_time_nanos),
    )
    if event.experiment:
        message.stage = rollout_pb2.RolloutStage.ValueType(event.stage)
        message.plan.CopyFrom(plan_to_wire(event.plan))
    if event.figures is not None:
        message.figures.CopyFrom(figures_to_wire(event.figures))
    return message


def event_from_wire(message: rollout_pb2.RolloutEvent, sequence: int) -> Event:
    """Return an event out of the journal; the sequence is that of its record."""
    return Event(
        EventKind(message.kind),
        message.stable_version,
        message.reason,
        message.set_by,
        message.create_time.seconds * NANOS_PER_SECOND + message.create_time.nanos,
        message.experiment,
        message.candidate_version,
        Stage(message.stage) if message.stage else Stage.SHADOW,
        plan_from_wire(message.plan),
        figures_from_wire(message.figures) if message.HasField("figures") else None,
        sequence,
    )


# -- Deletions and times ------------------------------------------------------------------------------


def forgotten_from_wire(
    message: intelligence_service_pb2.ForgetTextsRequest,
) -> tuple[list[str], list[bytes]]:
    """Return item ids and digests; raises InvalidInput that names the field."""
    for field, values in (("item_ids", message.item_ids), ("text_digests", message.text_digests)):
        check_range(f"number of {field}", len(values), 0, MOST_FORGOTTEN)
    for place, item_id in enumerate(message.item_ids):
        _words(f"item_ids[{place}]", item_id, MOST_ID)
    for place, digest in enumerate(message.text_digests):
        if len(digest) != 32:
            raise InvalidInput(
                "FIELD_INVALID", "a digest has 32 bytes (SHA-256)", field=f"text_digests[{place}]"
            )
    return list(message.item_ids), list(message.text_digests)


def duration_to_wire(seconds: float) -> Duration:
    nanos = round(seconds * NANOS_PER_SECOND)
    return Duration(seconds=nanos // NANOS_PER_SECOND, nanos=nanos % NANOS_PER_SECOND)


def duration_from_wire(message: Duration) -> float:
    return message.seconds + message.nanos / NANOS_PER_SECOND


def time_to_wire(nanos: int) -> Timestamp:
    return Timestamp(seconds=nanos // NANOS_PER_SECOND, nanos=nanos % NANOS_PER_SECOND)


def _words(field: str, value: str, most: int, *, is_required: bool = True) -> str:
    if is_required and not value:
        raise InvalidInput("FIELD_MISSING", f"{field} is empty", field=field)
    if len(value) > most:
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE", f"{field} has {len(value)} characters, at most {most}", field=field
        )
    return value
