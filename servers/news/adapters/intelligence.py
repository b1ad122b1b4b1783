"""intelligence: who reads posts."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from tapeline.intelligence.v1 import (
    intelligence_service_pb2,
    intelligence_service_pb2_grpc,
    sentiment_pb2,
)
from ulid import ULID

from servers.news.domain.post import Reading
from servers.news.ports import Question
from servers.runtime.channels import Channels
from servers.runtime.status import from_rpc_error

READ_SECONDS = 20.0
LLM = frozenset(
    {sentiment_pb2.ANSWERER_CANDIDATE, sentiment_pb2.ANSWERER_STABLE, sentiment_pb2.ANSWERER_CPU_MODEL}
)


class GrpcReader:
    """`Reader` over the intelligence server's channel."""

    def __init__(self, channels: Channels) -> None:
        channel = channels.channel("intelligence")
        self._stub = intelligence_service_pb2_grpc.IntelligenceServiceStub(channel)

    async def read(self, questions: Sequence[Question]) -> list[Reading]:
        request = intelligence_service_pb2.ClassifySentimentRequest(
            items=[
                sentiment_pb2.SentimentItem(
                    item_id=question.post_id,
                    entity=question.entity,
                    text=question.text,
                    source=question.source,
                    follower_count=question.follower_count,
                    is_linked=not question.is_market,
                )
                for question in questions
            ]
        )
        try:
            response = await self._stub.ClassifySentiment(request, timeout=READ_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return [_reading(one) for one in response.sentiments]

    async def forget(self, post_ids: Sequence[str]) -> None:
        request = intelligence_service_pb2.ForgetTextsRequest(request_id=str(ULID()), item_ids=post_ids)
        try:
            await self._stub.ForgetTexts(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error


def _reading(message: sentiment_pb2.Sentiment) -> Reading:
    return Reading(
        message.scores.bullish - message.scores.bearish,
        message.confidence,
        message.model_version,
        message.answered_by in LLM,
        message.is_source_calibrated,
        message.is_shed,
    )
