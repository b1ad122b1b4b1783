"""What is asked of a classifier, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple

SCORE_SUM_TOLERANCE = 0.01


class Label(IntEnum):
    """Numbered as on the wire; one less is the place in a model's SCORES."""

    BEARISH = 1
    NEUTRAL = 2
    BULLISH = 3


class Answerer(IntEnum):
    """Which classifier answered, in the order in which they are asked; numbered as on the wire."""

    CANDIDATE = 1
    STABLE = 2
    CPU_MODEL = 3
    LEXICON = 4


class FallbackReason(IntEnum):
    """Why an answer does not come from the version that was meant to give it; numbered as on the wire."""

    NONE = 0
    SHED = 1
    MODEL_UNREACHABLE = 2
    MODEL_FAILED = 3
    MODEL_TIMEOUT = 4
    DEADLINE = 5
    SWITCHED_OFF = 6


class Scores(NamedTuple):
    """Probabilities of the three labels; they add up to 1."""

    bearish: float
    neutral: float
    bullish: float

    @property
    def label(self) -> Label:
        """The most probable label; of equals the calmer one."""
        if self.neutral >= self.bearish and self.neutral >= self.bullish:
            return Label.NEUTRAL
        return Label.BEARISH if self.bearish > self.bullish else Label.BULLISH

    @property
    def confidence(self) -> float:
        """The probability of the most probable label."""
        return max(self)

    @property
    def lean(self) -> float:
        """Bullish minus bearish, -1 to 1."""
        return self.bullish - self.bearish


class WrongShape(ValueError):
    """A model's outputs are not what the contract says."""


def scores_from(values: Sequence[float]) -> Scores:
    """Return checked scores: three finite, non-negative numbers that add up to 1. Raises WrongShape."""
    if len(values) != 3:
        raise WrongShape(f"SCORES has {len(values)} values, not 3")
    if not all(math.isfinite(value) and value >= 0.0 for value in values):
        raise WrongShape("SCORES holds a value that is negative or not a number")
    total = sum(values)
    if abs(total - 1.0) > SCORE_SUM_TOLERANCE:
        raise WrongShape(f"SCORES adds up to {total:.4f}, not to 1")
    return Scores(values[0] / total, values[1] / total, values[2] / total)


@dataclass(frozen=True, slots=True)
class Item:
    """One text to be classified for one entity."""

    item_id: str
    entity: str
    text: str
    source: str = ""
    follower_count: int = 0
    is_duplicate: bool = False
    is_linked: bool = False

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text in UTF-8."""
        return sha256(self.text.encode("utf-8", "surrogatepass")).digest()

    @property
    def relevance(self) -> int:
        """How much is lost when the LLM is not asked, 0 to 31.

        What nobody said before counts most, then what is linked to a symbol, then the author's reach (the
        number of digits of the follower count).
        """
        reach = min(7, len(str(self.follower_count)) if self.follower_count > 0 else 0)
        return (0 if self.is_duplicate else 16) + (8 if self.is_linked else 0) + reach


class RawAnswer(NamedTuple):
    """What a classifier said of one text, before calibration."""

    scores: Scores
    model_version: str


@dataclass(frozen=True, slots=True)
class Sentiment:
    """The answer to one item. `latency_seconds` runs from the item's arrival."""

    item: Item
    scores: Scores
    confidence: float
    model_version: str
    answered_by: Answerer
    fallback_reason: FallbackReason
    is_source_calibrated: bool
    is_cached: bool
    latency_seconds: float

    @property
    def is_shed(self) -> bool:
        return self.fallback_reason is FallbackReason.SHED

    @property
    def rationale(self) -> str:
        """A short reason in words, without any word of the text."""
        second = sorted(self.scores)[1]
        margin = self.scores.confidence - second
        strength = "clearly" if margin > 0.5 else "rather" if margin > 0.15 else "barely"
        who = _WHO[self.answered_by]
        said = f"{who} reads it as {strength} {self.scores.label.name.lower()}"
        why = _WHY.get(self.fallback_reason)
        parts = [said + (f", because {why}" if why else "")]
        if not self.is_source_calibrated:
            parts.append("the source is not calibrated, so the confidence is lowered")
        return "; ".join(parts)


_WHO = {
    Answerer.CANDIDATE: "the candidate model",
    Answerer.STABLE: "the model",
    Answerer.CPU_MODEL: "the model for processors",
    Answerer.LEXICON: "the word list",
}
_WHY = {
    FallbackReason.SHED: "more relevant posts took the budget",
    FallbackReason.MODEL_UNREACHABLE: "the model meant for it is out of reach",
    FallbackReason.MODEL_FAILED: "the model meant for it failed",
    FallbackReason.MODEL_TIMEOUT: "the model meant for it took too long",
    FallbackReason.DEADLINE: "the caller's deadline left no time for the model",
    FallbackReason.SWITCHED_OFF: "the model is switched off",
}
