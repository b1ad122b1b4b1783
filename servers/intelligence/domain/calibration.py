"""Probabilities that mean what they say, per source and version of the model.

Temperature and bias on the logits (vector scaling with one temperature: Guo, Pleiss, Sun and Weinberger,
"On Calibration of Modern Neural Networks", ICML 2017), and a ceiling on the confidence. A calibration holds
for the source that it was fitted on and for no other: whatever comes from elsewhere gets the entry for
uncalibrated sources, whose ceiling lies below the confidence that aggregates ask for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from servers.intelligence.domain.sentiment import RawAnswer, Scores

_LEAST = 1e-6


class Calibrated(NamedTuple):
    """Probabilities, how far the label can be trusted, and whether the source is calibrated."""

    scores: Scores
    confidence: float
    is_source_calibrated: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """One source's calibration.

    Args:
        temperature: divides the logarithms of the scores, above 0; above 1 lowers confidence.
        bias: added to them, in the order bearish, neutral, bullish.
        confidence_ceiling: the confidence is never above it, 0 to 1.
    """

    temperature: float = 1.0
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    confidence_ceiling: float = 1.0

    def apply(self, scores: Scores) -> Scores:
        """Return calibrated probabilities."""
        logits = [
            math.log(max(score, _LEAST)) / self.temperature + bias
            for score, bias in zip(scores, self.bias, strict=True)
        ]
        highest = max(logits)
        powers = [math.exp(logit - highest) for logit in logits]
        total = sum(powers)
        return Scores(powers[0] / total, powers[1] / total, powers[2] / total)


UNCALIBRATED = Calibration(1.9, (0.0, 0.0, 0.0), 0.69)
"""For sources that no calibration names: below 0.7, the threshold at which a post counts."""


@dataclass(frozen=True, slots=True)
class Calibrations:
    """Every calibration.

    Args:
        sources: source -> calibration, for every version that `versions` does not name.
        versions: version -> source -> calibration.
        uncalibrated: for every other source, and for the word list.
    """

    sources: Mapping[str, Calibration] = field(default_factory=dict)
    versions: Mapping[str, Mapping[str, Calibration]] = field(default_factory=dict)
    uncalibrated: Calibration = UNCALIBRATED

    def apply(self, version: str, source: str, scores: Scores) -> Calibrated:
        """Return what a version's scores mean for a source. Without a version they are the word list's."""
        found = self.versions.get(version, self.sources).get(source) if version else None
        used = self.uncalibrated if found is None else found
        calibrated = used.apply(scores)
        return Calibrated(calibrated, min(calibrated.confidence, used.confidence_ceiling), found is not None)

    def answer(self, version: str, source: str, answer: RawAnswer) -> RawAnswer:
        """Return an answer with what its scores mean for a source."""
        return RawAnswer(self.apply(version, source, answer.scores).scores, answer.model_version)

    def names(self) -> list[str]:
        """Return the sources that some version is calibrated for."""
        named = set(self.sources)
        for sources in self.versions.values():
            named |= set(sources)
        return sorted(named)
