"""The running intelligence server: restores the roll-out, asks Triton, answers also without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from servers.intelligence.adapters.files import load_calibrations, load_labelled, load_lexicon
from servers.intelligence.adapters.journal import JournalRollout
from servers.intelligence.adapters.triton import PATIENCE_SECONDS, TritonModels
from servers.intelligence.answers import KeptAnswers
from servers.intelligence.conductor import Conductor
from servers.intelligence.engine import IntelligenceEngine, Limits
from servers.intelligence.metrics import IntelligenceCollector
from servers.intelligence.service import IntelligenceService, registration
from servers.intelligence.settings import IntelligenceSettings
from servers.journal import Journal
from servers.runtime.call import CURRENT_CALL
from servers.runtime.component import Context, Registration


class IntelligenceServer:
    """Intelligence without its transport. SERVING when its own state is restored, with or without Triton."""

    def __init__(self, settings: IntelligenceSettings, context: Context, journal: Journal) -> None:
        self._context = context
        self._journal = journal
        self._tasks: set[asyncio.Task[None]] = set()
        telemetry = context.telemetry
        patience_seconds = min(PATIENCE_SECONDS, settings.model_timeout_seconds)
        self._triton = TritonModels(
            settings.triton, settings.model, telemetry.tracer, telemetry.log, patience_seconds
        )
        self._cpu_triton = (
            None
            if settings.cpu_triton is None
            else TritonModels(settings.cpu_triton, settings.model, telemetry.tracer, telemetry.log)
        )
        limits = Limits(
            settings.budget_texts_per_second,
            settings.max_queue_age_seconds,
            settings.model_timeout_seconds,
            settings.candidate_timeout_seconds,
            settings.batch_wait_seconds,
            settings.batches_in_flight,
            settings.longest_answer_seconds,
            settings.answer_margin_seconds,
        )
        calibrations = load_calibrations(settings.calibration_file)
        conductor = Conductor(
            self._triton,
            JournalRollout(journal),
            load_labelled(settings.labelled_file),
            calibrations.answer,
            salt=settings.assignment_salt,
            stable_version=settings.stable_version,
            timeout_seconds=settings.candidate_timeout_seconds,
            probe_timeout_seconds=settings.probe_timeout_seconds,
            clock=context.wall_clock,
            now=time.monotonic,
            run=self._run,
            is_busy=lambda: self.engine.queued()[0] > 0,
        )
        self.engine = IntelligenceEngine(
            self._triton,
            None if self._cpu_triton is None else self._cpu_triton.model(""),
            load_lexicon(),
            calibrations,
            conductor,
            KeptAnswers(settings.kept_answers, settings.kept_seconds),
            limits,
            now=time.monotonic,
            run=self._run,
        )
        self._service = IntelligenceService(self.engine)

    def registrations(self) -> Sequence[Registration]:
        return [registration(self._service)]

    async def start(self) -> None:
        """Take up the roll-out, and look after it from then on."""
        self._context.telemetry.registry.register(IntelligenceCollector(self.engine))
        await self.engine.conductor.restore()
        self._run(self.engine.conductor.run())
        self._run(self.engine.run())

    async def stop(self) -> None:
        """Stop what runs and close what is open."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._triton.close()
        if self._cpu_triton is not None:
            await self._cpu_triton.close()
        await self._journal.close()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        # What serves all callers runs under none of them: neither their deadline nor their trace.
        token = CURRENT_CALL.set(None)
        try:
            task = asyncio.create_task(coroutine)
        finally:
            CURRENT_CALL.reset(token)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._context.fail(error)
