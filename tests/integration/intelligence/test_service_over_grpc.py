"""Regime, roll-out, deletions, status and metrics through real gRPC."""

from __future__ import annotations

import asyncio
import re
import struct
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
from tapeline.intelligence.v1 import (
    intelligence_service_pb2,
    regime_pb2,
    rollout_pb2,
    sentiment_pb2,
)

from servers.intelligence import metrics
from servers.runtime.status import error_info
from tests.integration.intelligence.conftest import Mind, item

CLIMB = struct.pack("<60q", *(round(1e11 * 1.002**step * (1 + 0.0005 * (step % 3))) for step in range(60)))


async def reason_of(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    info = error_info(refused.value)
    assert info is not None
    return info.reason


# -- Regime -------------------------------------------------------------------------------------------


async def test_a_climb_is_a_trend_and_posts_join_what_was_known(mind: Mind) -> None:
    stub = await mind.start()
    response = await stub.ClassifyRegime(
        intelligence_service_pb2.ClassifyRegimeRequest(
            entity="ACME",
            close_prices_nanos=CLIMB,
            news=regime_pb2.NewsAggregate(mean_sentiment=0.5, disagreement=0.2, post_count=6),
            items=[item("go up", source="news"), item("go up high", source="news")],
        )
    )
    assert response.regime == regime_pb2.REGIME_TREND
    total = response.trend_probability + response.range_probability + response.high_volatility_probability
    assert total == pytest.approx(1.0)
    assert response.features.post_count == 8
    assert response.features.mean_sentiment > 0.5
    assert response.answered_by == sentiment_pb2.ANSWERER_STABLE
    assert response.model_version == "regime/1"
    assert "8 posts lean bullish" in response.rationale


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"entity": ""}, "FIELD_INVALID"),
        ({"close_prices_nanos": CLIMB[:-1]}, "FIELD_INVALID"),
        ({"close_prices_nanos": CLIMB[:80]}, "VALUE_OUT_OF_RANGE"),
        ({"news": regime_pb2.NewsAggregate(mean_sentiment=2.0)}, "VALUE_OUT_OF_RANGE"),
    ],
)
async def test_a_question_about_a_regime_that_says_nothing_is_refused(
    mind: Mind, changes: dict[str, Any], reason: str
) -> None:
    stub = await mind.start()
    request = intelligence_service_pb2.ClassifyRegimeRequest(
        **{"entity": "ACME", "close_prices_nanos": CLIMB, **changes}
    )
    assert await reason_of(stub.ClassifyRegime(request)) == reason


# -- Roll-out -----------------------------------------------------------------------------------------


async def test_a_roll_out_is_set_shown_journalled_and_survives_a_restart(mind: Mind) -> None:
    await mind.start()
    before = await mind.rollout()
    assert (before.stable_version, before.state) == ("1", rollout_pb2.ROLLOUT_STATE_IDLE)
    set_to = await mind.try_out(rollout_pb2.ROLLOUT_STAGE_5_PERCENT, alpha=0.1, is_automatic=False)
    assert set_to.state == rollout_pb2.ROLLOUT_STATE_RUNNING
    assert set_to.plan.alpha == 0.1
    assert set_to.plan.min_agreement == 0.9
    assert not set_to.plan.is_automatic
    assert set_to.sequence == 1
    await mind.set_rollout(
        rollout_pb2.ROLLOUT_ACTION_SET_STAGE, stage=rollout_pb2.ROLLOUT_STAGE_25_PERCENT, reason="looks well"
    )
    await mind.stop()
    await mind.start()
    after = await mind.rollout()
    assert (after.candidate_version, after.stage) == ("2", rollout_pb2.ROLLOUT_STAGE_25_PERCENT)
    assert after.experiment == set_to.experiment
    events = await mind.events()
    assert [event.reason for event in events] == ["a test", "looks well"]
    assert [event.sequence for event in events] == [1, 2]
    assert {event.set_by for event in events} == {"anonymous"}


async def test_a_repeated_request_gets_the_first_answer_also_after_a_restart(mind: Mind) -> None:
    await mind.start()
    named: dict[str, Any] = {
        "candidate_version": "2",
        "stage": rollout_pb2.ROLLOUT_STAGE_SHADOW,
        "request_id": "same",
    }
    first = await mind.set_rollout(rollout_pb2.ROLLOUT_ACTION_START, **named)
    await mind.set_rollout(rollout_pb2.ROLLOUT_ACTION_ROLL_BACK)
    await mind.stop()
    await mind.start()
    assert await mind.set_rollout(rollout_pb2.ROLLOUT_ACTION_START, **named) == first
    assert (await mind.rollout()).state == rollout_pb2.ROLLOUT_STATE_ROLLED_BACK
    other: dict[str, Any] = {**named, "stage": rollout_pb2.ROLLOUT_STAGE_1_PERCENT}
    assert await reason_of(mind.set_rollout(rollout_pb2.ROLLOUT_ACTION_START, **other)) == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"action": rollout_pb2.ROLLOUT_ACTION_PROMOTE}, "ROLLOUT_STATE"),
        ({"action": rollout_pb2.ROLLOUT_ACTION_UNSPECIFIED}, "ENUM_UNSPECIFIED"),
        ({"action": rollout_pb2.ROLLOUT_ACTION_START, "candidate_version": "2"}, "ENUM_UNSPECIFIED"),
        ({"action": rollout_pb2.ROLLOUT_ACTION_ROLL_BACK, "reason": ""}, "FIELD_MISSING"),
        ({"action": rollout_pb2.ROLLOUT_ACTION_ROLL_BACK, "request_id": ""}, "REQUEST_ID_MISSING"),
        (
            {"action": rollout_pb2.ROLLOUT_ACTION_START, "candidate_version": "7", "stage": 1},
            "MODEL_VERSION_UNAVAILABLE",
        ),
    ],
)
async def test_a_change_that_cannot_be_is_refused_with_its_reason(
    mind: Mind, named: dict[str, Any], reason: str
) -> None:
    await mind.start()
    assert await reason_of(mind.set_rollout(**named)) == reason


