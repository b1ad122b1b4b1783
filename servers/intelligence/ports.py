"""What intelligence needs from outside: models that read texts, a journal, labelled texts, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from servers.intelligence.domain.rollout import Change, Event
from servers.intelligence.domain.sentiment import FallbackReason, Label, RawAnswer

MOST_TEXTS = 8
"""Texts in one call of a model: `max_batch_size` of its contract."""


class ModelError(Exception):
    """A model did not answer as it should. The message never holds what it was asked."""

    reason = FallbackReason.MODEL_FAILED


class ModelFailed(ModelError):
    """It answered with an error, or with outputs of another shape than the contract's."""


class ModelTimeout(ModelError):
    """It did not answer in time."""

    reason = FallbackReason.MODEL_TIMEOUT


class ModelUnreachable(ModelError):
    """Nothing answers at its address."""

    reason = FallbackReason.MODEL_UNREACHABLE


class SentimentModel(Protocol):
    """One version of a model."""

    @property
    def version(self) -> str:
        """The version as it is asked for."""
        ...

    @property
    def unavailable_reason(self) -> str:
        """Why it is left alone at present, in words; empty when it may be asked."""
        ...

    async def classify(
        self, texts: Sequence[str], timeout_seconds: float, traceparents: Sequence[str]
    ) -> list[RawAnswer]:
        """Return one answer for each of 1 to 8 texts, in order.

        Raises ModelFailed, ModelTimeout or ModelUnreachable; it is never tried again in here.
        """
        ...

    async def is_ready(self) -> bool:
        """Return whether the version is loaded and would answer."""
        ...


class SentimentModels(Protocol):
    """The versions that stand behind one address."""

    def model(self, version: str) -> SentimentModel:
        """Return a version; the same object for the same version."""
        ...

    async def keeps_answers(self) -> bool:
        """Return whether answers are kept behind the address, out of reach of a deletion."""
        ...


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text whose label is known, and that no model was fitted on."""

    text: str
    label: Label
    source: str


class RolloutJournal(Protocol):
    """Keeps every change of the roll-out; each is durable when the call returns."""

    @property
    def last_sequence(self) -> int:
        """The sequence of the last change."""
        ...

    async def load(self) -> Sequence[Event]:
        """Return all changes, oldest first."""
        ...

    def page(self, after_sequence: int, count: int) -> Sequence[Event]:
        """Return up to `count` changes after a sequence."""
        ...

    def first_answer(self, request_id: str, change: Change) -> bytes | None:
        """Return the first answer to an id; raises AlreadyExists REQUEST_ID_REUSED for other content."""
        ...

    async def save(self, event: Event) -> None:
        """Store a change that nobody asked for; its sequence follows the last one."""
        ...

    async def save_asked(self, request_id: str, change: Change, event: Event | None, answer: bytes) -> None:
        """Store a change, if it is one, with the answer to its request."""
        ...

    async def save_trial(self, experiment: str, state: Mapping[str, Any]) -> None:
        """Store the evidence so far, in place of what was stored before."""
        ...

    def load_trial(self, experiment: str) -> dict[str, Any] | None:
        """Return the evidence of an experiment; None when there is none."""
        ...
