"""The way to one version of a model: texts of all callers join, leave in batches, and come back or fall."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from servers.intelligence.domain.evidence import Window
from servers.intelligence.domain.sentiment import FallbackReason, RawAnswer
from servers.intelligence.ports import MOST_TEXTS, ModelError, SentimentModel
from servers.intelligence.queueing import Ask, Budget, RelevanceQueue

GIVEN_UP = 1e-3
"""What a call gets when its callers have no time left: it is sent for nobody's sake."""


class Watcher(Protocol):
    """Who learns from a lane's batches."""

    def admits(self, version: str) -> bool:
        """Return whether a version may be sent anything now."""
        ...

    def sending(self, version: str, batch: Sequence[Ask]) -> None:
        """Take a batch that is about to be sent; another version may be asked the same beside it."""
        ...

    def answered(
        self, version: str, batch: Sequence[Ask], answers: Sequence[RawAnswer], seconds: float
    ) -> None:
        """Take a batch that was answered."""
        ...

    def failed(
        self, version: str, batch: Sequence[Ask], error: ModelError, seconds: float, *, was_cut_short: bool
    ) -> None:
        """Take a batch that was not answered; `was_cut_short`: only for want of the callers' time."""
        ...


class Lane:
    """One version with its queue.

    Args:
        model: the version.
        budget: shared by all lanes.
        timeout_of: what a call of a version gets of the time that its callers have left, and the most that
            one ever gets, in seconds.
        wait_seconds: how long a batch that is not full waits for more, when nothing is in flight.
        batches: calls in flight at once.
        resolve: takes an ask with its answer.
        fall: takes an ask that this lane cannot answer, with the reason.
        watcher: learns from every batch.
        now: monotonic clock, in seconds.
    """

    def __init__(
        self,
        model: SentimentModel,
        budget: Budget,
        *,
        timeout_of: Callable[[str, float], tuple[float, float]],
        wait_seconds: float,
        batches: int,
        most_age_seconds: float,
        resolve: Callable[[Ask, RawAnswer, str], None],
        fall: Callable[[Ask, FallbackReason], None],
        watcher: Watcher,
        now: Callable[[], float],
    ) -> None:
        self.model = model
        self.queue = RelevanceQueue()
        self.answered_texts = 0
        self.failed_calls = 0
        self.latencies = Window()
        self._budget = budget
        self._timeout_of = timeout_of
        self._wait_seconds = wait_seconds
        self._slots = asyncio.Semaphore(batches)
        self._most_age_seconds = most_age_seconds
        self._resolve, self._fall = resolve, fall
        self._watcher = watcher
        self._now = now
        self._arrived = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def capacity(self) -> float:
        """Texts that may wait: what the budget lets through within the age that they may reach."""
        rate = self._budget.texts_per_second
        return max(MOST_TEXTS, rate * self._most_age_seconds) if rate else float("inf")

    def submit(self, ask: Ask) -> None:
        """Queue an ask; above the capacity the least relevant falls, as whoever waits too long does."""
        now = self._now()
        self.queue.put(ask, now)
        ask.timers.append(
            asyncio.get_running_loop().call_later(self._most_age_seconds, self._too_old, ask, now)
        )
        if len(self.queue) > self.capacity:
            least = self.queue.take_least()
            if least is not None:
                self._fall(least, FallbackReason.SHED)
        self._arrived.set()

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                if not self.queue:
                    self._arrived.clear()
                    continue
                await self._slots.acquire()
                try:
                    batch = await self._next_batch()
                except BaseException:
                    self._slots.release()
                    raise
                if not batch:
                    self._slots.release()
                    continue
                call = asyncio.create_task(self._send(batch), name=f"ask version {self.model.version}")
                self._calls.add(call)
                call.add_done_callback(self._sent)
        finally:
            for call in self._calls:
                call.cancel()

    async def _next_batch(self) -> list[Ask]:
        if len(self.queue) < MOST_TEXTS and self._wait_seconds:
            await asyncio.sleep(self._wait_seconds)
        while self.queue:
            count = self._budget.available(self._now(), MOST_TEXTS)
            if count:
                batch = self.queue.take(count)
                self._budget.spend(len(batch))
                return batch
            await asyncio.sleep(self._budget.pause_seconds)
        return []

    async def _send(self, batch: list[Ask]) -> None:
        started = self._now()
        left = max(ask.deadline for ask in batch) - started
        version = self.model.version
        if not self._watcher.admits(version):
            for ask in batch:
                self._fall(ask, FallbackReason.MODEL_FAILED)
            return
        timeout, most = self._timeout_of(version, max(GIVEN_UP, left))
        self._watcher.sending(version, batch)
        try:
            answers = await self.model.classify(
                [ask.item.text for ask in batch], timeout, [ask.traceparent for ask in batch]
            )
        except ModelError as error:
            seconds = self._now() - started
            self.failed_calls += 1
            was_cut_short = error.reason is FallbackReason.MODEL_TIMEOUT and timeout < most
            self._watcher.failed(version, batch, error, seconds, was_cut_short=was_cut_short)
            for ask in batch:
                self._fall(ask, FallbackReason.DEADLINE if was_cut_short else error.reason)
            return
        seconds = self._now() - started
        self.answered_texts += len(batch)
        self.latencies.add(seconds)
        self._watcher.answered(version, batch, answers, seconds)
        for ask, answer in zip(batch, answers, strict=True):
            self._resolve(ask, answer, version)

    def _sent(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._slots.release()
        if not call.cancelled() and call.exception() is not None:
            # A bug: the callers' own deadlines answer them, and the loop's handler says what it was.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a batch ended with an unexpected error", "exception": call.exception()}
            )

    def _too_old(self, ask: Ask, queued_at: float) -> None:
        if ask.queue is self.queue and ask.queued_at == queued_at:
            self.queue.drop(ask)
            self._fall(ask, FallbackReason.SHED)
