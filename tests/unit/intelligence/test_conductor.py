"""A roll-out at work: failures suspend, probes decide, evidence rolls back, comparisons let it go on."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from servers.intelligence.domain.rollout import Action, EventKind, Plan, Stage, State
from servers.intelligence.domain.sentiment import Answerer, Label, Scores
from servers.intelligence.ports import LabelledText, ModelFailed, ModelUnreachable
from servers.model.errors import AlreadyExists, FailedPrecondition, InvalidInput
from tests.unit.intelligence.conftest import CALM, DOWN, Desk, eventually, item, reads_well

SOON = {"min_comparisons": 10, "min_stage_seconds": 0.0}


async def feed(desk: Desk, is_over: Callable[[], bool], most: int = 4_000) -> list[Answerer]:
    """Ask about ever new entities until something is over; return who answered."""
    answered: list[Answerer] = []
    for number in itertools.count():
        if is_over():
            return answered
        assert number < most, "it was not over in time"
        posts = [item(f"{number} {place} up", f"E{number}-{place}") for place in range(4)]
        answered += [answer.answered_by for answer in await desk.classify(posts)]
    return answered


def state(desk: Desk) -> State:
    return desk.conductor.rollout.state


async def kinds(desk: Desk) -> list[EventKind]:
    return [event.kind for event in await desk.journal.load()]


async def test_a_candidate_that_fails_once_and_recovers_goes_on(desk: Desk) -> None:
    await desk.start()
    failures: list[ModelFailed] = []

    def hiccups(text: str) -> Scores:
        if failures:
            raise failures.pop()
        return reads_well(text)

    desk.models.model("2").read = hiccups
    await desk.try_out(Stage.PERCENT_50)
    failures.append(ModelFailed("a hiccup"))
    trial = desk.conductor.trial
    assert trial is not None
    await feed(desk, lambda: trial.candidate_failures > 0)
    await eventually(lambda: state(desk) is State.RUNNING)
    assert trial.candidate_failures == 1
    assert await kinds(desk) == [EventKind.STARTED]


async def test_when_both_versions_are_away_nobody_is_rolled_back(desk: Desk) -> None:
    await desk.start()
    await desk.try_out(Stage.PERCENT_50)

    def away(text: str) -> Scores:
        raise ModelUnreachable("the machine is gone")

    desk.models.model("1").read = desk.models.model("2").read = away
    seen: list[State] = []

    def is_enough() -> bool:
        seen.append(state(desk))
        return len(seen) > 40

    answered = await feed(desk, is_enough)
    assert set(answered) == {Answerer.LEXICON}
    desk.models.model("1").read = desk.models.model("2").read = reads_well
    await eventually(lambda: state(desk) is State.RUNNING)
    assert State.SUSPENDED in seen
    assert await kinds(desk) == [EventKind.STARTED]


async def test_while_a_candidate_is_probed_nothing_is_sent_to_it(desk: Desk) -> None:
    await desk.start()
    await desk.try_out(Stage.PERCENT_100)
    candidate = desk.models.model("2")
    candidate.seconds = 5.0
    answers = await asyncio.gather(
        *(desk.classify([item(entity=f"E{n}") for n in range(40)]) for _ in range(3))
    )
    assert {answer.answered_by for some in answers for answer in some} == {Answerer.STABLE}
    await eventually(lambda: state(desk) is State.ROLLED_BACK)
    assert len(candidate.calls) <= 2 + 2 + 1  # in flight, probes, a comparison


async def test_a_version_that_is_worse_on_labelled_texts_is_rolled_back(desk: Desk) -> None:
    desk.labelled = [LabelledText(f"labelled {n} up", Label.BULLISH, "news") for n in range(4_000)]
    await desk.start()
    draw = random.Random(1)

    def worse(text: str) -> Scores:
        return DOWN if text.startswith("labelled") and draw.random() < 0.3 else reads_well(text)

    desk.models.model("2").read = worse
    await desk.try_out(Stage.SHADOW)
    await eventually(lambda: state(desk) is State.ROLLED_BACK, 30.0)
    (_, last) = await desk.journal.load()
    assert "labelled texts is worse" in last.reason
    assert last.figures is not None
    assert last.figures.candidate_accuracy < 0.9 < last.figures.stable_accuracy


async def test_a_good_version_goes_through_all_stages_and_is_promoted(desk: Desk) -> None:
    desk.labelled = [LabelledText(f"labelled {n} up", Label.BULLISH, "news") for n in range(2_000)]
    await desk.start()
    await desk.try_out(Stage.SHADOW, **SOON)
    await feed(desk, lambda: state(desk) is State.PROMOTED)
    assert desk.conductor.rollout.stable_version == "2"
    assert [event.stage for event in await desk.journal.load()] == [*Stage, Stage.PERCENT_100]
    (answer,) = await desk.classify([item()])
    assert (answer.answered_by, answer.model_version) == (Answerer.STABLE, "memory-2")


async def test_without_labelled_texts_a_person_decides(desk: Desk) -> None:
    await desk.start()
    await desk.try_out(Stage.SHADOW, **SOON)
    trial = desk.conductor.trial
    assert trial is not None
    await feed(desk, lambda: trial.comparisons > 20)
    assert "labelled texts: none are configured" in desk.conductor.waiting_for()
    await desk.change(Action.SET_STAGE, stage=Stage.PERCENT_5)
    assert desk.conductor.rollout.stage is Stage.PERCENT_5
    await desk.change(Action.PROMOTE)
    assert desk.conductor.rollout.stable_version == "2"
    assert desk.conductor.waiting_for() == ""


async def test_in_shadow_nobody_hears_the_candidate(desk: Desk) -> None:
    await desk.start()
    desk.models.model("2").read = lambda _text: CALM
    await desk.try_out(Stage.SHADOW)
    answered = await feed(desk, lambda: state(desk) is State.ROLLED_BACK)
    assert set(answered) == {Answerer.STABLE}
    assert desk.models.model("2").calls


async def test_a_slower_version_is_rolled_back(desk: Desk) -> None:
    await desk.start()
    desk.models.model("1").seconds, desk.models.model("2").seconds = 0.002, 0.03
    await desk.try_out(Stage.SHADOW, min_agreement=0.5)
    await feed(desk, lambda: state(desk) is State.ROLLED_BACK)
    last = list(await desk.journal.load())[-1]
    assert "slower" in last.reason


async def test_a_wrong_ratio_of_entities_holds_the_promotion(desk: Desk) -> None:
    await desk.start()
    await desk.try_out(Stage.PERCENT_50, **SOON)
    trial = desk.conductor.trial
    assert trial is not None
    for number in range(100):
        trial.assign(f"E{number}", True)
    assert trial.figures().sample_ratio_evidence > 1_000
    assert "ratio" in desk.conductor.waiting_for()


async def test_evidence_and_stage_survive_a_restart(desk: Desk) -> None:
    await desk.start()
    await desk.try_out(Stage.PERCENT_25)
    trial = desk.conductor.trial
    assert trial is not None
    await feed(desk, lambda: trial.comparisons > 30)
    experiment = desk.conductor.rollout.experiment
    await desk.journal.save_trial(experiment, {"evidence": trial.to_state(), "replayed": 0})
    saved = trial.figures()
    before = desk.conductor.rollout
    await desk.stop()
    await desk.start()
    again = desk.conductor.trial
    assert again is not None
    assert desk.conductor.rollout == before
    restored = again.figures()
    assert replace(restored, candidate_p95_seconds=0.0, stable_p95_seconds=0.0) == replace(
        saved, candidate_p95_seconds=0.0, stable_p95_seconds=0.0
    )


async def test_a_repeated_request_gets_the_first_answer_and_changes_nothing(desk: Desk) -> None:
    await desk.start()
    first = await desk.change(Action.START, "same", candidate_version="2", stage=Stage.SHADOW)
    await desk.change(Action.ROLL_BACK)
    assert await desk.change(Action.START, "same", candidate_version="2", stage=Stage.SHADOW) == first
    assert state(desk) is State.ROLLED_BACK
    with pytest.raises(AlreadyExists):
        await desk.change(Action.START, "same", candidate_version="3", stage=Stage.SHADOW)


async def test_changes_that_cannot_be_are_refused(desk: Desk) -> None:
    await desk.start()
    with pytest.raises(FailedPrecondition, match="no version is on trial"):
        await desk.change(Action.PROMOTE)
    with pytest.raises(FailedPrecondition, match="in force already"):
        await desk.change(Action.START, candidate_version="1")
    with pytest.raises(InvalidInput, match="version number"):
        await desk.change(Action.START, candidate_version="../2")
    with pytest.raises(InvalidInput, match="alpha"):
        await desk.try_out(alpha=0.9)
    desk.models.model("2").is_loaded = False
    with pytest.raises(FailedPrecondition, match="not loaded"):
        await desk.try_out()
    desk.models.model("2").is_loaded = True
    await desk.try_out()
    with pytest.raises(FailedPrecondition, match="on trial"):
        await desk.try_out()
    assert await kinds(desk) == [EventKind.STARTED]


async def test_what_is_so_already_makes_no_event(desk: Desk) -> None:
    await desk.start()
    await desk.change(Action.SWITCH_LLM_ON)
    await desk.try_out(Stage.PERCENT_5)
    await desk.change(Action.SET_STAGE, stage=Stage.PERCENT_5)
    assert await kinds(desk) == [EventKind.STARTED]


async def test_another_experiment_can_follow(desk: Desk) -> None:
    await desk.start()
    await desk.try_out()
    await desk.change(Action.ROLL_BACK)
    desk.clock.tick(1.0)
    await desk.try_out(Stage.PERCENT_1)
    rollout = desk.conductor.rollout
    assert (rollout.state, rollout.stage, rollout.plan) == (State.RUNNING, Stage.PERCENT_1, Plan())
