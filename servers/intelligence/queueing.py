"""Texts that wait for a model: the most relevant first, the least relevant dropped first; and the budget."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from servers.intelligence.domain.sentiment import Answerer, FallbackReason, Item, RawAnswer

_CLASSES = 32


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a text: the answer, who gave it, and why it was not who was meant to.

    `version` is the one that was asked, empty for the lexicon.
    """

    answer: RawAnswer
    answered_by: Answerer
    reason: FallbackReason
    version: str = ""


@dataclass(eq=False, slots=True)
class Ask:
    """A text on its way to an answer. Times are those of a monotonic clock, in seconds."""

    item: Item
    digest: bytes
    arrived: float
    deadline: float
    traceparent: str
    answered: asyncio.Future[Outcome]
    role: Answerer = Answerer.STABLE
    reason: FallbackReason = FallbackReason.NONE
    is_cached: bool = False
    queue: RelevanceQueue | None = None
    queued_at: float = 0.0
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class RelevanceQueue:
    """Asks by relevance, first come first served among equals; whoever is answered meanwhile is skipped."""

    def __init__(self) -> None:
        self._classes: tuple[deque[Ask], ...] = tuple(deque() for _ in range(_CLASSES))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, ask: Ask, now: float) -> None:
        """Queue an ask."""
        ask.queue, ask.queued_at = self, now
        self._classes[ask.item.relevance].append(ask)
        self._count += 1

    def take(self, count: int) -> list[Ask]:
        """Take up to `count` of the most relevant."""
        taken: list[Ask] = []
        for waiting in reversed(self._classes):
            while waiting and len(taken) < count:
                self._leave(waiting.popleft(), taken)
        return taken

    def take_least(self) -> Ask | None:
        """Take the least relevant, of equals the oldest; None when nothing waits."""
        for waiting in self._classes:
            taken: list[Ask] = []
            while waiting and not taken:
                self._leave(waiting.popleft(), taken)
            if taken:
                return taken[0]
        return None

    def drop(self, ask: Ask) -> None:
        """Count an ask out that was answered while it waited; its place is skipped later."""
        if ask.queue is self:
            ask.queue = None
            self._count -= 1

    def age_seconds(self, now: float) -> float:
        """Return the age of the oldest that waits."""
        oldest = now
        for waiting in self._classes:
            while waiting and waiting[0].queue is not self:
                waiting.popleft()
            if waiting:
                oldest = min(oldest, waiting[0].queued_at)
        return now - oldest

    def _leave(self, ask: Ask, taken: list[Ask]) -> None:
        if ask.queue is self:
            ask.queue = None
            self._count -= 1
            taken.append(ask)


class Budget:
    """Texts a second, with a second's worth saved up at most. 0 sets no bound."""

    def __init__(self, texts_per_second: float) -> None:
        self.texts_per_second = texts_per_second
        self._saved = self._most = max(8.0, texts_per_second)
        self._at = float("-inf")

    def available(self, now: float, most: int) -> int:
        """Return how many texts may be sent now, at most `most`."""
        if not self.texts_per_second:
            return most
        if self._at != float("-inf"):
            self._saved = min(self._most, self._saved + (now - self._at) * self.texts_per_second)
        self._at = now
        return min(most, int(self._saved))

    def spend(self, count: int) -> None:
        """Take texts off the budget."""
        if self.texts_per_second:
            self._saved -= count

    @property
    def pause_seconds(self) -> float:
        """How long until the next text may be sent, when none may now."""
        return max(0.001, (1.0 - self._saved) / self.texts_per_second) if self.texts_per_second else 0.0
