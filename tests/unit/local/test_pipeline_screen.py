"""What people see of the way from posts to fills."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, RenderableType
from tapeline.decision.v1 import decision_pb2, decision_service_pb2
from tapeline.execution.v1 import execution_pb2, execution_service_pb2
from tapeline.news.v1 import news_service_pb2, post_pb2, sentiment_pb2
from tapeline.signals.v1 import signal_pb2, signals_service_pb2
from tapeline.trading.v1 import side_pb2

from servers.local.pipeline_feeds import RECENT, Pipeline
from servers.local.pipeline_screen import pipeline_lines, pipeline_view
from servers.model.nanos import NANO

NEW_YORK = "America/New_York"
NOON = 1_381_161_600 * NANO


def text_of(view: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(view)
    return out.getvalue()


def post(number: int, text: str = "Acme wins a contract", **link: Any) -> post_pb2.Post:
    made = post_pb2.Post(
        post_id=f"simulated:{number}", source="simulated", text=text, event_time_nanos=NOON + number * NANO
    )
    made.links.add(entity="ACME", **link)
    return made


def posts(*made: post_pb2.Post) -> news_service_pb2.StreamPostsResponse:
    return news_service_pb2.StreamPostsResponse(
        changes=[news_service_pb2.PostChange(sequence=1, post=one) for one in made]
    )


def decided(
    number: int, kind: decision_pb2.DecisionEventKind.ValueType, **more: object
) -> decision_service_pb2.StreamDecisionsResponse:
    decision = decision_pb2.Decision(
        decision_id=f"D{number}",
        symbol="ACME",
        event_time_nanos=NOON,
        action=decision_pb2.ACTION_OPEN,
        side=side_pb2.SIDE_BUY,
        quantity_nanos=1_000 * NANO,
        algorithm="twap",
        edge_bps=21.5,
        reason="Buy 1000 ACME, from 0 to 1000.",
        state=decision_pb2.DECISION_STATE_STARTED,
        inputs=decision_pb2.DecisionInputs(post_ids=["p1", "p2"], author_count=2),
    )
    decision.MergeFrom(decision_pb2.Decision(**more))  # type: ignore[arg-type]  # tests name fields freely
    return decision_service_pb2.StreamDecisionsResponse(
        events=[decision_pb2.DecisionEvent(kind=kind, decision=decision, event_time_nanos=NOON)]
    )


def progress(execution_id: str, **more: object) -> execution_service_pb2.StreamExecutionEventsResponse:
    execution = execution_pb2.Execution(
        execution_id=execution_id,
        parameters=execution_pb2.ExecutionParameters(
            symbol="ACME",
            side=side_pb2.SIDE_BUY,
            quantity_nanos=1_000 * NANO,
            algorithm=execution_pb2.ALGORITHM_TWAP,
        ),
        state=execution_pb2.EXECUTION_STATE_RUNNING,
    )
    execution.MergeFrom(execution_pb2.Execution(**more))  # type: ignore[arg-type]  # likewise
    return execution_service_pb2.StreamExecutionEventsResponse(
        events=[execution_pb2.ExecutionEvent(execution=execution)]
    )


def test_the_screen_shows_posts_sentiment_signals_decisions_and_executions() -> None:
    pipeline = Pipeline()
    read: dict[str, Any] = {
        "score": 0.84,
        "reading_confidence": 0.91,
        "model_version": "llm/1",
        "is_llm_read": True,
    }
    pipeline.take_posts(posts(post(1, **read), post(2, "x" * 100), post(3, score=-0.5, model_version="l/1")))
    pipeline.take_posts(posts(post(4, is_shed=True, model_version="lexicon/1")))
    pipeline.take_sentiment(
        news_service_pb2.StreamSentimentResponse(
            sentiments=[
                sentiment_pb2.EntitySentiment(
                    entity="ACME",
                    news=sentiment_pb2.Aggregate(score=0.42, author_count=3, post_count=3),
                    social=sentiment_pb2.Aggregate(score=-0.2, author_count=5, post_count=6),
                )
            ]
        )
    )
    pipeline.take_trends(
        news_service_pb2.StreamTrendsResponse(
            trends=[sentiment_pb2.Trend(sequence=1, event_time_nanos=NOON, message="ACME: 9 authors")]
        )
    )
    pipeline.take_signals(
        signals_service_pb2.StreamSignalsResponse(
            signals=[
                signal_pb2.Signal(
                    symbol="ACME",
                    probability_up=0.634,
                    expected_return_bps=18.2,
                    half_life_nanos=1_800 * NANO,
                    post_ids=["p1", "p2"],
                    flags=signal_pb2.SignalFlags(pump_suspected=True),
                ),
                signal_pb2.Signal(symbol="BOLT", expected_return_bps=-3.0),
            ]
        )
    )
    pipeline.take_decisions(
        decided(1, decision_pb2.DECISION_EVENT_KIND_STARTED, execution_id="E1", filled_quantity_nanos=NANO)
    )
    pipeline.take_decisions(
        decided(
            2,
            decision_pb2.DECISION_EVENT_KIND_DECIDED,
            action=decision_pb2.ACTION_NONE,
            reason="Nothing in BOLT.",
        )
    )
    pipeline.take_executions(progress("E1", filled_quantity_nanos=250 * NANO))
    shown = text_of(pipeline_view(pipeline, NEW_YORK))
    for words in (
        "12:00:0",
        "4 posts, 1 alerts, 1 orders",
        "ACME: 9 authors",
        "bullish +0.84 (0.91)",
        "LLM",
        "bearish -0.50",
        "lexicon, shed",
        "xxx...",
        "+0.42 by 3",
        "-0.20 by 5",
        "0.634",
        "+18.2 bp",
        "30 min",
        "PUMP, uncalibrated",
        "OPEN BUY 1,000 ACME twap",
        "2 by 2",
        "STARTED",
        "last declined: Nothing in BOLT.",
        "25.0%",
    ):
        assert words in shown, words
    assert [one.decision_id for one in pipeline.filled] == ["D1"]


def test_an_empty_screen_stands() -> None:
    assert "0 posts, 0 orders" in text_of(pipeline_view(Pipeline(), NEW_YORK))


def test_a_deleted_post_leaves_the_screen_and_old_ones_are_forgotten() -> None:
    pipeline = Pipeline()
    pipeline.take_posts(posts(post(1, "a secret")))
    gone = post(1, "")
    gone.state = post_pb2.POST_STATE_DELETED
    pipeline.take_posts(posts(gone))
    assert "a secret" not in text_of(pipeline_view(pipeline, NEW_YORK))
    pipeline.take_posts(posts(*(post(number) for number in range(2, RECENT + 50))))
    assert len(pipeline.posts) == RECENT
    assert pipeline.post_count == RECENT + 49


def test_progress_that_comes_before_its_decision_waits_for_it_and_other_peoples_is_not_shown() -> None:
    pipeline = Pipeline()
    pipeline.take_executions(progress("E1"))
    for number in range(2 * RECENT):
        pipeline.take_executions(progress(f"X{number}"))
    assert pipeline.executions == {}
    pipeline.take_executions(progress("E1"))
    pipeline.take_decisions(decided(1, decision_pb2.DECISION_EVENT_KIND_STARTED, execution_id="E1"))
    assert list(pipeline.executions) == ["E1"]


def test_plain_lines_come_once_for_each_order_each_end_and_each_alert() -> None:
    pipeline = Pipeline()
    pipeline.take_trends(
        news_service_pb2.StreamTrendsResponse(
            trends=[sentiment_pb2.Trend(sequence=1, event_time_nanos=NOON, message="ACME: 9 authors")]
        )
    )
    pipeline.take_decisions(
        decided(1, decision_pb2.DECISION_EVENT_KIND_APPROVED, state=decision_pb2.DECISION_STATE_APPROVED)
    )
    assert [key for key, _ in pipeline_lines(pipeline, NEW_YORK)] == ["trend 1"]
    pipeline.take_decisions(decided(1, decision_pb2.DECISION_EVENT_KIND_STARTED, execution_id="E1"))
    pipeline.take_executions(progress("E1", state=execution_pb2.EXECUTION_STATE_FILLED))
    lines = dict(pipeline_lines(pipeline, NEW_YORK))
    assert list(lines) == ["trend 1", "D1 STARTED", "end E1"]
    assert lines["D1 STARTED"] == "12:00:00  STARTED: Buy 1000 ACME, from 0 to 1000."
    assert "FILLED" in lines["end E1"]
