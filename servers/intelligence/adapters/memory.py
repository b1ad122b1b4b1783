"""Models and a journal in memory: for tests, and for whoever tries the engine out without Triton."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servers.intelligence.domain.rollout import Change, Event
from servers.intelligence.domain.sentiment import RawAnswer, Scores
from servers.intelligence.ports import MOST_TEXTS, ModelError, ModelTimeout
from servers.model.errors import AlreadyExists


@dataclass
class MemoryModel:
    """One version that reads by a function.

    Args:
        read: scores of a text; may raise a ModelError.
        seconds: how long a call takes.
    """

    version: str
    read: Callable[[str], Scores]
    seconds: float = 0.0
    unavailable_reason: str = ""
    is_loaded: bool = True
    calls: list[list[str]] = field(default_factory=list)

    async def classify(
        self, texts: Sequence[str], timeout_seconds: float, traceparents: Sequence[str]
    ) -> list[RawAnswer]:
        if not 1 <= len(texts) <= MOST_TEXTS:
            raise ValueError(f"{len(texts)} texts, outside 1 to {MOST_TEXTS}")
        self.calls.append(list(texts))
        await asyncio.sleep(min(self.seconds, timeout_seconds))
        if self.seconds > timeout_seconds:
            raise ModelTimeout(f"no answer within {timeout_seconds:.3g} s")
        return [RawAnswer(self.read(text), f"memory-{self.version}") for text in texts]

    async def is_ready(self) -> bool:
        if not self.is_loaded:
            return False
        try:
            self.read("probe")
        except ModelError:
            return False
        return True


class MemoryModels:
    """Versions by name; a name that is asked for the first time reads as `read` does."""

    def __init__(self, read: Callable[[str], Scores]) -> None:
        self.read = read
        self.versions: dict[str, MemoryModel] = {}

    def model(self, version: str) -> MemoryModel:
        return self.versions.setdefault(version, MemoryModel(version, self.read))

    async def keeps_answers(self) -> bool:
        return False


class MemoryRollout:
    """`RolloutJournal` in memory."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._answers: dict[str, tuple[Change, bytes]] = {}
        self._trials: dict[str, dict[str, Any]] = {}

    @property
    def last_sequence(self) -> int:
        return len(self.events)

    async def load(self) -> Sequence[Event]:
        return list(self.events)

    def page(self, after_sequence: int, count: int) -> Sequence[Event]:
        return self.events[after_sequence : after_sequence + count]

    def first_answer(self, request_id: str, change: Change) -> bytes | None:
        found = self._answers.get(request_id)
        if found is None:
            return None
        if found[0] != change:
            raise AlreadyExists("REQUEST_ID_REUSED", request_id=request_id)
        return found[1]

    async def save(self, event: Event) -> None:
        self.events.append(event)

    async def save_asked(self, request_id: str, change: Change, event: Event | None, answer: bytes) -> None:
        if event is not None:
            self.events.append(event)
            self._answers[request_id] = (change, answer)

    async def save_trial(self, experiment: str, state: Mapping[str, Any]) -> None:
        self._trials = {experiment: dict(state)}

    def load_trial(self, experiment: str) -> dict[str, Any] | None:
        return self._trials.get(experiment)
