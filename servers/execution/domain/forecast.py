"""What the rest of a session is expected to trade: the port, and a forecast that needs a curve alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

PRIOR_SD = 0.45
"""Standard deviation of the log of a day's volume around the log of the trailing median."""

NOISE_SD = 0.25
"""The same of what half of a day says about the whole: at half of the curve, around the day's own log."""


class Expected(NamedTuple):
    """A forecast: volume of every bin of the session in shares, and how sure its level is.

    Attributes:
        volumes: one for each bin; those that are over are not read.
        log_sd: standard deviation of the log of the level of what is to come.
    """

    volumes: Sequence[float]
    log_sd: float


class VolumeForecaster(Protocol):
    """Expects the volume of a session from what has traded in it."""

    @property
    def edges_nanos(self) -> Sequence[int]:
        """Edges of the session's bins, UTC epoch nanoseconds; one more than there are bins."""
        ...

    def expect(self, now_nanos: int, session_volume: float) -> Expected:
        """Return the forecast at a market time, when so many shares have traded since the open.

        Raises ValueError when nothing can be said.
        """
        ...


@dataclass(frozen=True, slots=True)
class ShrunkenCurve:
    """The mean curve, scaled by the day's total as it shows: a lognormal prior, shrunk to what was seen.

    The log of the day's total has the prior N(log median, prior_sd^2). A volume V by a time at which the
    curve has share c says log(V / c) plus half its variance, with variance noise_sd^2 (1 - c) / c: little
    early in the day, all at its end. The precisions add up (Gelman et al., "Bayesian Data Analysis", 2013,
    section 2.5). Without a median the prior says nothing.

    Args:
        edges: edges of the bins, UTC epoch nanoseconds.
        shares: share of a session's volume in each bin.
        median_daily_volume: shares; 0 without history.
    """

    edges: tuple[int, ...]
    shares: tuple[float, ...]
    median_daily_volume: float
    prior_sd: float = PRIOR_SD
    noise_sd: float = NOISE_SD

    @property
    def edges_nanos(self) -> Sequence[int]:
        return self.edges

    def expect(self, now_nanos: int, session_volume: float) -> Expected:
        done = self.share_by(now_nanos)
        precision, weighted = 0.0, 0.0
        if self.median_daily_volume > 0:
            precision = 1 / self.prior_sd**2
            weighted = precision * math.log(self.median_daily_volume)
        if session_volume > 0 and 0 < done < 1:
            variance = self.noise_sd**2 * (1 - done) / done
            precision += 1 / variance
            weighted += (math.log(session_volume / done) + variance / 2) / variance
        if precision == 0.0:  # nothing is known of the level, and nothing of it is needed: the curve alone
            return Expected(self.shares, 0.0)
        log_sd = min(math.sqrt(1 / precision), 1.0)
        level = math.exp(weighted / precision + log_sd**2 / 2)
        return Expected([share * level for share in self.shares], log_sd)

    def share_by(self, now_nanos: int) -> float:
        """Return the curve's share of the session that is over at a time, 0 to 1."""
        share = 0.0
        for low, high, part in zip(self.edges, self.edges[1:], self.shares, strict=False):
            share += part * min(max(now_nanos - low, 0) / (high - low), 1.0)
        return min(share, 1.0)


def volume_between(edges: Sequence[int], volumes: Sequence[float], start: int, end: int) -> float:
    """Return the volume of bins between two times, bins cut in two by the time that lies inside."""
    total = 0.0
    for low, high, volume in zip(edges, edges[1:], volumes, strict=False):
        inside = min(high, end) - max(low, start)
        if inside > 0:
            total += volume * inside / (high - low)
    return total
