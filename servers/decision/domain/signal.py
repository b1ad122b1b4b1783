"""A signal as decision uses it: how sure, for how long, on whose word."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist


class Restriction(StrEnum):
    """Why a signal may be used for less than everything."""

    ONE_AUTHOR = "ONE_AUTHOR"
    ONE_SOURCE = "ONE_SOURCE"
    STALE = "STALE"
    UNCALIBRATED = "UNCALIBRATED"
    LEXICON_ONLY = "LEXICON_ONLY"
    SHED = "SHED"
    PUMP_SUSPECTED = "PUMP_SUSPECTED"


NEVER_ORDERS = (Restriction.ONE_AUTHOR, Restriction.ONE_SOURCE)
"""With one of these a signal causes no order at all."""
NEVER_OPENS = (Restriction.STALE, Restriction.UNCALIBRATED, Restriction.LEXICON_ONLY, Restriction.SHED)
"""With one of these a signal makes no position larger; it may make one smaller."""

_SUREST = 0.999
"""A probability nearer to certainty says no more about the size of a move."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What is expected of one symbol's price.

    Attributes:
        event_time_nanos: market time of the signal, UTC epoch nanoseconds.
        half_life_nanos: market time in which half of what is expected comes; above 0.
        horizon_nanos: market time that the expected return and the deviation are about; above 0.
        probability_up: that the price is higher after the horizon, 0 to 1.
        price_only_probability_up: the same from prices alone; None when the signal does not say.
        expected_return_bps: signed; 0 derives it from probability and deviation.
        deviation_bps: standard deviation of the return over the horizon; 0 derives it from the day's.
        post_ids: posts behind it; empty for a signal from prices alone.
        author_count, source_count: different authors and sources behind the posts.
        restrictions: what the signal's author says against its use.
    """

    signal_id: str
    symbol: str
    event_time_nanos: int
    half_life_nanos: int
    horizon_nanos: int
    probability_up: float
    price_only_probability_up: float | None = None
    expected_return_bps: float = 0.0
    deviation_bps: float = 0.0
    post_ids: tuple[str, ...] = ()
    model_versions: tuple[str, ...] = ()
    author_count: int = 0
    source_count: int = 0
    restrictions: frozenset[Restriction] = frozenset()
    traceparent: str = ""

    def age_half_lives(self, now_nanos: int) -> float:
        """Return the signal's age in half-lives, at least 0."""
        return max(now_nanos - self.event_time_nanos, 0) / self.half_life_nanos

    def half_life_deviation_bps(self, daily_volatility: float, session_nanos: int) -> float:
        """Return the standard deviation of the return over one half-life, in basis points."""
        if self.deviation_bps > 0:
            return self.deviation_bps * math.sqrt(self.half_life_nanos / self.horizon_nanos)
        return 1e4 * daily_volatility * math.sqrt(self.half_life_nanos / session_nanos)

    def edge_bps(self, now_nanos: int, daily_volatility: float, session_nanos: int) -> float:
        """Return the signed move in basis points to be expected over the half-life that begins now.

        Half of all that is still to come comes in it, and all of it halves with each half-life of age. Where
        the signal does not say how much it expects, that is the mean of the normal variable that has the
        horizon's deviation and is above 0 with the stated probability.
        """
        expected = self.expected_return_bps
        if not expected:
            deviation = self.half_life_deviation_bps(daily_volatility, session_nanos)
            over_horizon = deviation * math.sqrt(self.horizon_nanos / self.half_life_nanos)
            probability = min(max(self.probability_up, 1.0 - _SUREST), _SUREST)
            expected = NormalDist().inv_cdf(probability) * over_horizon
        come = -math.expm1(-math.log(2.0) * self.horizon_nanos / self.half_life_nanos)
        return expected * 0.5 / come * math.exp2(-self.age_half_lives(now_nanos))


@dataclass(frozen=True, slots=True)
class Trust:
    """When a signal is too old, and how many have to say the same.

    `stale_half_lives`: older ones open nothing; `expire_half_lives`: older ones count as none.
    """

    stale_half_lives: float = 1.0
    expire_half_lives: float = 3.0
    least_authors: int = 2
    least_sources: int = 2

    def is_expired(self, signal: Signal, now_nanos: int) -> bool:
        """Return whether a signal counts as none."""
        return signal.age_half_lives(now_nanos) > self.expire_half_lives

    def restrictions(self, signal: Signal, now_nanos: int) -> tuple[Restriction, ...]:
        """Return what stands against using a signal now: its author's word, its age, its witnesses."""
        found = set(signal.restrictions)
        if signal.age_half_lives(now_nanos) > self.stale_half_lives:
            found.add(Restriction.STALE)
        if signal.post_ids and signal.author_count < self.least_authors:
            found.add(Restriction.ONE_AUTHOR)
        if signal.post_ids and signal.source_count < self.least_sources:
            found.add(Restriction.ONE_SOURCE)
        return tuple(restriction for restriction in Restriction if restriction in found)
