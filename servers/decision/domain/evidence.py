"""What prices alone have shown that they know, and how much of a signal without posts it supports.

A model of prices was fitted somewhere else, and says how sure it was there. Here it counts for what it got
right here: the hit rate of the price-only paper orders, by a lower bound that holds however often one looks
at it (Robbins' normal mixture, "Statistical Methods Related to the Law of the Iterated Logarithm", 1970).
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

from servers.decision.domain.cost import Market
from servers.decision.domain.performance import Ledger
from servers.decision.domain.signal import Signal
from servers.decision.domain.sizing import Action, Holding, Others, Policy, Proposal, propose

_MIXTURE = 25.0
"""Variance of the mixture: the bound is tightest near 100 orders, whose hits have this variance at chance."""


def proven_probability(hits: int, measured: int, error_rate: float) -> float:
    """Return the hit rate that is certain, at least 0.5; it errs at any time with at most `error_rate`."""
    if not measured:
        return 0.5
    spread = measured / 4 + _MIXTURE
    radius = math.sqrt(spread * math.log(spread / (_MIXTURE * error_rate**2))) / measured
    return max(hits / measured - radius, 0.5)


def supported(signal: Signal, probability: float, market: Market) -> Signal:
    """Return the signal no surer than `probability` (0.5 to 1), and expecting no more than that allows."""
    scale = math.sqrt(signal.horizon_nanos / signal.half_life_nanos)
    deviation = signal.half_life_deviation_bps(market.daily_volatility, market.session_nanos) * scale
    most = NormalDist().inv_cdf(min(probability, 0.999)) * deviation
    return replace(
        signal,
        probability_up=min(max(signal.probability_up, 1.0 - probability), probability),
        expected_return_bps=min(max(signal.expected_return_bps, -most), most),
    )


def propose_on_evidence(
    policy: Policy,
    signal: Signal | None,
    market: Market,
    holding: Holding,
    others: Others,
    now_nanos: int,
    *,
    price_only: Ledger | None,
    hold: str = "",
) -> Proposal:
    """Return what `propose` does, where a signal without posts opens or adds for what is proven alone.

    Less than that leaves the position as it is (UNPROVEN): it does not close what posts have opened.

    Args:
        price_only: what prices alone made on paper; None when nothing yet.
    """
    asked = propose(policy, signal, market, holding, others, now_nanos, hold=hold)
    if signal is None or signal.post_ids or not asked.action.is_larger:
        return asked
    made = price_only or Ledger()
    probability = proven_probability(made.hits, made.measured, policy.price_only_error_rate)
    known = supported(signal, probability, market)
    proven = propose(policy, known, market, holding, others, now_nanos, hold=hold)
    if proven.action.is_larger:
        return proven
    return replace(
        asked,
        action=Action.NONE,
        quantity_nanos=0,
        target_nanos=holding.effective_nanos,
        reason_code="UNPROVEN",
    )