async def test_changes_are_listed_by_page(mind: Mind) -> None:
    stub = await mind.start()
    for _ in range(3):
        await mind.set_rollout(rollout_pb2.ROLLOUT_ACTION_SWITCH_LLM_OFF)
        await mind.set_rollout(rollout_pb2.ROLLOUT_ACTION_SWITCH_LLM_ON)
    kinds, token = [], ""
    for _ in range(4):
        page = await stub.ListRolloutEvents(
            intelligence_service_pb2.ListRolloutEventsRequest(page_size=2, page_token=token)
        )
        kinds += [event.kind for event in page.events]
        token = page.next_page_token
        if not token:
            break
    assert kinds == [5, 6] * 3
    for request, reason in (
        (intelligence_service_pb2.ListRolloutEventsRequest(page_size=-1), "PAGE_SIZE_INVALID"),
        (intelligence_service_pb2.ListRolloutEventsRequest(page_token="?"), "PAGE_TOKEN_INVALID"),
        (intelligence_service_pb2.ListRolloutEventsRequest(page_token="eA=="), "PAGE_TOKEN_INVALID"),
    ):
        assert await reason_of(stub.ListRolloutEvents(request)) == reason


async def test_with_the_llm_switched_off_status_and_answers_say_so(mind: Mind) -> None:
    await mind.start()
    await mind.set_rollout(rollout_pb2.ROLLOUT_ACTION_SWITCH_LLM_OFF)
    (answer,) = await mind.classify(item("go up"))
    assert answer.fallback_reason == sentiment_pb2.FALLBACK_REASON_SWITCHED_OFF
    status = await mind.status()
    assert not status.is_llm_answering
    assert status.models[0].reason == "switched off"


# -- Deletions ----------------------------------------------------------------------------------------


async def test_what_was_deleted_is_found_nowhere_any_more(mind: Mind, tmp_path: Path) -> None:
    stub = await mind.start()
    planted = "a planted and unique sentence about quartz"
    by_id, by_text = item(planted + " one"), item(planted + " two")
    await mind.classify(by_id, by_text)
    response = await stub.ForgetTexts(
        intelligence_service_pb2.ForgetTextsRequest(
            request_id="f1",
            item_ids=[by_id.item_id, "unknown"],
            text_digests=[sha256((planted + " two").encode()).digest()],
        )
    )
    assert response.removed_answers == 2
    assert response.is_triton_uncached
    assert not (await mind.classify(item(planted + " one")))[0].is_cached
    await mind.stop()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or planted.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"item_ids": ["x"]}, "REQUEST_ID_MISSING"),
        ({"request_id": "f", "text_digests": [b"short"]}, "FIELD_INVALID"),
        ({"request_id": "f", "item_ids": [""]}, "FIELD_MISSING"),
        ({"request_id": "f", "item_ids": ["x"] * 10_001}, "VALUE_OUT_OF_RANGE"),
    ],
)
async def test_a_deletion_that_names_nothing_is_refused(
    mind: Mind, named: dict[str, Any], reason: str
) -> None:
    stub = await mind.start()
    request = intelligence_service_pb2.ForgetTextsRequest(**named)
    assert await reason_of(stub.ForgetTexts(request)) == reason


# -- Telemetry ----------------------------------------------------------------------------------------


async def test_every_declared_metric_is_emitted(mind: Mind) -> None:
    await mind.start(metrics_port=0)
    await mind.try_out()
    await mind.classify(item("go up"), item("go down", source="news"))
    assert mind.running is not None
    url = f"http://127.0.0.1:{mind.running.metrics_port}/metrics"
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    declared = [value for name, value in vars(metrics).items() if name.isupper() and isinstance(value, str)]
    assert len(declared) > 10
    missing = [name for name in declared if not re.search(rf"^{name}", text, re.MULTILINE)]
    assert missing == []
    assert 'tapeline_intelligence_items_total{answered_by="lexicon"} 0' in text


async def test_status_tells_the_load_and_who_is_asked(mind: Mind) -> None:
    await mind.start(budget_texts_per_second=50.0)
    await mind.classify(item("go up"), item("go up"))
    await mind.classify(item("go up"))
    await mind.try_out()
    status = await mind.status()
    assert [model.answerer for model in status.models] == [
        sentiment_pb2.ANSWERER_CANDIDATE,
        sentiment_pb2.ANSWERER_STABLE,
        sentiment_pb2.ANSWERER_LEXICON,
    ]
    assert [model.version for model in status.models] == ["2", "1", ""]
    assert status.items == 3
    assert status.cached_items == 1
    assert status.budget_texts_per_second == 50.0
    assert list(status.calibrated_sources) == ["news"]
