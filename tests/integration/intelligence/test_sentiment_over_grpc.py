"""ClassifySentiment through real gRPC, with a server of Triton's protocol behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tapeline.intelligence.v1 import sentiment_pb2

from servers.runtime.status import error_info
from tests.integration.intelligence.conftest import Mind, eventually, item
from tests.integration.intelligence.triton_server import raises, sleeps_two_seconds

BULLISH, BEARISH = sentiment_pb2.SENTIMENT_LABEL_BULLISH, sentiment_pb2.SENTIMENT_LABEL_BEARISH
NEUTRAL = sentiment_pb2.SENTIMENT_LABEL_NEUTRAL
LEXICON, STABLE = sentiment_pb2.ANSWERER_LEXICON, sentiment_pb2.ANSWERER_STABLE


async def test_texts_are_labelled_in_the_order_given_and_say_who_answered(mind: Mind) -> None:
    await mind.start()
    answers = await mind.classify(
        item("shares go up", source="news"),
        item("shares go down", source="news"),
        item("shares", source="news"),
    )
    assert [answer.label for answer in answers] == [BULLISH, BEARISH, NEUTRAL]
    assert {answer.answered_by for answer in answers} == {STABLE}
    assert {answer.model_version for answer in answers} == {"market_llm-1-test"}
    assert all(answer.is_source_calibrated and answer.confidence > 0.85 for answer in answers)
    assert all("the model reads it" in answer.rationale for answer in answers)


async def test_a_source_without_calibration_never_reaches_the_threshold(mind: Mind) -> None:
    await mind.start()
    (answer,) = await mind.classify(item("shares go up", source="forum"))
    assert answer.label == BULLISH
    assert not answer.is_source_calibrated
    assert answer.confidence < 0.7


async def test_texts_of_different_callers_share_batches(mind: Mind) -> None:
    await mind.start(batch_wait_seconds=0.05)
    await asyncio.gather(*(mind.classify(item(f"text {number}")) for number in range(8)))
    calls = mind.triton.versions["1"].calls
    assert sum(map(len, calls)) == 8
    assert len(calls) < 8


async def test_many_texts_go_out_in_batches_of_eight_at_most(mind: Mind) -> None:
    await mind.start()
    answers = await mind.classify(*(item(f"text {number}") for number in range(100)))
    assert len(answers) == 100
    assert max(map(len, mind.triton.versions["1"].calls)) <= 8


async def test_the_same_text_is_answered_from_what_was_kept(mind: Mind) -> None:
    await mind.start()
    await mind.classify(item("shares go up"))
    (answer,) = await mind.classify(item("shares go up"))
    assert answer.is_cached
    assert len(mind.triton.versions["1"].calls) == 1


async def test_a_model_that_fails_leaves_the_answer_to_the_word_list(mind: Mind) -> None:
    mind.triton.versions["1"].read = raises
    await mind.start()
    (answer,) = await mind.classify(item("profit plunges", source="news"))
    assert answer.answered_by == LEXICON
    assert answer.fallback_reason == sentiment_pb2.FALLBACK_REASON_MODEL_FAILED
    assert answer.label == BEARISH
    assert answer.model_version == "lexicon/1"
    assert answer.confidence < 0.7
    assert not answer.is_source_calibrated
    assert "the word list" in answer.rationale


async def test_a_model_that_sleeps_does_not_hold_its_callers_past_their_deadlines(mind: Mind) -> None:
    mind.triton.versions["1"].read = sleeps_two_seconds
    await mind.start()
    (answer,) = await mind.classify(item("record profit"), timeout=0.5)
    assert answer.answered_by == LEXICON
    assert answer.fallback_reason == sentiment_pb2.FALLBACK_REASON_DEADLINE
    assert answer.label == BULLISH


async def test_without_triton_it_serves_and_says_so_and_recovers_by_itself(mind: Mind) -> None:
    stub = await mind.start()
    assert stub is not None
    await mind.triton.stop()
    (answer,) = await mind.classify(item("shares go up"))
    assert answer.answered_by == LEXICON
    assert answer.fallback_reason == sentiment_pb2.FALLBACK_REASON_MODEL_UNREACHABLE
    status = await mind.status()
    assert not status.is_llm_answering
    assert [model.answerer for model in status.models] == [STABLE, LEXICON]
    assert "does not answer" in status.models[0].reason
    await mind.triton.start()

    async def is_llm_back() -> bool:
        (answer,) = await mind.classify(item("shares are back up"))
        return bool(answer.answered_by == STABLE)

    await eventually(is_llm_back)
    assert (await mind.status()).is_llm_answering


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([], "FIELD_MISSING"),
        ([{"text": ""}], "FIELD_MISSING"),
        ([{"text": "x" * 8_001}], "VALUE_OUT_OF_RANGE"),
        ([{"text": "x", "entity": ""}], "FIELD_MISSING"),
        ([{"text": "x", "follower_count": -1}], "VALUE_OUT_OF_RANGE"),
        ([{"text": "x"}] * 257, "VALUE_OUT_OF_RANGE"),
    ],
)
async def test_a_request_that_cannot_be_answered_is_refused_with_its_reason(
    mind: Mind, items: list[dict[str, Any]], reason: str
) -> None:
    await mind.start()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await mind.classify(*(item(**one) for one in items))
    info = error_info(refused.value)
    assert info is not None
    assert info.reason == reason
