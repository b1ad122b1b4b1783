"""An engine with models in memory."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest

from servers.intelligence.adapters.files import load_lexicon
from servers.intelligence.adapters.memory import MemoryModels, MemoryRollout
from servers.intelligence.answers import KeptAnswers
from servers.intelligence.conductor import Conductor
from servers.intelligence.domain.calibration import Calibration, Calibrations
from servers.intelligence.domain.rollout import Action, Change, Plan, Stage
from servers.intelligence.domain.sentiment import Item, Scores, Sentiment
from servers.intelligence.engine import IntelligenceEngine, Limits
from servers.intelligence.ports import LabelledText, RolloutJournal, SentimentModel
from servers.model.clock import ManualClock

UP, DOWN, CALM = Scores(0.05, 0.05, 0.9), Scores(0.9, 0.05, 0.05), Scores(0.05, 0.9, 0.05)
_ids = itertools.count()


def reads_well(text: str) -> Scores:
    words = text.split()
    return UP if "up" in words else DOWN if "down" in words else CALM


def item(text: str = "", entity: str = "ACME", **facts: Any) -> Item:
    number = next(_ids)
    return Item(f"post-{number}", entity, text or f"text {number} up", facts.pop("source", "news"), **facts)


async def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Return what `condition` gives once it is true; fail when it is not in time."""
    ends = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < ends, "the condition did not come true in time"
        await asyncio.sleep(0.005)


class Desk:
    """An engine, its conductor, and what they were given. `start` may be called again: a restart."""

    def __init__(self) -> None:
        self.models = MemoryModels(reads_well)
        self.journal: RolloutJournal = MemoryRollout()
        self.clock = ManualClock(1_700_000_000 * 10**9)
        self.labelled: list[LabelledText] = []
        self.cpu_model: SentimentModel | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []
        self.engine: IntelligenceEngine

    async def start(self, **limits: Any) -> IntelligenceEngine:
        calibrations = Calibrations({"news": Calibration()})
        conductor = Conductor(
            self.models,
            self.journal,
            self.labelled,
            calibrations.answer,
            salt="salt",
            stable_version="1",
            timeout_seconds=0.5,
            probe_timeout_seconds=0.2,
            clock=self.clock,
            now=time.monotonic,
            run=self.run,
        )
        await conductor.restore()
        self.engine = IntelligenceEngine(
            self.models,
            self.cpu_model,
            load_lexicon(),
            calibrations,
            conductor,
            KeptAnswers(1_000, 100.0),
            Limits(**{"model_timeout_seconds": 0.5, "candidate_timeout_seconds": 0.3, **limits}),
            now=time.monotonic,
            run=self.run,
        )
        self.run(conductor.run())
        return self.engine

    @property
    def conductor(self) -> Conductor:
        return self.engine.conductor

    async def classify(self, items: Sequence[Item], seconds: float = 5.0) -> list[Sentiment]:
        return await self.engine.classify(items, seconds, "")

    async def change(self, action: Action, request_id: str = "", **named: Any) -> bytes:
        change = Change(action, "a test", **named)
        return await self.conductor.change(
            request_id or f"r{next(_ids)}", change, "ann", lambda one: repr(one.rollout).encode()
        )

    async def try_out(self, stage: Stage = Stage.PERCENT_25, **plan: Any) -> None:
        await self.change(Action.START, candidate_version="2", stage=stage, plan=Plan(**plan))

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(task.exception() or RuntimeError())

    async def stop(self) -> None:
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    try:
        yield made
    finally:
        await made.stop()
        assert made.failures == []
