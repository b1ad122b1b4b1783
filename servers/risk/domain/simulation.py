"""Value at risk and expected shortfall by historical simulation.

Source: Acerbi and Tasche, "On the coherence of expected shortfall" (2002), for the tail mean with a
fractional weight on its last observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

LEAST_SESSIONS = 20


@dataclass(frozen=True, slots=True)
class TailRisk:
    """Losses in currency units, positive; None with fewer than `LEAST_SESSIONS` sessions."""

    sessions: int
    value_at_risk: float | None = None
    expected_shortfall: float | None = None


def simulate(
    values: Mapping[str, float], closes: Mapping[str, Mapping[int, float]], confidence: float
) -> TailRisk:
    """Return the tail of what the present positions would have made in each past session.

    Args:
        values: symbol -> value of the position now, in currency units, negative when short.
        closes: symbol -> session -> closing price; a session counts when every symbol has a close in
            it and in the one before.
        confidence: for example 0.99.
    """
    if not values:
        return TailRisk(0)
    common = sorted(set.intersection(*(set(closes.get(symbol, {})) for symbol in values)))
    profits = [
        sum(value * (closes[symbol][now] / closes[symbol][before] - 1.0) for symbol, value in values.items())
        for before, now in pairwise(common)
    ]
    if len(profits) < LEAST_SESSIONS:
        return TailRisk(len(profits))
    losses = sorted((-profit for profit in profits), reverse=True)
    return TailRisk(
        len(losses),
        max(0.0, value_at_risk(losses, confidence)),
        max(0.0, expected_shortfall(losses, confidence)),
    )


def value_at_risk(losses: Sequence[float], confidence: float) -> float:
    """Return the least loss that a share `confidence` of `losses` (largest first) does not exceed."""
    within = math.ceil(round(len(losses) * confidence, 9))
    return losses[len(losses) - max(1, within)]


def expected_shortfall(losses: Sequence[float], confidence: float) -> float:
    """Return the mean of the worst share `1 - confidence` of `losses` (largest first)."""
    tail = len(losses) * (1.0 - confidence)
    whole = math.floor(round(tail, 9))
    total = sum(losses[:whole])
    if whole < tail and whole < len(losses):
        total += (tail - whole) * losses[whole]
    return total / tail
