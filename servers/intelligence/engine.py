"""What intelligence does: answer every text within its caller's time, by whoever can.

The order is candidate, stable version, model for processors, word list. Nobody is asked twice, nothing is
tried again, and an answer says who gave it and why it was not who was meant to.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from servers.intelligence.answers import KeptAnswers
from servers.intelligence.conductor import Conductor
from servers.intelligence.domain.calibration import Calibrations
from servers.intelligence.domain.lexicon import Lexicon
from servers.intelligence.domain.regime import News, RegimeAnswer, classify, features_of
from servers.intelligence.domain.rollout import State
from servers.intelligence.domain.sentiment import (
    Answerer,
    FallbackReason,
    Item,
    RawAnswer,
    Sentiment,
)
from servers.intelligence.lanes import Lane
from servers.intelligence.ports import SentimentModel, SentimentModels
from servers.intelligence.queueing import Ask, Budget, Outcome

EXPIRE_SECONDS = 15.0
CANDIDATE_FACTOR, LEAST_CANDIDATE_SECONDS, ENOUGH_LATENCIES = 4.0, 0.3, 20
"""A candidate's call gets four times the stable version's 95th percentile, and 0.3 s at least."""
LATEST = "latest"
"""Version of a model that is asked for without one."""
MOST_MARGIN_SECONDS = 0.25
LEAST_MODEL_SECONDS = 0.02
"""With less than this left, no model is asked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much; see the settings of the same names."""

    budget_texts_per_second: float = 0.0
    max_queue_age_seconds: float = 5.0
    model_timeout_seconds: float = 10.0
    candidate_timeout_seconds: float = 1.5
    batch_wait_seconds: float = 0.003
    batches_in_flight: int = 2
    longest_answer_seconds: float = 30.0
    answer_margin_seconds: float = 0.03


@dataclass(slots=True)
class Totals:
    """What has been answered since the start."""

    items: int = 0
    by_answerer: Counter[Answerer] = field(default_factory=Counter)
    by_reason: Counter[FallbackReason] = field(default_factory=Counter)
    cached: int = 0
    uncalibrated: int = 0
    forgotten: int = 0
    latency_seconds: float = 0.0


class IntelligenceEngine:
    """The models, the queues before them, and what is kept of their answers.

    Args:
        models: the LLM's versions.
        cpu_model: a model for processors elsewhere, asked when neither version answers; None without one.
        conductor: says which version answers an entity.
        now: monotonic clock, in seconds.
        run: starts a background task whose failure ends the process.
    """

    def __init__(
        self,
        models: SentimentModels,
        cpu_model: SentimentModel | None,
        lexicon: Lexicon,
        calibrations: Calibrations,
        conductor: Conductor,
        answers: KeptAnswers,
        limits: Limits,
        *,
        now: Callable[[], float],
        run: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.conductor = conductor
        self.answers = answers
        self.calibrations = calibrations
        self.totals = Totals()
        self.limits = limits
        self.lanes: dict[tuple[Answerer, str], Lane] = {}
        self._models = models
        self._cpu_model = cpu_model
        self._lexicon = lexicon
        self._budget = Budget(limits.budget_texts_per_second)
        self._now, self._run = now, run

    # -- Sentiment --------------------------------------------------------------------------------

    async def classify(self, items: Sequence[Item], seconds_left: float, traceparent: str) -> list[Sentiment]:
        """Return one answer for each item, in order, within `seconds_left` less a margin."""
        arrived = self._now()
        left = min(seconds_left, self.limits.longest_answer_seconds)
        # A tenth is for the way back, on a machine that may be busy.
        left -= max(self.limits.answer_margin_seconds, min(MOST_MARGIN_SECONDS, left / 10))
        asks = [self._ask(item, arrived, arrived + left, traceparent) for item in items]
        try:
            outcomes = await asyncio.gather(*(ask.answered for ask in asks))
        finally:
            for ask in asks:
                self._leave(ask)
        return [self._sentiment(ask, outcome) for ask, outcome in zip(asks, outcomes, strict=True)]

    def _ask(self, item: Item, arrived: float, deadline: float, traceparent: str) -> Ask:
        loop = asyncio.get_running_loop()
        ask = Ask(item, item.digest, arrived, deadline, traceparent, loop.create_future())
        rollout = self.conductor.rollout
        if not rollout.is_llm_on:
            self._answer_by_lexicon(ask, FallbackReason.SWITCHED_OFF)
            return ask
        ask.role = self.conductor.role_of(item.entity)
        version = rollout.candidate_version if ask.role is Answerer.CANDIDATE else rollout.stable_version
        kept = self.answers.get(ask.digest, version, item.item_id, arrived)
        if kept is not None:
            ask.answered.set_result(Outcome(kept, ask.role, FallbackReason.NONE, version))
            self.totals.cached += 1
            ask.is_cached = True
            return ask
        if deadline - arrived < LEAST_MODEL_SECONDS:
            self._answer_by_lexicon(ask, FallbackReason.DEADLINE)
            return ask
        ask.timers.append(loop.call_later(deadline - arrived, self._out_of_time, ask))
        self._submit(ask)
        return ask

    def _submit(self, ask: Ask) -> None:
        """Hand an ask to the first classifier, from its role on, that may be asked."""
        while ask.role is not Answerer.LEXICON:
            model = self._model_of(ask.role)
            if model is not None:
                if not model.unavailable_reason:
                    self._lane(ask.role, model).submit(ask)
                    return
                ask.reason = ask.reason or FallbackReason.MODEL_UNREACHABLE
            ask.role = Answerer(ask.role + 1)
        self._answer_by_lexicon(ask, ask.reason)

    def _model_of(self, role: Answerer) -> SentimentModel | None:
        rollout = self.conductor.rollout
        if role is Answerer.STABLE:
            return self._models.model(rollout.stable_version)
        if role is Answerer.CPU_MODEL:
            return self._cpu_model
        return self._models.model(rollout.candidate_version) if rollout.state is State.RUNNING else None

    def _lane(self, role: Answerer, model: SentimentModel) -> Lane:
        # A promoted version keeps its lane: it is the version that has a queue, not its role.
        key = (Answerer.CPU_MODEL if role is Answerer.CPU_MODEL else Answerer.STABLE, model.version)
        lane = self.lanes.get(key)
        if lane is None:
            limits = self.limits
            lane = self.lanes[key] = Lane(
                model,
                self._budget,
                timeout_of=self._timeout,
                wait_seconds=limits.batch_wait_seconds,
                batches=limits.batches_in_flight,
                most_age_seconds=limits.max_queue_age_seconds,
                resolve=self._resolve,
                fall=self._fall,
                watcher=self.conductor,
                now=self._now,
            )
            self._run(lane.run())
        return lane

    def _timeout(self, version: str, left_seconds: float) -> tuple[float, float]:
        rollout = self.conductor.rollout
        if rollout.is_on_trial and version == rollout.candidate_version:
            most = self._candidate_timeout()
            # Half is for the stable version, should the candidate not answer.
            return min(most, left_seconds / 2), most
        most = self.limits.model_timeout_seconds
        return min(most, left_seconds), most

    def _candidate_timeout(self) -> float:
        """Return what a call of the candidate gets: several times what the stable version needs."""
        lane = self.lanes.get((Answerer.STABLE, self.conductor.rollout.stable_version))
        most = self.limits.candidate_timeout_seconds
        if lane is None or len(lane.latencies.values) < ENOUGH_LATENCIES:
            return most
        usual = lane.latencies.percentile(0.95)
        return min(most, max(LEAST_CANDIDATE_SECONDS, CANDIDATE_FACTOR * usual))

    def _resolve(self, ask: Ask, answer: RawAnswer, version: str) -> None:
        version = version or LATEST
        self.answers.put(ask.digest, version, ask.item.item_id, answer, ask.arrived, self._now())
        if not ask.answered.done():
            ask.answered.set_result(Outcome(answer, ask.role, ask.reason, version))

    def _fall(self, ask: Ask, reason: FallbackReason) -> None:
        if ask.answered.done():
            return
        if reason is FallbackReason.SHED or ask.deadline - self._now() < LEAST_MODEL_SECONDS:
            self._answer_by_lexicon(ask, reason)
            return
        ask.reason = ask.reason or reason
        ask.role = Answerer(ask.role + 1)
        self._submit(ask)

    def _out_of_time(self, ask: Ask) -> None:
        self._answer_by_lexicon(ask, ask.reason or FallbackReason.DEADLINE)

    def _answer_by_lexicon(self, ask: Ask, reason: FallbackReason) -> None:
        if not ask.answered.done():
            ask.answered.set_result(Outcome(self._lexicon.classify(ask.item.text), Answerer.LEXICON, reason))

    def _leave(self, ask: Ask) -> None:
        for timer in ask.timers:
            timer.cancel()
        if ask.queue is not None:
            ask.queue.drop(ask)
        if not ask.answered.done():
            ask.answered.cancel()

    def _sentiment(self, ask: Ask, outcome: Outcome) -> Sentiment:
        item, role = ask.item, outcome.answered_by
        calibrated = self.calibrations.apply(outcome.version, item.source, outcome.answer.scores)
        totals = self.totals
        latency = self._now() - ask.arrived
        totals.items += 1
        totals.by_answerer[role] += 1
        totals.by_reason[outcome.reason] += 1
        totals.uncalibrated += not calibrated.is_source_calibrated
        totals.latency_seconds += latency
        return Sentiment(
            item, calibrated.scores, calibrated.confidence, outcome.answer.model_version, role,
            outcome.reason, calibrated.is_source_calibrated, ask.is_cached, latency,
        )  # fmt: skip

    # -- Regime -----------------------------------------------------------------------------------

    async def classify_regime(
        self,
        closes_nanos: Sequence[int],
        news: News,
        items: Sequence[Item],
        seconds_left: float,
        traceparent: str,
    ) -> tuple[RegimeAnswer, Answerer | None]:
        """Return how a market moves, and the least of the classifiers that read `items`."""
        features = features_of(closes_nanos)
        sentiments = await self.classify(items, seconds_left, traceparent) if items else []
        joined = news.joined([sentiment.scores.lean for sentiment in sentiments])
        least = max((sentiment.answered_by for sentiment in sentiments), default=None)
        return classify(features, joined), least

    # -- The rest ---------------------------------------------------------------------------------

    async def forget(self, item_ids: Sequence[str], digests: Sequence[bytes]) -> tuple[int, bool]:
        """Remove what is kept of posts and texts.

        Returns how many answers that were, and whether answers are kept behind the models' address too,
        where nobody can remove them.
        """
        removed = self.answers.forget(item_ids, digests, self._now())
        self.totals.forgotten += removed
        return removed, await self._models.keeps_answers()

    def queued(self) -> tuple[int, float]:
        """Return how many texts wait and the age of the oldest, in seconds."""
        now = self._now()
        lanes = list(self.lanes.values())
        age = max((lane.queue.age_seconds(now) for lane in lanes), default=0.0)
        return sum(len(lane.queue) for lane in lanes), age

    def models(self) -> list[tuple[Answerer, SentimentModel]]:
        """Return the classifiers that have a part now, in the order in which they are asked."""
        return [
            (role, model)
            for role in (Answerer.CANDIDATE, Answerer.STABLE, Answerer.CPU_MODEL)
            if (model := self._model_of(role)) is not None
        ]

    def lane_of(self, role: Answerer, model: SentimentModel) -> Lane:
        """Return the queue before a model."""
        return self._lane(role, model)

    async def run(self) -> None:
        """Drop kept answers that have had their time, until cancelled."""
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            self.answers.expire(self._now())
