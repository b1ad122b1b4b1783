"""Every text is answered in time, by whoever can, and the answer says by whom."""

from __future__ import annotations

import asyncio

import pytest

from servers.intelligence.adapters.memory import MemoryModel
from servers.intelligence.domain.rollout import Action, Stage
from servers.intelligence.domain.sentiment import Answerer, FallbackReason, Label, Scores
from servers.intelligence.ports import ModelFailed, ModelUnreachable
from tests.unit.intelligence.conftest import Desk, eventually, item, reads_well


def fails(text: str) -> Scores:
    raise ModelFailed("Triton answered INTERNAL")


def is_away(text: str) -> Scores:
    raise ModelUnreachable("nothing there")


async def test_the_model_for_processors_is_asked_before_the_word_list(desk: Desk) -> None:
    desk.cpu_model = MemoryModel("", reads_well)
    await desk.start()
    desk.models.model("1").read = fails
    (answer,) = await desk.classify([item("down we go")])
    assert answer.answered_by is Answerer.CPU_MODEL
    assert answer.is_source_calibrated
    assert answer.fallback_reason is FallbackReason.MODEL_FAILED
    assert answer.scores.label is Label.BEARISH


async def test_a_candidate_that_is_away_leaves_the_answer_to_the_stable_version(desk: Desk) -> None:
    await desk.start()
    await desk.try_out(Stage.PERCENT_100)
    desk.models.model("2").unavailable_reason = "away"
    (answer,) = await desk.classify([item()])
    assert answer.answered_by is Answerer.STABLE
    assert answer.fallback_reason is FallbackReason.MODEL_UNREACHABLE


async def test_with_everything_away_the_word_list_answers(desk: Desk) -> None:
    await desk.start()
    desk.models.model("1").read = is_away
    (answer,) = await desk.classify([item("profit plunges")])
    assert answer.answered_by is Answerer.LEXICON
    assert answer.fallback_reason is FallbackReason.MODEL_UNREACHABLE
    assert answer.confidence < 0.7
    assert not answer.is_source_calibrated


async def test_a_caller_without_time_gets_the_word_list_at_once(desk: Desk) -> None:
    await desk.start()
    (answer,) = await desk.classify([item()], 0.01)
    assert answer.fallback_reason is FallbackReason.DEADLINE
    assert desk.models.model("1").calls == []


async def test_a_call_gets_no_more_time_than_its_callers_have(desk: Desk) -> None:
    await desk.start()
    desk.models.model("1").seconds = 0.4
    (answer,) = await desk.classify([item()], 0.2)
    assert answer.answered_by is Answerer.LEXICON
    assert answer.fallback_reason is FallbackReason.DEADLINE


async def test_an_answer_that_comes_too_late_for_its_caller_is_kept_for_the_next(desk: Desk) -> None:
    await desk.start(answer_margin_seconds=0.0)
    model = desk.models.model("1")
    model.seconds = 0.15
    post = item("going up")
    hurried = asyncio.create_task(desk.classify([post], 0.1))
    patient = asyncio.create_task(desk.classify([post, item("other")], 2.0))
    first, second = await asyncio.gather(hurried, patient)
    assert first[0].answered_by is Answerer.LEXICON
    assert second[0].answered_by is Answerer.STABLE
    (third,) = await desk.classify([post], 2.0)
    assert third.is_cached


async def test_a_caller_who_leaves_costs_the_model_nothing(desk: Desk) -> None:
    await desk.start(batches_in_flight=1)
    model = desk.models.model("1")
    model.seconds = 0.1
    few, many = [item() for _ in range(8)], [item() for _ in range(40)]
    first = asyncio.create_task(desk.classify(few))
    await eventually(lambda: model.calls)
    gone = asyncio.create_task(desk.classify(many))
    await eventually(lambda: desk.engine.queued()[0] == 40)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert desk.engine.queued()[0] == 0
    await first
    await desk.classify([item("last one up")])
    assert sum(map(len, model.calls)) == 9


async def test_above_the_budget_the_least_relevant_are_shed_and_marked(desk: Desk) -> None:
    await desk.start(budget_texts_per_second=40.0, max_queue_age_seconds=0.5)
    posts = [item(is_duplicate=True) for _ in range(40)] + [
        item(is_linked=True, follower_count=1_000) for _ in range(12)
    ]
    answers = await desk.classify(posts)
    shed = [answer for answer in answers if answer.is_shed]
    assert 30 <= len(shed) <= 40
    assert all(answer.item.is_duplicate for answer in shed)
    assert {answer.answered_by for answer in shed} == {Answerer.LEXICON}
    assert desk.engine.totals.by_reason[FallbackReason.SHED] == len(shed)


async def test_whoever_waits_too_long_is_shed(desk: Desk) -> None:
    await desk.start(max_queue_age_seconds=0.1, batches_in_flight=1)
    desk.models.model("1").seconds = 0.3
    answers = await desk.classify([item() for _ in range(16)])
    assert sum(answer.is_shed for answer in answers) == 8
    assert sum(answer.answered_by is Answerer.STABLE for answer in answers) == 8


async def test_the_switch_of_the_llm_leaves_everything_to_the_word_list_and_survives_a_restart(
    desk: Desk,
) -> None:
    await desk.start()
    await desk.change(Action.SWITCH_LLM_OFF)
    (answer,) = await desk.classify([item()])
    assert answer.fallback_reason is FallbackReason.SWITCHED_OFF
    await desk.start()
    (answer,) = await desk.classify([item()])
    assert answer.fallback_reason is FallbackReason.SWITCHED_OFF
    await desk.change(Action.SWITCH_LLM_ON)
    (answer,) = await desk.classify([item()])
    assert answer.answered_by is Answerer.STABLE


async def test_a_deletion_is_forgotten_and_asked_for_anew(desk: Desk) -> None:
    await desk.start()
    post = item("planted up")
    await desk.classify([post])
    assert await desk.engine.forget([post.item_id], []) == (1, False)
    (answer,) = await desk.classify([item("planted up")])
    assert not answer.is_cached
    assert await desk.engine.forget([], [post.digest]) == (1, False)


async def test_a_text_in_flight_when_it_is_deleted_is_answered_and_not_kept(desk: Desk) -> None:
    await desk.start()
    model = desk.models.model("1")
    model.seconds = 0.1
    post = item("planted up")
    asked = asyncio.create_task(desk.classify([post]))
    await eventually(lambda: model.calls)
    await desk.engine.forget([post.item_id], [])
    (answer,) = await asked
    assert answer.answered_by is Answerer.STABLE
    assert len(desk.engine.answers) == 0


@pytest.mark.parametrize("count", [1, 8, 9, 256])
async def test_answers_come_in_the_order_of_the_items(desk: Desk, count: int) -> None:
    await desk.start()
    posts = [item(f"{number} {('up', 'down', 'calm')[number % 3]}") for number in range(count)]
    answers = await desk.classify(posts)
    assert [answer.item for answer in answers] == posts
    assert [answer.scores.label for answer in answers] == [
        (Label.BULLISH, Label.BEARISH, Label.NEUTRAL)[number % 3] for number in range(count)
    ]
