"""The roll-out at work: who answers whom, what is compared, and when a candidate goes on or goes.

A failure of the candidate suspends it at once: nothing more is sent to it, and what failed goes to the
stable version. Two probes of each version, side by side, then tell a candidate that fails from a machine
that is busy or away: it is rolled back when a probe of it fails while those of the stable version are
answered, and goes on otherwise, with the failure counted. That takes less than a second. What is merely
worse is found by the evidence of `domain/trial.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from servers.intelligence.comparing import Calibrate, Comparer, Given
from servers.intelligence.domain.rollout import (
    AUTOMATIC,
    Change,
    Event,
    EventKind,
    Rollout,
    State,
    apply,
    decide,
    end_event,
    stage_event,
)
from servers.intelligence.domain.sentiment import Answerer, RawAnswer
from servers.intelligence.domain.trial import Trial
from servers.intelligence.ports import (
    LabelledText,
    ModelError,
    RolloutJournal,
    SentimentModel,
    SentimentModels,
)
from servers.intelligence.queueing import Ask
from servers.model.clock import NANOS_PER_SECOND, Clock
from servers.model.errors import FailedPrecondition

PROBE_TEXT = "Shares of the company were unchanged in early trading."
PROBES = 2
TICK_SECONDS = 0.25
SAVE_SECONDS = 10.0
REPLAY_TEXTS = 4


class Conductor:
    """Holds the roll-out and its trial; `Watcher` of every lane.

    Args:
        models: the versions.
        journal: keeps what changes.
        labelled: texts with known labels, replayed to both versions in the background.
        calibrate: what an answer of a version means for a source.
        salt: part of the hash that assigns entities.
        stable_version: version in force when the journal says nothing.
        timeout_seconds: longest time one call gets; `probe_timeout_seconds` the same of a probe.
        clock: wall time; `now` a monotonic clock in seconds.
        run: starts a background task whose failure ends the process.
        is_busy: whether callers wait for a model, so that the replay has to.
    """

    def __init__(
        self,
        models: SentimentModels,
        journal: RolloutJournal,
        labelled: Sequence[LabelledText],
        calibrate: Calibrate,
        *,
        salt: str,
        stable_version: str,
        timeout_seconds: float,
        probe_timeout_seconds: float,
        clock: Clock,
        now: Callable[[], float],
        run: Callable[[Coroutine[Any, Any, None]], object],
        is_busy: Callable[[], bool] = lambda: False,
        seed: int = 0,
    ) -> None:
        self.rollout = Rollout(stable_version)
        self.trial: Trial | None = None
        self.journal = journal
        self._models = models
        self._labelled = labelled
        self._salt = salt
        self._timeout_seconds = timeout_seconds
        self._probe_timeout_seconds = probe_timeout_seconds
        self._clock, self._now, self._run = clock, now, run
        self._is_busy = is_busy
        self._changing = asyncio.Lock()
        self._stable_answered_at = float("-inf")
        self._replayed = 0
        self._calibrate = calibrate
        self._comparer = Comparer(self._ask, calibrate, self._judge, run, seed)

    # -- Start and state --------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up the roll-out where the journal left it."""
        for event in await self.journal.load():
            self._apply(event)
        if self.trial is not None:
            state = self.journal.load_trial(self.rollout.experiment)
            if state is not None:
                self.trial.restore(state["evidence"])
                self._replayed = int(state["replayed"])

    def role_of(self, entity: str) -> Answerer:
        """Return who is to answer an entity now."""
        rollout = self.rollout
        if not rollout.is_on_trial:
            return Answerer.STABLE
        if rollout.state is State.SUSPENDED:
            return Answerer.STABLE
        is_candidates = rollout.is_candidates(self._salt, entity)
        assert self.trial is not None
        self.trial.assign(entity, is_candidates)
        return Answerer.CANDIDATE if is_candidates else Answerer.STABLE

    def waiting_for(self) -> str:
        """Return what the next stage waits for, in words."""
        if self.trial is None:
            return ""
        if self.rollout.state is State.SUSPENDED:
            return "probes: the candidate failed a moment ago"
        return self.trial.waiting_for(self._seconds_in_stage(), has_labels=bool(self._labelled))

    def _seconds_in_stage(self) -> float:
        return (self._clock.now_nanos() - self.rollout.stage_since_nanos) / NANOS_PER_SECOND

    # -- What lanes see ---------------------------------------------------------------------------

    def admits(self, version: str) -> bool:
        """Return whether a version may be sent anything now: not a candidate that is suspended or out."""
        rollout = self.rollout
        is_candidate = rollout.experiment != "" and version == rollout.candidate_version
        return not is_candidate or version == rollout.stable_version or rollout.state is State.RUNNING

    def sending(self, version: str, batch: Sequence[Ask]) -> None:
        """Compare the versions on a batch, when it is its turn."""
        trial = self.trial if self.rollout.state is State.RUNNING else None
        self._comparer.sending(self.rollout, trial, version, batch)

    def answered(
        self, version: str, batch: Sequence[Ask], answers: Sequence[RawAnswer], seconds: float
    ) -> None:
        """Count a call that was answered, and hand it to the comparison that runs beside it."""
        self._count(version, seconds, is_failure=False)
        self._comparer.sent(version, batch, (list(answers), seconds))

    def failed(
        self, version: str, batch: Sequence[Ask], error: ModelError, seconds: float, *, was_cut_short: bool
    ) -> None:
        """Suspend a candidate that failed, and find out whether it is the candidate."""
        if not was_cut_short:
            self._count(version, seconds, is_failure=True)
        self._comparer.sent(version, batch, None)
        self._suspect(version, error)

    async def _ask(self, version: str, texts: Sequence[str]) -> Given:
        started = self._now()
        try:
            answers = await self._models.model(version).classify(texts, self._timeout_seconds, ())
        except ModelError as error:
            self._count(version, self._now() - started, is_failure=True)
            self._suspect(version, error)
            return None
        seconds = self._now() - started
        self._count(version, seconds, is_failure=False)
        return answers, seconds

    def _count(self, version: str, seconds: float, *, is_failure: bool) -> None:
        rollout, trial = self.rollout, self.trial
        if version == rollout.stable_version and not is_failure:
            self._stable_answered_at = self._now()
        if trial is None or rollout.state is State.SUSPENDED:
            return  # a suspended candidate's failure is counted once its probes have spoken
        if version == rollout.candidate_version:
            if not is_failure:
                trial.called(True, seconds, is_failure=False)
        elif version == rollout.stable_version:
            trial.called(False, seconds, is_failure)

    # -- Hard evidence ----------------------------------------------------------------------------

    def _suspect(self, version: str, error: ModelError) -> None:
        if version == self.rollout.candidate_version and self.rollout.state is State.RUNNING:
            self.rollout = replace(self.rollout, state=State.SUSPENDED)
            self._run(self._confirm(self.rollout.experiment, error))

    async def _confirm(self, experiment: str, error: ModelError) -> None:
        rollout = self.rollout
        candidate = self._models.model(rollout.candidate_version)
        stable = self._models.model(rollout.stable_version)
        began = self._now()
        probes = [self._probe(model) for _ in range(PROBES) for model in (candidate, stable)]
        failures = await asyncio.gather(*probes)
        of_candidate = [failure for failure in failures[0::2] if failure]
        # A stable version that is busy with callers is as well as one whose probes are answered.
        is_stable_well = not any(failures[1::2]) or self._stable_answered_at >= began
        async with self._changing:
            if self.rollout.experiment != experiment or self.rollout.state is not State.SUSPENDED:
                return
            if of_candidate and is_stable_well:
                reason = f"it failed: {error}; {len(of_candidate)} of {PROBES} probes: {of_candidate[0]}"
                assert self.trial is not None
                self.trial.called(True, 0.0, is_failure=True)
                await self._end(EventKind.ROLLED_BACK, reason)
                return
            self.rollout = replace(self.rollout, state=State.RUNNING)
            if is_stable_well and self.trial is not None:
                self.trial.called(True, 0.0, is_failure=True)
        await self._judge()

    async def _probe(self, model: SentimentModel) -> str:
        try:
            await model.classify([PROBE_TEXT], self._probe_timeout_seconds, ())
        except ModelError as error:
            return str(error)
        return ""

    # -- Changes ----------------------------------------------------------------------------------

    async def change(
        self, request_id: str, change: Change, set_by: str, answer: Callable[[Conductor], bytes]
    ) -> bytes:
        """Make a change that a person asks for, once; return the first answer to the request id.

        Raises what `decide` raises, AlreadyExists REQUEST_ID_REUSED, and FailedPrecondition
        MODEL_VERSION_UNAVAILABLE for a candidate that is not loaded.
        """
        async with self._changing:
            first = self.journal.first_answer(request_id, change)
            if first is not None:
                return first
            event = decide(self.rollout, change, set_by, self._clock.now_nanos())
            if event is not None and event.kind is EventKind.STARTED:
                await self._require_ready(event.candidate_version)
            before = self.rollout, self.trial
            if event is not None:
                event = self._numbered(event)
                self._apply(event)  # holds at once; the caller hears of it when it is durable
            response = answer(self)
            try:
                await self.journal.save_asked(request_id, change, event, response)
            except BaseException:
                self.rollout, self.trial = before
                raise
            return response

    async def _require_ready(self, version: str) -> None:
        if not await self._models.model(version).is_ready():
            raise FailedPrecondition(
                "MODEL_VERSION_UNAVAILABLE", f"version {version} is not loaded", version=version
            )

    async def _judge(self) -> None:
        trial = self.trial
        if trial is None or self.rollout.state is not State.RUNNING:
            return
        reason = trial.reason_to_roll_back()
        if reason is not None:
            async with self._changing:
                if self.trial is trial and self.rollout.state is State.RUNNING:
                    await self._end(EventKind.ROLLED_BACK, reason)

    async def _end(self, kind: EventKind, reason: str) -> None:
        event = end_event(self.rollout, kind, reason, AUTOMATIC, self._clock.now_nanos())
        await self._save(event)

    async def _save(self, event: Event) -> None:
        event = self._numbered(event)
        self._apply(event)
        await self.journal.save(event)

    def _numbered(self, event: Event) -> Event:
        figures = None if self.trial is None else self.trial.figures()
        return replace(event, figures=figures, sequence=self.journal.last_sequence + 1)

    def _apply(self, event: Event) -> None:
        self.rollout = apply(self.rollout, event)
        if event.kind is EventKind.STARTED:
            self.trial = Trial(event.plan)
            self._replayed = 0
        if self.trial is not None and event.kind in (EventKind.STARTED, EventKind.STAGE_CHANGED):
            self.trial.begin_stage(event.stage)
        if event.kind in (EventKind.PROMOTED, EventKind.ROLLED_BACK):
            self.trial = None

    # -- By itself --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Replay labelled texts, move the stages on, and save the evidence, until cancelled."""
        saved_at = self._now()
        while True:
            began = self._now()
            is_read = await self._replay()
            took_seconds = self._now() - began
            await self._judge()
            await self._advance()
            if self.trial is not None and self._now() - saved_at > SAVE_SECONDS:
                saved_at = self._now()
                await self.journal.save_trial(
                    self.rollout.experiment, {"evidence": self.trial.to_state(), "replayed": self._replayed}
                )
            # A replay takes at most half of the time that callers leave.
            await asyncio.sleep(took_seconds if is_read else TICK_SECONDS)

    async def _advance(self) -> None:
        trial, rollout = self.trial, self.rollout
        if trial is None or rollout.state is not State.RUNNING or self.waiting_for():
            return
        async with self._changing:
            if self.rollout is not rollout:
                return
            stage = rollout.stage.next
            reason = f"within all bounds after {trial.stage_comparisons} comparisons in this stage"
            if stage is None:
                await self._end(EventKind.PROMOTED, reason)
            else:
                await self._save(stage_event(rollout, stage, reason, AUTOMATIC, self._clock.now_nanos()))

    async def _replay(self) -> bool:
        """Ask both versions a few labelled texts; return whether there were any."""
        trial, rollout = self.trial, self.rollout
        is_over = self._replayed >= len(self._labelled)
        if trial is None or rollout.state is not State.RUNNING or is_over or self._is_busy():
            return False
        texts = self._labelled[self._replayed : self._replayed + REPLAY_TEXTS]
        candidate, stable = await asyncio.gather(
            *(
                self._ask(version, [one.text for one in texts])
                for version in (rollout.candidate_version, rollout.stable_version)
            )
        )
        if candidate is None or stable is None or trial is not self.trial:
            return False
        self._replayed += len(texts)
        for text, one, another in zip(texts, candidate[0], stable[0], strict=True):
            trial.replay(
                text.label,
                self._calibrate(rollout.candidate_version, text.source, one).scores,
                self._calibrate(rollout.stable_version, text.source, another).scores,
            )
        return True
