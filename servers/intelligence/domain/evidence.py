"""Evidence that may be looked at after every observation: test martingales.

An e-process is the wealth of a fair bet against a hypothesis. Under the hypothesis its expectation never
exceeds 1 at any stopping time, so that it ever reaches 1/a with probability at most a (Ville's inequality,
1939). That is what lets a roll-out be watched all the time without inflating its errors.

- A rate against a bound: the likelihood ratio mixed over alternatives on the far side (the mixture
  sequential probability ratio test: Robbins, "Statistical methods related to the law of the iterated
  logarithm", 1970; Johari, Koomen, Pekelis and Walsh, "Always valid inference", Operations Research 2022).
- A bounded mean against a bound: betting (Waudby-Smith and Ramdas, "Estimating means of bounded random
  variables by betting", JRSS B 2024).
- Counts against a stated ratio: a Beta mixture (Lindon and Malek, "Anytime-valid inference for multinomial
  count data", NeurIPS 2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

_GRID = 12
_MOST_LOG = 700.0


@dataclass(slots=True)
class RateEvidence:
    """Evidence against "each time, given all before, the rate is at most `bound`" (0 < bound < 1)."""

    bound: float
    count: int = 0
    hits: int = 0

    def observe(self, is_hit: bool) -> None:
        """Take one observation."""
        self.count += 1
        self.hits += is_hit

    @property
    def value(self) -> float:
        """The e-value: the mean likelihood ratio over twelve alternatives between the bound and 1.

        For a rate p at or below the bound and an alternative q above it, the expectation of one factor is
        p q/b + (1-p)(1-q)/(1-b), which rises with p and is 1 at p = b: a supermartingale for all p <= b.
        """
        if not self.hits:
            return 1.0 if not self.count else self._mixture()
        return self._mixture()

    def _mixture(self) -> float:
        misses = self.count - self.hits
        logs = [self.hits * hit + misses * miss for hit, miss in _alternatives(self.bound)]
        highest = max(logs)
        return math.exp(min(_MOST_LOG, highest)) * sum(math.exp(one - highest) for one in logs) / _GRID


@lru_cache(maxsize=64)
def _alternatives(bound: float) -> tuple[tuple[float, float], ...]:
    """Return the log factors of a hit and of a miss for each alternative rate."""
    made = []
    for step in range(_GRID):
        # Evenly on the log-odds scale from just above the bound to near certainty.
        low = math.log(bound / (1.0 - bound))
        logit = low + (4.0 - min(low, 3.0)) * (step + 0.7) / _GRID
        rate = 1.0 / (1.0 + math.exp(-logit))
        made.append((math.log(rate / bound), math.log((1.0 - rate) / (1.0 - bound))))
    return tuple(made)


@dataclass(slots=True)
class MeanEvidence:
    """Evidence against "each time, given all before, the mean is at most `bound`", values 0 to 1.

    The stake on the next value is the mean so far less the bound, by the variance so far (of the values
    before alone, which is what keeps the bet fair), never so high that one value could ruin it.
    """

    bound: float
    count: int = 0
    mean: float = 0.5
    squares: float = 0.0
    log_wealth: float = 0.0

    def observe(self, value: float) -> None:
        """Take one value, 0 to 1. Raises ValueError outside."""
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{value} is outside 0 to 1")
        stake = self._stake()
        self.log_wealth += math.log1p(stake * (value - self.bound))
        self.count += 1
        # One pseudo-observation of 1/2 steadies the beginning.
        delta = value - self.mean
        self.mean += delta / (self.count + 1)
        self.squares += delta * (value - self.mean)

    @property
    def value(self) -> float:
        """The e-value."""
        return math.exp(min(_MOST_LOG, self.log_wealth))

    def _stake(self) -> float:
        variance = (self.squares + 0.05) / (self.count + 1)
        gap = self.mean - self.bound
        if gap <= 0.0:
            return 0.0
        return min(gap / (variance + gap * gap), 0.75 / self.bound)


@dataclass(slots=True)
class RatioEvidence:
    """Evidence against "each unit is assigned with probability `share`" (0 < share < 1), either way."""

    share: float
    count: int = 0
    hits: int = 0

    def observe(self, is_hit: bool) -> None:
        """Take one unit."""
        self.count += 1
        self.hits += is_hit

    @property
    def value(self) -> float:
        """The e-value: the Beta-binomial marginal likelihood, centred on the share, by the binomial one."""
        strength = 50.0
        a, b = strength * self.share, strength * (1.0 - self.share)
        misses = self.count - self.hits
        log_marginal = _log_beta(a + self.hits, b + misses) - _log_beta(a, b)
        log_null = self.hits * math.log(self.share) + misses * math.log1p(-self.share)
        return math.exp(min(_MOST_LOG, log_marginal - log_null))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


@dataclass(slots=True)
class Window:
    """The last values of a figure, for percentiles."""

    size: int = 512
    values: list[float] = field(default_factory=list)
    place: int = 0

    def add(self, value: float) -> None:
        """Take a value; the oldest falls out."""
        if len(self.values) < self.size:
            self.values.append(value)
        else:
            self.values[self.place] = value
            self.place = (self.place + 1) % self.size

    def percentile(self, share: float) -> float:
        """Return the value that `share` (0 to 1) of the values do not exceed; 0 without any."""
        if not self.values:
            return 0.0
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share > 0 else 0)]
