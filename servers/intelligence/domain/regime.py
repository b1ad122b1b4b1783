"""How a market moves: trend, range or high volatility, from closes and from what posts say.

Features with sources (Kaufman's efficiency ratio, 1995; the variance ratio of Lo and MacKinlay, Review of
Financial Studies 1988), joined by stated weights into three evidences and a softmax. The weights are set by
hand so that a driftless random walk is called a range more often than anything else, and nothing is claimed
beyond that; posts move the answer by less than prices do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from servers.model.errors import InvalidInput

VERSION = "regime/1"
LEAST_CLOSES, MOST_CLOSES = 40, 4_096
STEP = 5
ENOUGH_POSTS = 10


class Regime(IntEnum):
    """Numbered as on the wire."""

    TREND = 1
    RANGE = 2
    HIGH_VOLATILITY = 3


@dataclass(frozen=True, slots=True)
class News:
    """What posts said; see `NewsAggregate` of the contract."""

    mean_sentiment: float = 0.0
    disagreement: float = 0.0
    post_count: int = 0
    volume_ratio: float = 0.0

    def validate(self) -> News:
        """Return it, or raise InvalidInput that names the field."""
        for name, low, high in (
            ("mean_sentiment", -1.0, 1.0),
            ("disagreement", 0.0, 1.0),
            ("post_count", 0, 2**31 - 1),
            ("volume_ratio", 0.0, 1e9),
        ):
            if not low <= getattr(self, name) <= high:
                raise InvalidInput("VALUE_OUT_OF_RANGE", field=f"news.{name}", value=getattr(self, name))
        return self

    def joined(self, leans: Sequence[float]) -> News:
        """Return this with more posts, given as bullish minus bearish each."""
        if not leans:
            return self
        count = self.post_count + len(leans)
        mean = (self.mean_sentiment * self.post_count + sum(leans)) / count
        own = self.post_count * (self.disagreement**2 + (self.mean_sentiment - mean) ** 2)
        spread = math.sqrt((own + sum((lean - mean) ** 2 for lean in leans)) / count)
        return News(mean, min(1.0, spread), count, self.volume_ratio)


@dataclass(frozen=True, slots=True)
class Features:
    """The figures that an answer rests on; see `RegimeFeatures` of the contract."""

    efficiency_ratio: float
    variance_ratio: float
    volatility_ratio: float
    drift_score: float


@dataclass(frozen=True, slots=True)
class RegimeAnswer:
    """Probabilities of the three regimes and what they rest on."""

    probabilities: tuple[float, float, float]
    features: Features
    news: News

    @property
    def regime(self) -> Regime:
        return Regime(1 + max(range(3), key=self.probabilities.__getitem__))

    @property
    def rationale(self) -> str:
        """A short reason in words."""
        features, news = self.features, self.news
        way = "up" if features.drift_score >= 0 else "down"
        moved = f"the net move is {abs(features.drift_score):.1f} standard deviations {way}"
        spread = f"recent volatility is {features.volatility_ratio:.1f} times the earlier"
        if not news.post_count:
            return f"{moved}, {features.efficiency_ratio:.0%} of the path; {spread}; no posts"
        lean = "bullish" if news.mean_sentiment > 0.1 else "bearish" if news.mean_sentiment < -0.1 else "even"
        said = f"{news.post_count} posts lean {lean} ({news.mean_sentiment:+.2f})"
        return f"{moved}, {features.efficiency_ratio:.0%} of the path; {spread}; {said}"


def features_of(closes_nanos: Sequence[int]) -> Features:
    """Return the features of closes, oldest first.

    Raises InvalidInput for too few, too many, or one that is not above 0.
    """
    if not LEAST_CLOSES <= len(closes_nanos) <= MOST_CLOSES:
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE",
            f"{len(closes_nanos)} closes, outside {LEAST_CLOSES} to {MOST_CLOSES}",
            field="close_prices_nanos",
        )
    if min(closes_nanos) <= 0:
        raise InvalidInput("FIELD_INVALID", "a close is not above 0", field="close_prices_nanos")
    logs = [math.log(close) for close in closes_nanos]
    returns = [after - before for before, after in pairwise(logs)]
    path = sum(map(abs, returns))
    net = logs[-1] - logs[0]
    variance = _variance(returns)
    steps = [logs[place + STEP] - logs[place] for place in range(len(logs) - STEP)]
    mean = net / len(returns)
    spread = sum((step - STEP * mean) ** 2 for step in steps) / len(steps)
    cut = len(returns) - len(returns) // 4
    earlier, recent = _variance(returns[:cut]), _variance(returns[cut:])
    return Features(
        efficiency_ratio=abs(net) / path if path else 0.0,
        variance_ratio=spread / (STEP * variance) if variance else 1.0,
        volatility_ratio=min(100.0, math.sqrt(recent / earlier)) if earlier else 1.0,
        drift_score=_drift(net, returns),
    )


def classify(features: Features, news: News) -> RegimeAnswer:
    """Return the probabilities of the three regimes."""
    drift = abs(features.drift_score)
    weight = min(1.0, news.post_count / ENOUGH_POSTS)
    agreed = math.copysign(1.0, features.drift_score) * news.mean_sentiment * weight
    doublings = math.log2(max(features.volatility_ratio, 0.01))
    busy = math.log2(min(max(news.volume_ratio, 1.0), 16.0)) * weight
    trend = 1.1 * (drift - 1.8) + 1.5 * (min(features.variance_ratio, 2.0) - 1.0) + 0.8 * agreed
    still = 0.8 - 0.4 * min(drift, 3.0) - 1.0 * (min(features.variance_ratio, 2.0) - 1.0)
    wild = 2.5 * (doublings - 0.7) + 0.6 * news.disagreement * weight + 0.25 * busy
    highest = max(trend, still, wild)
    powers = [math.exp(evidence - highest) for evidence in (trend, still, wild)]
    total = sum(powers)
    return RegimeAnswer((powers[0] / total, powers[1] / total, powers[2] / total), features, news)


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values)


def _drift(net: float, returns: Sequence[float]) -> float:
    # Around zero, not around the mean: a steady climb is a drift, not the absence of variance.
    root = math.sqrt(sum(value * value for value in returns))
    return net / root if root else 0.0
