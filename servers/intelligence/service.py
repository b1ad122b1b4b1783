"""IntelligenceService at the gRPC edge."""

from __future__ import annotations

from typing import Any

from tapeline.intelligence.v1 import (
    intelligence_service_pb2,
    intelligence_service_pb2_grpc,
    rollout_pb2,
    sentiment_pb2,
)

from servers.intelligence import wire
from servers.intelligence.conductor import Conductor
from servers.intelligence.domain.sentiment import Answerer, FallbackReason
from servers.intelligence.engine import IntelligenceEngine
from servers.intelligence.paging import sequence_from_token, token_from_sequence
from servers.model.errors import InvalidInput
from servers.model.order import check_request_id
from servers.runtime.call import current_call, seconds_left
from servers.runtime.component import Registration
from servers.runtime.tracing import current_traceparent

DEFAULT_PAGE, MOST_PAGE = 100, 1_000
ROLES = {
    "ClassifySentiment": frozenset({"news", "trader", "operator"}),
    "ClassifyRegime": frozenset({"signals", "trader", "operator"}),
    "GetRollout": frozenset({"*"}),
    "SetRollout": frozenset({"operator"}),
    "ListRolloutEvents": frozenset({"*"}),
    "ForgetTexts": frozenset({"news", "operator"}),
    "GetStatus": frozenset({"*"}),
}


def registration(service: IntelligenceService) -> Registration:
    """Return how the runtime serves it: deletions and the roll-out are never refused for load."""
    return Registration(
        intelligence_service_pb2_grpc.add_IntelligenceServiceServicer_to_server,
        service,
        roles=ROLES,
        exempt=frozenset({"ForgetTexts", "SetRollout", "GetRollout", "GetStatus"}),
    )


class IntelligenceService(intelligence_service_pb2_grpc.IntelligenceServiceServicer):
    """Sentiment, regime, roll-out, deletions, status."""

    def __init__(self, engine: IntelligenceEngine) -> None:
        self._engine = engine
        self._conductor = engine.conductor

    # -- Questions --------------------------------------------------------------------------------

    async def ClassifySentiment(
        self, request: intelligence_service_pb2.ClassifySentimentRequest, context: Any
    ) -> intelligence_service_pb2.ClassifySentimentResponse:
        if not request.items:
            raise InvalidInput("FIELD_MISSING", "items is empty", field="items")
        items = wire.items_from_wire(request.items)
        sentiments = await self._engine.classify(items, seconds_left(), current_traceparent())
        return intelligence_service_pb2.ClassifySentimentResponse(
            sentiments=[wire.sentiment_to_wire(sentiment) for sentiment in sentiments]
        )

    async def ClassifyRegime(
        self, request: intelligence_service_pb2.ClassifyRegimeRequest, context: Any
    ) -> intelligence_service_pb2.ClassifyRegimeResponse:
        if not request.entity or len(request.entity) > wire.MOST_ENTITY:
            raise InvalidInput("FIELD_INVALID", "entity has 1 to 64 characters", field="entity")
        answer, least = await self._engine.classify_regime(
            wire.closes_from_wire(request.close_prices_nanos),
            wire.news_from_wire(request.news),
            wire.items_from_wire(request.items, wire.MOST_REGIME_ITEMS),
            seconds_left(),
            current_traceparent(),
        )
        return wire.regime_to_wire(answer, least)

    # -- Roll-out ---------------------------------------------------------------------------------

    def GetRollout(
        self, request: intelligence_service_pb2.GetRolloutRequest, context: Any
    ) -> intelligence_service_pb2.GetRolloutResponse:
        return intelligence_service_pb2.GetRolloutResponse(rollout=_rollout(self._conductor))

    async def SetRollout(
        self, request: intelligence_service_pb2.SetRolloutRequest, context: Any
    ) -> intelligence_service_pb2.SetRolloutResponse:
        request_id = check_request_id(request.request_id)
        change = wire.change_from_wire(request)
        call = current_call()
        set_by = (call.identity if call is not None else None) or "anonymous"
        answer = await self._conductor.change(
            request_id, change, set_by, lambda conductor: _rollout(conductor).SerializeToString()
        )
        return intelligence_service_pb2.SetRolloutResponse(rollout=rollout_pb2.Rollout.FromString(answer))

    def ListRolloutEvents(
        self, request: intelligence_service_pb2.ListRolloutEventsRequest, context: Any
    ) -> intelligence_service_pb2.ListRolloutEventsResponse:
        if not 0 <= request.page_size <= MOST_PAGE:
            raise InvalidInput("PAGE_SIZE_INVALID", field="page_size", value=request.page_size)
        size = request.page_size or DEFAULT_PAGE
        found = self._conductor.journal.page(sequence_from_token(request.page_token), size + 1)
        page = found[:size]
        return intelligence_service_pb2.ListRolloutEventsResponse(
            events=[wire.event_to_wire(event) for event in page],
            next_page_token=token_from_sequence(page[-1].sequence) if len(found) > size else "",
        )

    # -- Deletions and status ---------------------------------------------------------------------

    async def ForgetTexts(
        self, request: intelligence_service_pb2.ForgetTextsRequest, context: Any
    ) -> intelligence_service_pb2.ForgetTextsResponse:
        check_request_id(request.request_id)
        removed, is_kept_elsewhere = await self._engine.forget(*wire.forgotten_from_wire(request))
        return intelligence_service_pb2.ForgetTextsResponse(
            removed_answers=removed, is_triton_uncached=not is_kept_elsewhere
        )

    def GetStatus(
        self, request: intelligence_service_pb2.GetStatusRequest, context: Any
    ) -> intelligence_service_pb2.GetStatusResponse:
        engine = self._engine
        is_on = self._conductor.rollout.is_llm_on
        models = [self._model_status(answerer, model, is_on) for answerer, model in engine.models()]
        lexicon = intelligence_service_pb2.ModelStatus(
            answerer=sentiment_pb2.ANSWERER_LEXICON,
            is_asked=True,
            answered_texts=engine.totals.by_answerer[Answerer.LEXICON],
        )
        count, age = engine.queued()
        return intelligence_service_pb2.GetStatusResponse(
            is_llm_answering=any(model.is_asked for model in models),
            models=[*models, lexicon],
            queued_texts=count,
            queue_age=wire.duration_to_wire(age),
            budget_texts_per_second=engine.limits.budget_texts_per_second,
            items=engine.totals.items,
            shed_items=engine.totals.by_reason[FallbackReason.SHED],
            cached_items=engine.totals.cached,
            calibrated_sources=engine.calibrations.names(),
        )

    def _model_status(
        self, answerer: Answerer, model: Any, is_on: bool
    ) -> intelligence_service_pb2.ModelStatus:
        lane = self._engine.lane_of(answerer, model)
        reason = model.unavailable_reason if is_on else "switched off"
        return intelligence_service_pb2.ModelStatus(
            answerer=sentiment_pb2.Answerer.ValueType(answerer),
            version=model.version,
            is_asked=not reason,
            reason=reason,
            answered_texts=lane.answered_texts,
            failed_calls=lane.failed_calls,
            p95_latency=wire.duration_to_wire(lane.latencies.percentile(0.95)),
        )


def _rollout(conductor: Conductor) -> rollout_pb2.Rollout:
    figures = None if conductor.trial is None else conductor.trial.figures()
    return wire.rollout_to_wire(conductor.rollout, figures, conductor.waiting_for())
