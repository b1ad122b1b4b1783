"""The roll-out's journal: one suite for the one in memory and the one on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from servers.intelligence.adapters.journal import JournalRollout
from servers.intelligence.adapters.memory import MemoryRollout
from servers.intelligence.domain.rollout import Action, Change, Event, EventKind, Figures, Plan, Stage
from servers.intelligence.domain.trial import Trial
from servers.intelligence.ports import RolloutJournal
from servers.journal import Journal
from servers.model.clock import ManualClock
from servers.model.errors import AlreadyExists

NOW = 1_700_000_000_123_456_789
PLAN = Plan(alpha=0.1, min_comparisons=50, min_stage_seconds=1.5, is_automatic=False)
STARTED = Event(EventKind.STARTED, "1", "try it", "ann", NOW, "1-2-x", "2", Stage.PERCENT_5, PLAN, None, 1)
ROLLED_BACK = replace(
    STARTED,
    kind=EventKind.ROLLED_BACK,
    reason="it failed",
    figures=Figures(7, 1, 9, 0, 5, 4, 0.25, 0.125, 3.5, 2.0, 1.0, 2, 0.5, 1.0, 1.25, 0.75, 3, 1, 1.5),
    sequence=2,
)
CHANGE = Change(Action.START, "try it", "2", Stage.PERCENT_5, PLAN)
Reopen = Callable[[], Awaitable[RolloutJournal]]


@pytest.fixture(params=["memory", "disk"])
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    if request.param == "memory":
        kept = MemoryRollout()

        async def same() -> RolloutJournal:
            return kept

        yield same
        return
    failures: list[BaseException] = []
    opened: list[Journal] = []

    async def anew() -> RolloutJournal:
        for journal in opened:
            await journal.close()
        opened[:] = [
            await Journal.open(
                tmp_path / "j", writer="intelligence", clock=ManualClock(NOW), on_failure=failures.append
            )
        ]
        return JournalRollout(opened[0])

    yield anew
    for journal in opened:
        await journal.close()
    assert failures == []


async def test_changes_come_back_as_they_were(reopen: Reopen) -> None:
    journal = await reopen()
    await journal.save_asked("r1", CHANGE, STARTED, b"answer")
    await journal.save(ROLLED_BACK)
    journal = await reopen()
    assert list(await journal.load()) == [STARTED, ROLLED_BACK]
    assert journal.last_sequence == 2
    assert list(journal.page(1, 10)) == [ROLLED_BACK]
    assert list(journal.page(0, 1)) == [STARTED]


async def test_the_first_answer_to_a_request_is_remembered(reopen: Reopen) -> None:
    journal = await reopen()
    assert journal.first_answer("r1", CHANGE) is None
    await journal.save_asked("r1", CHANGE, STARTED, b"answer")
    journal = await reopen()
    assert journal.first_answer("r1", CHANGE) == b"answer"
    with pytest.raises(AlreadyExists, match=r"used before|r1"):
        journal.first_answer("r1", replace(CHANGE, stage=Stage.SHADOW))


async def test_what_is_so_already_leaves_nothing(reopen: Reopen) -> None:
    journal = await reopen()
    await journal.save_asked("r1", Change(Action.SWITCH_LLM_ON, "so"), None, b"answer")
    assert journal.last_sequence == 0


async def test_evidence_comes_back_for_its_own_experiment_alone(reopen: Reopen) -> None:
    journal = await reopen()
    await journal.save(STARTED)
    trial = Trial(PLAN)
    trial.begin_stage(Stage.PERCENT_25)
    trial.assign("ACME", True)
    trial.called(True, 0.1, is_failure=True)
    await journal.save_trial("1-2-x", {"evidence": trial.to_state(), "replayed": 12})
    journal = await reopen()
    assert journal.load_trial("another") is None
    state = journal.load_trial("1-2-x")
    assert state is not None
    assert state["replayed"] == 12
    again = Trial(PLAN)
    again.begin_stage(Stage.PERCENT_25)
    again.restore(state["evidence"])
    assert again.to_state() == trial.to_state()


def test_what_an_earlier_stage_counted_is_not_the_present_ones() -> None:
    trial = Trial(PLAN)
    trial.begin_stage(Stage.PERCENT_5)
    trial.comparisons = trial.stage_comparisons = 250
    trial.called(True, 0.1, is_failure=True)
    for number in range(400):
        trial.assign(f"E{number}", number % 20 == 0)
    again = Trial(PLAN)
    again.begin_stage(Stage.PERCENT_25)
    again.restore(trial.to_state())
    assert (again.comparisons, again.stage_comparisons, again.assigned) == (250, 0, 0)
    assert again.candidate_failures == 1
    assert again.sample_ratio is not None
    assert (again.sample_ratio.share, again.sample_ratio.value) == (0.25, 1.0)
