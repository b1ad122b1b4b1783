"""A word list with weights: the answer that is always there.

It reads single words and short phrases, turns them around after a negation within three words, weighs
intensifiers, and makes probabilities of the sum. It knows far less than the LLM, and its answers say that
they are its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from servers.intelligence.domain.sentiment import RawAnswer, Scores

VERSION = "lexicon/1"
NEGATION_REACH = 3
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*|[+-]?\d+(?:[.,]\d+)?%|[\U0001F300-\U0001FAFF]")
_RISE = re.compile(r"(?:^|[\s(])(?:up|rose|gained|climbed|added|\+)\s*\d+(?:\.\d+)?\s*%")
_FALL = re.compile(r"(?:^|[\s(])(?:down|fell|lost|dropped|shed|-)\s*\d+(?:\.\d+)?\s*%")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words and phrases with weights, -3 (bearish) to 3 (bullish).

    Args:
        words: word or phrase of up to three words, lower case -> weight.
        negations: words that turn the next ones around.
        intensifiers: word -> factor on the next weighted word.
    """

    words: Mapping[str, float]
    negations: frozenset[str]
    intensifiers: Mapping[str, float]
    phrase_starts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        starts = frozenset(word.split()[0] for word in self.words if " " in word)
        object.__setattr__(self, "phrase_starts", starts)

    def classify(self, text: str) -> RawAnswer:
        """Return the list's reading of a text; certain of nothing."""
        return RawAnswer(scores_of(*self.weigh(text)), VERSION)

    def weigh(self, text: str) -> tuple[float, int]:
        """Return the sum of the weights found and how many were."""
        lowered = text.lower().replace("\u2019", "'")
        words = _WORD.findall(lowered)
        total, count, place = 0.0, 0, 0
        while place < len(words):
            length, weight = self._match(words, place)
            if length:
                total += weight * self._turn(words, place) * self._stress(words, place)
                count += 1
            place += max(1, length)
        for pattern, sign in ((_RISE, 1.0), (_FALL, -1.0)):
            found = len(pattern.findall(lowered))
            total += sign * min(found, 2)
            count += min(found, 2)
        return total, count

    def _match(self, words: Sequence[str], place: int) -> tuple[int, float]:
        first = words[place]
        if first in self.phrase_starts:
            for length in (3, 2):
                weight = self.words.get(" ".join(words[place : place + length]))
                if weight is not None and place + length <= len(words):
                    return length, weight
        weight = self.words.get(first)
        return (0, 0.0) if weight is None else (1, weight)

    def _turn(self, words: Sequence[str], place: int) -> float:
        before = words[max(0, place - NEGATION_REACH) : place]
        # "not good" is milder than "bad".
        return -0.6 if any(word in self.negations or word.endswith("n't") for word in before) else 1.0

    def _stress(self, words: Sequence[str], place: int) -> float:
        return self.intensifiers.get(words[place - 1], 1.0) if place else 1.0


def scores_of(total: float, count: int) -> Scores:
    """Return probabilities of a sum of weights: none found is neutral, and none is ever certain."""
    if count == 0:
        return Scores(0.15, 0.7, 0.15)
    lean = math.tanh(total / (1.5 * math.sqrt(count)))
    neutral = 0.55 - 0.35 * abs(lean)
    rest = 1.0 - neutral
    bullish = rest * (0.5 + 0.5 * lean)
    return Scores(rest - bullish, neutral, bullish)
